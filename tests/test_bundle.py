"""Reading bundles: in any order from a file, once and forward from a stream; nothing wrong passes."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hupfast.bundle import Bundle, open_bundle
from hupfast.errors import DataError, DigestError, HupfastError, SourceError
from hupfast.manifest import BootMember, ImageMember, Manifest, RawMember, serialize_manifest
from hupfast.source import SourceLike, open_source
from hupfast.source.decode import DecodedSource
from hupfast.spool import fetch_boot_files
from hupfast.system import digest
from hupfast.tar import END, make_header, padded
from servers import misbehaving

KERNEL = b"kernel" * 1000
TREE = os.urandom(300_000)
IMAGE = os.urandom(200_000)
MANIFEST = Manifest(
    name="os",
    version="1",
    boards=("virtual",),
    boot=(
        BootMember("boot/kernel", len(KERNEL), digest([KERNEL])),
        BootMember("boot/tree.dtb", len(TREE), digest([TREE])),
        BootMember("boot/empty", 0, digest([])),
    ),
    image=ImageMember("rootfs.img.zst", len(IMAGE), 1 << 20, 1 << 16, bytes(32)),
)
FRONT = ("manifest.json", serialize_manifest(MANIFEST))
BODY = [("boot/kernel", KERNEL), ("boot/tree.dtb", TREE), ("boot/empty", b""), ("rootfs.img.zst", IMAGE)]


def archive(members: list[tuple[str, bytes]]) -> bytes:
    """A tar of these members."""
    out = io.BytesIO()
    for name, data in members:
        out.write(make_header(name, len(data)) + data + bytes(padded(len(data)) - len(data)))
    return out.getvalue() + END


GOOD = archive([FRONT, *BODY])


@contextmanager
def stream(data: bytes) -> Iterator[int]:
    """A pipe that gives these bytes in odd pieces."""
    # coreutils' own use of memory is not what a sanitizer that is preloaded here is to judge
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = ["dd", "bs=3001", "status=none"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if os.fork() == 0:
            try:
                os.close(process.stdout.fileno())
                process.stdin.write(data)
                process.stdin.flush()
            finally:
                os._exit(0)
        process.stdin.close()
        yield process.stdout.fileno()
        process.stdout.close()
    os.wait()


def read_all(bundle: Bundle) -> list[bytes]:
    """Every member, in the order of the tar."""
    manifest = bundle.accept()
    found = [b"".join(bundle.boot_file(member)) for member in manifest.boot]
    with bundle.image() as source:
        data = bytearray(manifest.image.size)
        view = memoryview(data)
        while view and (count := source.readinto(view)):
            view = view[count:]
    return [*found, bytes(data)]


def written(tmp_path: Path, data: bytes) -> Path:
    """A bundle file."""
    path = tmp_path / "x.hup"
    path.write_bytes(data)
    return path


def test_members_of_a_file_come_in_any_order(tmp_path: Path) -> None:
    """Manifest, boot files and image are what was put in, also backwards and twice."""
    with open_bundle(written(tmp_path, GOOD)) as bundle:
        assert read_all(bundle) == [KERNEL, TREE, b"", IMAGE]
        assert read_all(bundle) == [KERNEL, TREE, b"", IMAGE]
        assert b"".join(bundle.boot_file(MANIFEST.boot[1])) == TREE
        assert not bundle.is_stream


PACKED = {
    "gzip": gzip.compress(GOOD),
    "xz": lzma.compress(GOOD),
    "bzip2": bz2.compress(GOOD),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(600),
}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("way", ["file", "pipe", "object", "http", "decoded"])
def test_a_packed_bundle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str) -> None:
    """Whatever it comes from; no decoder sees a byte of what nobody has vouched for."""

    def never(*args: object) -> None:
        raise AssertionError("decoded")

    path = written(tmp_path, PACKED[kind])
    with ExitStack() as stack:
        source: SourceLike = path
        if way == "pipe":
            source = stack.enter_context(stream(PACKED[kind]))
        elif way == "object":
            source = io.BytesIO(PACKED[kind])
        elif way == "http":
            source = stack.enter_context(misbehaving({"/x.hup": PACKED[kind]})).url("x.hup")
        elif way == "decoded":
            source = stack.enter_context(open_source(path))
        monkeypatch.setattr(DecodedSource, "_read", never)
        with pytest.raises(DataError, match="not compressed as a whole: unpack it first"):
            open_bundle(source)


def test_members_of_a_stream_come_once() -> None:
    """The same from a pipe; going back is an error, not wrong bytes."""
    with stream(GOOD) as fd, open_bundle(fd) as bundle:
        assert bundle.is_stream
        assert bundle.accept() == MANIFEST
        assert b"".join(bundle.boot_file(MANIFEST.boot[1])) == TREE
        with pytest.raises(HupfastError, match="cannot be read again"):
            b"".join(bundle.boot_file(MANIFEST.boot[0]))
    with stream(GOOD) as fd, open_bundle(fd) as bundle:
        assert read_all(bundle) == [KERNEL, TREE, b"", IMAGE]


def test_not_one_byte_too_much_is_read_from_a_pipe() -> None:
    """C goes on where Python stopped: the descriptor stands at the image's first byte."""
    with stream(GOOD) as fd, open_bundle(fd) as bundle:
        manifest = bundle.accept()
        for member in manifest.boot:
            b"".join(bundle.boot_file(member))
        with bundle.image() as source:
            assert source.fileno() == fd
            assert source.size == len(IMAGE)
            with open(fd, "rb", closefd=False) as file:
                assert file.read(len(IMAGE)) == IMAGE


