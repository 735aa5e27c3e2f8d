"""Making bundles: the same input, the same bytes; what a board would refuse is not made."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from hupfast.bundle import open_bundle
from hupfast.bundling import create_bundle, inspect_bundle
from hupfast.errors import HupfastError, UsageError
from hupfast.image import pack, read_table
from hupfast.manifest import Manifest

IMAGE = os.urandom(100_000) + bytes(200_000) + os.urandom(50_000)


def quick(source: Path, out: Path) -> None:
    """Small chunks, little effort."""
    pack(source, out, level=1, chunk_size=1 << 16)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with an image and boot files."""
    (tmp_path / "rootfs.img").write_bytes(IMAGE)
    (tmp_path / "boot/dtb").mkdir(parents=True)
    (tmp_path / "boot/kernel").write_bytes(b"kernel")
    (tmp_path / "boot/dtb/x.dtb").write_bytes(b"tree")
    return tmp_path


def made(parts: Path, out: str = "x.hup", image: str = "rootfs.img", **options: object) -> Manifest:
    """Make a bundle with some arguments changed."""
    arguments = {"name": "os", "version": "1.0", "boards": ["virtual"], "boot": parts / "boot", "pack": quick}
    return create_bundle(parts / out, image=parts / image, **(arguments | options))  # type: ignore[arg-type]


def test_what_goes_in_comes_out(parts: Path) -> None:
    """tar extracts the boot files, and zstd makes the image out of the last member."""
    made(parts)
    (parts / "out").mkdir()
    subprocess.run(["tar", "xf", "../x.hup"], cwd=parts / "out", check=True)
    subprocess.run(["zstd", "-dq", "rootfs.img.zst"], cwd=parts / "out", check=True)

    assert (parts / "out/rootfs.img").read_bytes() == IMAGE
    assert (parts / "out/boot/dtb/x.dtb").read_bytes() == b"tree"
    with tarfile.open(parts / "x.hup") as tar:
        assert tar.getnames() == ["manifest.json", "boot/dtb/x.dtb", "boot/kernel", "rootfs.img.zst"]


def test_the_same_input_gives_the_same_bytes(parts: Path) -> None:
    """Times and the order of the directory do not matter."""
    made(parts, "one.hup")
    os.utime(parts / "boot/kernel", (1, 1))
    made(parts, "two.hup")

    assert (parts / "one.hup").read_bytes() == (parts / "two.hup").read_bytes()


def test_a_chunked_image_goes_in_as_it_is(parts: Path) -> None:
    """It is not packed again, and the manifest names its table."""
    quick(parts / "rootfs.img", parts / "rootfs.img.zst")
    manifest = made(parts, image="rootfs.img.zst", pack=None)

    assert manifest.image.table_sha256 == read_table(parts / "rootfs.img.zst").sha256
    assert manifest.image.size == (parts / "rootfs.img.zst").stat().st_size
    assert manifest.image.image_size == len(IMAGE)


def test_an_ordinary_zst_is_packed(parts: Path) -> None:
    """The image inside is the raw one."""
    subprocess.run(["zstd", "-q", "rootfs.img"], cwd=parts, check=True)
    assert made(parts, image="rootfs.img.zst").image.image_size == len(IMAGE)


def test_nothing_is_left_beside(parts: Path) -> None:
    """Neither after success nor after failure."""

    def fails(source: Path, out: Path) -> None:
        out.write_bytes(b"half")
        raise HupfastError("no power")

    made(parts)
    before = sorted(os.listdir(parts))
    with pytest.raises(HupfastError, match="no power"):
        made(parts, "y.hup", pack=fails)
    assert sorted(os.listdir(parts)) == before


def test_a_bundle_without_boot_files(parts: Path) -> None:
    """An image alone is a bundle."""
    assert made(parts, boot=None).boot == ()