def test_boot_files_may_be_left_unread_in_a_stream() -> None:
    """Boot files that are there already are skipped."""
    with stream(GOOD) as fd, open_bundle(fd) as bundle:
        bundle.accept()
        with bundle.image() as source:
            piece = bytearray(100)
            assert source.readinto(memoryview(piece)) > 0
            assert IMAGE.startswith(bytes(piece[:10]))


def test_offsets_are_those_of_the_archive(tmp_path: Path) -> None:
    """tarfile finds the same members at the same places."""
    path = written(tmp_path, GOOD)
    with open_bundle(path) as bundle, tarfile.open(path) as tar:
        manifest = bundle.accept()
        offsets = {info.name: info.offset_data for info in tar}
        assert {member.name: bundle.offset(member) for member in manifest.members} == {
            name: offset for name, offset in offsets.items() if name != "manifest.json"
        }


def test_a_bundle_that_tar_made_is_read_too(tmp_path: Path) -> None:
    """`tar --format=ustar` and GNU's own format, with owners and times, are fine."""
    for name, data in (FRONT, *BODY):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for form in ("ustar", "gnu"):
        names = [name for name, _ in (FRONT, *BODY)]
        subprocess.run(["tar", f"--format={form}", "-cf", "y.hup", *names], cwd=tmp_path, check=True)
        with open_bundle(tmp_path / "y.hup") as bundle:
            assert read_all(bundle) == [KERNEL, TREE, b"", IMAGE]


def test_the_front_is_given_out_before_it_is_understood(tmp_path: Path) -> None:
    """A manifest that makes no sense is there to be judged; accept() is what refuses it."""
    nonsense = archive([("manifest.json", b"no json"), ("manifest.sig", b"signed")])
    with open_bundle(written(tmp_path, nonsense)) as bundle:
        assert bundle.front.manifest == b"no json"
        assert bundle.front.signature == b"signed"
        with pytest.raises(HupfastError, match="not been accepted"):
            bundle.image()
        with pytest.raises(DataError, match="no JSON"):
            bundle.accept()


def test_members_behind_a_signature_are_found(tmp_path: Path) -> None:
    """The signature moves all offsets, in files and streams."""
    data = archive([FRONT, ("manifest.sig", b"s" * 600), *BODY])
    with open_bundle(written(tmp_path, data)) as bundle:
        assert read_all(bundle) == [KERNEL, TREE, b"", IMAGE]
    with stream(data) as fd, open_bundle(fd) as bundle:
        assert bundle.front.signature == b"s" * 600
        assert read_all(bundle) == [KERNEL, TREE, b"", IMAGE]


def test_a_changed_boot_file_is_a_digest_error(tmp_path: Path) -> None:
    """One byte in the kernel: exit 5 when its end is reached."""
    data = bytearray(GOOD)
    data[GOOD.index(KERNEL) + 3000] ^= 1
    with open_bundle(written(tmp_path, bytes(data))) as bundle:
        bundle.accept()
        with pytest.raises(DigestError, match="boot/kernel"):
            b"".join(bundle.boot_file(MANIFEST.boot[0]))


@pytest.mark.parametrize(
    "members",
    [
        [FRONT, *BODY[1:]],
        [FRONT, BODY[1], BODY[0], *BODY[2:]],
        [FRONT, ("boot/other", KERNEL), *BODY[1:]],
        [FRONT, ("boot/kernel", KERNEL[:-600]), *BODY[1:]],
        [FRONT, ("../../etc/shadow", b""), *BODY],
        [FRONT],
    ],
)
def test_an_archive_that_is_not_what_its_manifest_says(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    """
    Missing, swapped, renamed, shortened or added members: DataError from a file before anything is used.
    """
    with open_bundle(written(tmp_path, archive(members))) as bundle, pytest.raises(DataError):
        bundle.accept()
    with stream(archive(members)) as fd, open_bundle(fd) as bundle, pytest.raises((DataError, SourceError)):
        read_all(bundle)


@pytest.mark.parametrize("data", [b"", b"short", bytes(1024), IMAGE, archive([("other", b"")]), archive(BODY)])
def test_what_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    """Nothing, noise, zeros, an image, another tar: DataError."""
    with pytest.raises(DataError):
        open_bundle(written(tmp_path, data))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """
    A file that ends anywhere before the image's end is refused by accept(), a stream when it gets there.
    """
    end = len(GOOD) - len(END) - (padded(len(IMAGE)) - len(IMAGE))
    for length in sorted({*range(0, end, 20_011), 511, 512, 513, end - 1}):
        with pytest.raises(DataError), open_bundle(written(tmp_path, GOOD[:length])) as bundle:
            bundle.accept()
        with pytest.raises((DataError, SourceError)), stream(GOOD[:length]) as fd, open_bundle(fd) as bundle:
            read_all(bundle)


def test_large_fronts_are_not_read_into_memory(tmp_path: Path) -> None:
    """A manifest or signature that claims to be huge is refused by its header."""
    for members in ([("manifest.json", bytes(2 << 20))], [FRONT, ("manifest.sig", bytes(1 << 20))]):
        with pytest.raises(DataError, match="larger than"):
            open_bundle(written(tmp_path, archive(members)))


def test_a_missing_bundle_is_a_source_error(tmp_path: Path) -> None:
    """Exit 7 with the path."""
    with pytest.raises(SourceError, match=str(tmp_path / "no.hup")):
        open_bundle(tmp_path / "no.hup")


def test_a_bundle_that_does_not_open_leaves_no_descriptor(tmp_path: Path) -> None:
    """Refused ones are closed."""
    path = written(tmp_path, IMAGE)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(DataError):
            open_bundle(path)
    assert len(os.listdir("/proc/self/fd")) == len(before)


RAW = replace(MANIFEST, raw=(RawMember("raw/MLO", len(TREE), digest([TREE])),))
WITH_RAW = [("manifest.json", serialize_manifest(RAW)), *BODY[:3], ("raw/MLO", TREE), BODY[3]]


def test_raw_members_are_read_like_boot_files(tmp_path: Path) -> None:
    """From a file, and from a stream before the image, by whatever fetches boot files."""
    wanted = [RAW.boot[0], *RAW.raw]
    with open_bundle(written(tmp_path, archive(WITH_RAW))) as bundle:
        assert bundle.accept() == RAW
        read = fetch_boot_files(bundle, wanted, tmp_path / "spool")
        assert [b"".join(read(member)) for member in wanted] == [KERNEL, TREE]
        assert read_all(bundle) == [KERNEL, TREE, b"", IMAGE]
    with stream(archive(WITH_RAW)) as fd, open_bundle(fd) as bundle:
        assert bundle.accept() == RAW
        read = fetch_boot_files(bundle, wanted, tmp_path / "spool")
        with bundle.image() as source:
            assert source.readinto(memoryview(bytearray(10))) > 0
        assert [b"".join(read(member)) for member in wanted] == [KERNEL, TREE]


def test_raw_members_that_are_missing_or_changed(tmp_path: Path) -> None:
    """Missing or behind the image: refused at once; another byte: a digest error at its end."""
    for members in ([*WITH_RAW[:4], WITH_RAW[5]], [*WITH_RAW[:4], WITH_RAW[5], WITH_RAW[4]]):
        with open_bundle(written(tmp_path, archive(members))) as bundle, pytest.raises(DataError):
            bundle.accept()
    flipped = [*WITH_RAW[:4], ("raw/MLO", TREE[:-1] + bytes([TREE[-1] ^ 1])), WITH_RAW[5]]
    with open_bundle(written(tmp_path, archive(flipped))) as bundle:
        bundle.accept()
        with pytest.raises(DigestError, match="raw/MLO"):
            b"".join(bundle.boot_file(RAW.raw[0]))


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "boot/kernel", "raw/MLO"])
def test_padding_that_is_not_zero(tmp_path: Path, name: str) -> None:
    """Bytes that no signature covers and nobody looks at: refused, from a file and a stream."""
    members = [WITH_RAW[0], ("manifest.sig", b"s" * 100), *WITH_RAW[1:]]
    data = bytearray(archive(members))
    for member, content in members:
        if member == name:
            data[data.index(content, data.index(make_header(name, len(content)))) + len(content)] = 1

    def read() -> None:
        manifest = bundle.accept()
        for member in (*manifest.boot, *manifest.raw):
            b"".join(bundle.boot_file(member))

    with pytest.raises(DataError, match=f"behind {name}"), open_bundle(written(tmp_path, bytes(data))) as bundle:
        read()
    with pytest.raises(DataError, match=f"behind {name}"), stream(bytes(data)) as fd, open_bundle(fd) as bundle:
        read()