def test_info_tells_what_is_inside(parts: Path) -> None:
    """Name, members with offsets and digests, and nothing that is not there."""
    made(parts, created="today", minimum_versions={"system": "0.5"})
    info = inspect_bundle(str(parts / "x.hup"))
    told = info.as_dict()

    assert (told["name"], told["version"], told["boards"]) == ("os", "1.0", ["virtual"])
    assert (told["created"], told["minimum_versions"], told["signed"]) == ("today", {"system": "0.5"}, False)
    assert told["size"] == (parts / "x.hup").stat().st_size
    with open_bundle(parts / "x.hup") as bundle:
        assert told["manifest_sha256"] == bundle.front.digest
    offset = info.offsets["boot/kernel"]
    assert (parts / "x.hup").read_bytes()[offset : offset + 7] == b"kernel\0"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "a b"}, "the name is 'a b'"),
        ({"version": "-1"}, "the version is"),
        ({"boards": []}, "at least one board"),
        ({"boards": ["x/y"]}, "a board is 'x/y'"),
        ({"minimum_versions": {"system": "1 2"}}, "minimum version of system"),
        ({"boot": Path("/no/such/directory")}, "does not exist"),
        ({"image": "none.img"}, "the image .* does not exist"),
        ({"out": "no/such/x.hup"}, "there is no folder"),
        ({"out": "boot"}, "is a folder"),
    ],
)
def test_wrong_arguments_are_usage_errors(parts: Path, options: dict[str, object], reason: str) -> None:
    """Exit 2 with what is wrong, before anything is made."""
    with pytest.raises(UsageError, match=reason):
        made(parts, **options)  # type: ignore[arg-type]


def test_boot_directories_hold_files_only(parts: Path) -> None:
    """Links, pipes, names that FAT cannot hold or tell apart are refused."""
    (parts / "boot/link").symlink_to("kernel")
    with pytest.raises(UsageError, match="neither a file nor a directory"):
        made(parts)
    (parts / "boot/link").unlink()
    (parts / "boot/KERNEL").write_bytes(b"")
    with pytest.raises(UsageError, match="one file on a boot partition"):
        made(parts)
    (parts / "boot/KERNEL").unlink()
    (parts / "boot/a:b").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot hold"):
        made(parts)


def test_bootloaders_lie_before_the_image(parts: Path) -> None:
    """GNU tar lists and extracts them, and sha256sum agrees with the manifest."""
    (parts / "u-boot.img").write_bytes(os.urandom(70_001))
    manifest = made(parts, raw={"u-boot.img": parts / "u-boot.img", "MLO": parts / "boot/kernel"})
    listed = subprocess.run(["tar", "tf", parts / "x.hup"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert listed.split()[3:] == ["raw/MLO", "raw/u-boot.img", "rootfs.img.zst"]
    (parts / "out").mkdir()
    subprocess.run(["tar", "xf", "../x.hup"], cwd=parts / "out", check=True)
    sums = "".join(f"{member.sha256.hex()}  {member.name}\n" for member in manifest.raw)
    subprocess.run(["sha256sum", "--quiet", "-c"], cwd=parts / "out", input=sums, text=True, check=True)
    assert (parts / "out/raw/u-boot.img").read_bytes() == (parts / "u-boot.img").read_bytes()

    info = inspect_bundle(str(parts / "x.hup"))
    told = {member["name"]: member for member in info.as_dict()["members"]}  # type: ignore[attr-defined]
    assert told["raw/MLO"]["kind"] == "raw"
    assert (parts / "x.hup").read_bytes()[told["raw/MLO"]["offset"] :].startswith(b"kernel\0")


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("a/b", 1, "is not raw/"),
        ("", 1, "is not raw/"),
        ("x", 0, "0 bytes"),
        ("x", (16 << 20) + 1, "16777217 bytes"),
        ("x", -1, "does not exist"),
    ],
)
def test_wrong_bootloaders_are_usage_errors(parts: Path, name: str, size: int, reason: str) -> None:
    """What a board would refuse is not made."""
    path = parts / "blob"
    if size >= 0:
        path.touch()
        os.truncate(path, size)
    with pytest.raises(UsageError, match=reason):
        made(parts, raw={name: path})
    with pytest.raises(UsageError, match="one file"):
        made(parts, raw={"MLO": parts / "boot/kernel", "mlo": parts / "boot/kernel"})


def test_a_bundle_that_expires(parts: Path) -> None:
    """The time is in the manifest; one in another form is refused before anything is made."""
    assert made(parts, expires="2027-01-31T12:00:00Z").expires == "2027-01-31T12:00:00Z"
    assert inspect_bundle(str(parts / "x.hup")).as_dict()["expires"] == "2027-01-31T12:00:00Z"
    with pytest.raises(UsageError, match="no time in UTC"):
        made(parts, "y.hup", expires="tomorrow")
    assert not (parts / "y.hup").exists()