@pytest.mark.parametrize(
    ("form", "kind"),
    [(tarfile.USTAR_FORMAT, kind) for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"7")]
    + [(tarfile.PAX_FORMAT, b"x"), (tarfile.PAX_FORMAT, b"g"), (tarfile.GNU_FORMAT, b"L"), (tarfile.GNU_FORMAT, b"K")],
)
def test_members_that_are_no_files(tmp_path: Path, form: int, kind: bytes) -> None:
    """A link, device, directory or extended header in the place of a boot file: refused before anything is used."""
    info = tarfile.TarInfo("boot/kernel")
    info.size, info.type, info.linkname = len(KERNEL), kind, "/etc/passwd"
    block = info.tobuf(form)[-512:]
    data = GOOD.replace(make_header("boot/kernel", len(KERNEL)), block)
    assert data != GOOD
    with pytest.raises(DataError, match="no regular file"), open_bundle(written(tmp_path, data)) as bundle:
        bundle.accept()
    with pytest.raises(DataError, match="no regular file"), stream(data) as fd, open_bundle(fd) as bundle:
        read_all(bundle)


@pytest.mark.parametrize("name", ["../kernel", "/boot/kernel", "./boot/kernel", "boot//kernel", "boot/../boot/kernel"])
def test_other_spellings_of_a_name(tmp_path: Path, name: str) -> None:
    """The tar must have the very name of the manifest."""
    data = archive([FRONT, (name, KERNEL), *BODY[1:]])
    with open_bundle(written(tmp_path, data)) as bundle, pytest.raises(DataError, match="does not hold"):
        bundle.accept()
