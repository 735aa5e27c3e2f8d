"""Kept files and directories: e2fsck, the kernel (where it may mount the image) and debugfs are the judges."""

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.errors import HupfastError, MismatchError, Refused
from hupfast.ext4 import Ext4, Node
from hupfast.filesystem import is_clean, make, missing_tools, put
from hupfast.keep import Keep, KeptFile, copy_kept, describe, plan_keep
from hupfast.mounted import Mounted
from hupfast.system import run

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason="e2fsprogs is not installed")
needs_mount = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="only root can mount"
)

PROFILE = Path("board.toml")
ALL = (Keep("/d", "/d", is_directory=True),)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The running system: a directory with a bit of everything."""
    tree = tmp_path / "old"
    put(tree, "d/wifi/a name", b"secret\n")
    put(tree, "d/empty file", b"")
    (tree / "d/empty/below").mkdir(parents=True)
    (tree / "d/short").symlink_to("../x")
    (tree / "d/long").symlink_to("/y" * 100)
    (tree / "d/to a directory").symlink_to("wifi")
    os.mkfifo(tree / "d/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        where = os.getcwd()
        os.chdir(tree / "d")  # the path of a socket must be short
        server.bind("socket")
        os.chdir(where)
    os.chmod(tree / "d/wifi", 0o2750)
    os.chmod(tree / "d/wifi/a name", 0o4600)
    os.utime(tree / "d/empty/below", ns=(0, 1_234_567_890_123_456_789))
    os.utime(tree / "d", ns=(0, 3_000_000_000_000_000_001))
    return tree


@pytest.fixture
def new(tmp_path: Path) -> Ext4:
    """The new system, which has some files of its own there."""
    tree = tmp_path / "new"
    put(tree, "d/wifi/a name", b"something longer")
    put(tree, "d/wifi/its own", b"own")
    put(tree, "d/short", b"a file, where the old system has a link")
    make(tree, tmp_path / "new.img", 8 << 20)
    return Ext4(tmp_path / "new.img")


def keep(keeps: tuple[Keep, ...], source: Mounted | Ext4, new: Ext4, scratch: Path) -> tuple[KeptFile, ...]:
    """Plan and copy, as the slot stage does."""
    files = plan_keep(keeps, source, PROFILE)
    scratch.mkdir()
    copy_kept(new, source, [(file.source, file.target) for file in files], scratch)
    assert list(scratch.iterdir()) == []
    assert is_clean(new.image)
    return files


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """The image as the kernel shows it."""
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-o", "loop", image, folder], check=False).returncode:
            pytest.skip("nothing can be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def facts(path: Path) -> tuple[object, ...]:
    """What the kernel says of a file, without its number and the size of a directory."""
    status = os.lstat(path)
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in listed(path)}
    data = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, attributes, data


def listed(path: Path) -> list[str]:
    """The names of the extended attributes."""
    return os.listxattr(path, follow_symlinks=False)


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a directory and itself, but special files."""
    below = [folder, *folder.rglob("*")]
    return {
        str(path.relative_to(folder)): facts(path)
        for path in below
        if path.is_symlink() or path.is_dir() or path.is_file()
    }


def test_the_plan_lists_everything_but_special_files(old: Path) -> None:
    """A directory before what is in it, links not followed, and nothing for what is missing."""
    files = plan_keep((*ALL, Keep("/none", "/none"), Keep("/gone", "/gone", is_directory=True)), Mounted(old), PROFILE)

    assert [file.source for file in files] == [file.target for file in files]
    assert {(file.source, file.type, file.size) for file in files} == {
        ("/d", "directory", 0),
        ("/d/wifi", "directory", 0),
        ("/d/wifi/a name", "regular", 7),
        ("/d/empty file", "regular", 0),
        ("/d/empty", "directory", 0),
        ("/d/empty/below", "directory", 0),
        ("/d/short", "symlink", 4),
        ("/d/long", "symlink", 200),
        ("/d/to a directory", "symlink", 4),
    }
    places = {file.source: number for number, file in enumerate(files)}
    assert all(places[os.path.dirname(source)] < number for source, number in places.items() if source != "/d")


def test_an_image_and_a_mounted_system_give_the_same_plan(old: Path, tmp_path: Path) -> None:
    """Read through debugfs or the kernel."""
    (old / "d/socket").unlink()  # mkfs.ext4 -d knows no sockets
    make(old, tmp_path / "old.img", 8 << 20)

    assert plan_keep(ALL, Ext4(tmp_path / "old.img"), PROFILE) == plan_keep(ALL, Mounted(old), PROFILE)


@needs_mount
@pytest.mark.parametrize("through", ["kernel", "debugfs"])
def test_the_kernel_sees_what_the_old_system_had(old: Path, new: Ext4, tmp_path: Path, through: str) -> None:
    """
    Types, owners, modes, times, bytes and attributes (ACLs and empty ones too) are the same; the new system's own
    file stays.
    """
    (old / "d/socket").unlink()
    make(old, tmp_path / "old.img", 8 << 20)
    with mounted(tmp_path / "old.img") as folder:
        for number, path in enumerate([folder / "d", *folder.joinpath("d").rglob("*")]):
            times = os.lstat(path).st_mtime_ns
            os.chown(path, 1000 + number, 70000 + number, follow_symlinks=False)
            os.setxattr(path, "trusted.note", b'\0\xff\n"' * number, follow_symlinks=False)
            os.utime(path, ns=(0, times), follow_symlinks=False)
        acl = bytes.fromhex(
            "02000000 01000600ffffffff 02000400d2040000 04000400ffffffff 10000400ffffffff 20000000ffffffff"
        )
        os.setxattr(folder / "d/wifi/a name", "system.posix_acl_access", acl)
        os.setxattr(folder / "d/wifi", "system.posix_acl_default", acl)
        os.setxattr(folder / "d/wifi", "user.long", bytes(range(256)) * 2)
        expected = tree(folder / "d")
        if through == "kernel":
            keep(ALL, Mounted(folder), new, tmp_path / "scratch")
    if through == "debugfs":
        keep(ALL, Ext4(tmp_path / "old.img"), new, tmp_path / "scratch")

    with mounted(new.image) as folder:
        found = tree(folder / "d")
        own = found.pop("wifi/its own")
    assert own[-1] == b"own"
    assert found == expected


def test_debugfs_sees_what_the_old_system_had(old: Path, new: Ext4, tmp_path: Path) -> None:
    """Without root too: nodes, bytes and links."""
    files = keep(ALL, Mounted(old), new, tmp_path / "scratch")

    def plain(node: Node | None) -> tuple[object, ...]:
        assert node is not None
        return node.type, node.mode, node.uid, node.gid, node.mtime, node.extra, node.attributes

    for file in files:
        assert plain(new.find(file.target)) == plain(Mounted(old).find(file.source))
        if file.type != "directory":
            assert new.read(file.target, tmp_path / "x") == Mounted(old).read(file.source, tmp_path / "x")
    assert new.read("/d/wifi/its own", tmp_path / "x") == b"own"


def test_another_path_in_the_new_system(old: Path, new: Ext4, tmp_path: Path) -> None:
    """A file and a directory move; nothing comes to their old places."""
    put(old, "seed", b"random")
    keeps = (Keep("/seed", "/var/lib/seed"), Keep("/d", "/etc/e", is_directory=True), Keep("/d/long", "/l"))
    files = keep(keeps, Mounted(old), new, tmp_path / "scratch")

    assert new.read("/var/lib/seed", tmp_path / "x") == b"random"
    assert new.read("/etc/e/wifi/a name", tmp_path / "x") == b"secret\n"
    assert new.link("/l") == "/y" * 100
    assert new.find("/seed") is None
    assert new.find("/d/empty file") is None
    assert describe(files) == ["/seed as /var/lib/seed", "/d/ as /etc/e/ (5 files)", "/d/long as /l"]


def test_links_of_the_new_system_above_are_gone_through(old: Path, new: Ext4, tmp_path: Path) -> None:
    """Where /lib is a link to usr/lib, a file kept below /lib lands in usr/lib."""
    run(["debugfs", "-w", "-f", "-", str(new.image)], text="mkdir /usr\nmkdir /usr/lib\nsymlink /lib usr/lib\n")
    keep((Keep("/d", "/lib/d", is_directory=True),), Mounted(old), new, tmp_path / "scratch")

    assert new.read("/usr/lib/d/wifi/a name", tmp_path / "x") == b"secret\n"


def test_many_files(tmp_path: Path, new: Ext4) -> None:
    """More than one script's worth, in a directory that needs more blocks for its names, replaced in a second round."""
    for number in range(300):
        put(tmp_path / "old", f"d/{'n' * 50}{number}", os.urandom(number * 10))
    for scratch in ("one", "two"):
        files = keep(ALL, Mounted(tmp_path / "old"), new, tmp_path / scratch)

    assert describe(files) == ["/d/ (300 files)"]
    for number in range(0, 300, 37):
        name = f"/d/{'n' * 50}{number}"
        assert new.read(name, tmp_path / "x") == (tmp_path / f"old{name}").read_bytes()


@needs_mount
def test_the_kernel_can_use_a_large_directory(tmp_path: Path, new: Ext4) -> None:
    """Its index, which debugfs drops, is not missed."""
    with mounted(new.image) as folder:
        for number in range(600):
            put(folder, f"d/{'m' * 40}{number}", b"")
    for number in range(100):
        put(tmp_path / "old", f"d/{'n' * 50}{number}", b"x")
    keep(ALL, Mounted(tmp_path / "old"), new, tmp_path / "scratch")

    with mounted(new.image) as folder:
        assert (folder / f"d/{'n' * 50}77").read_bytes() == b"x"
        assert (folder / f"d/{'m' * 40}77").exists()
        put(folder, "d/more", b"more")
        assert len(os.listdir(folder / "d")) == 600 + 100 + 3
    assert is_clean(new.image)


names = st.text(
    st.characters(exclude_characters='/"\ufffd', exclude_categories=["C", "Zl", "Zp", "Zs"]) | st.just(" "), min_size=1
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(names, st.binary(max_size=50) | names, min_size=1, max_size=8), st.booleans())
def test_names_of_all_kinds(entries: dict[str, bytes | str], is_image: bool) -> None:
    """Blanks, colons, backslashes and letters of all languages, in names and in targets of links."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "tree/d").mkdir(parents=True)
        for name, content in entries.items():
            if isinstance(content, bytes):
                (place / "tree/d" / name).write_bytes(content)
            else:
                (place / "tree/d" / name).symlink_to(content)
        (place / "none").mkdir()
        make(place / "none", place / "new.img", 1 << 20)
        make(place / "tree", place / "old.img", 1 << 20)
        new = Ext4(place / "new.img")
        keep(ALL, Ext4(place / "old.img") if is_image else Mounted(place / "tree"), new, place / "scratch")

        assert set(new.names("/d")) == set(entries)
        for name, content in entries.items():
            data = content if isinstance(content, bytes) else content.encode()
            assert new.read(f"/d/{name}", place / "x") == data


@pytest.mark.parametrize("is_image", [True, False])
@pytest.mark.parametrize("name", [b'a"b', b"tab\t", b"\x7f", b"bad\xff", "no\u00a0break".encode(), b"line\nbreak"])
def test_names_that_debugfs_cannot_be_given_are_refused(tmp_path: Path, name: bytes, is_image: bool) -> None:
    """In the plan: as a name, and as the target of a link."""
    for folder in ("name", "link"):
        (tmp_path / folder / "d").mkdir(parents=True)
    (tmp_path / "name/d" / os.fsdecode(name)).write_bytes(b"")
    (tmp_path / "link/d/x").symlink_to(os.fsdecode(name))
    (tmp_path / "link/d/y").symlink_to(os.fsdecode(name) + "x" * 100)
    for folder in ("name", "link"):
        make(tmp_path / folder, tmp_path / "old.img", 1 << 20)
        source = Ext4(tmp_path / "old.img") if is_image else Mounted(tmp_path / folder)
        with pytest.raises(Refused, match=r"cannot be (given|kept)"):
            plan_keep(ALL, source, PROFILE)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (Keep("/d", "/d"), 'is a directory in the running system; .* write "/d/"'),
        (Keep("/d/short", "/x", is_directory=True), "is a symlink .* only a directory has a /"),
        (Keep("/d/fifo", "/x"), "is a special file .* only files, symbolic links and directories"),
        (Keep("/d/" + "long/" * 205, "/x"), "is longer than 1024 bytes"),
    ],
)
def test_what_cannot_be_kept_is_refused(old: Path, word: Keep, reason: str) -> None:
    """Exit 4, with the profile and the way out."""
    with pytest.raises(Refused, match=rf"^board\.toml asks to keep {re.escape(word.source)}, which {reason}") as caught:
        plan_keep((word,), Mounted(old), PROFILE)
    assert caught.value.exit_code == 4


def test_the_bounds(tmp_path: Path) -> None:
    """16 MiB for a file, 64 MiB and 1000 entries for all: that much passes, a little more is refused with numbers."""
    source = Mounted(tmp_path)
    (tmp_path / "d").mkdir()
    for number in range(4):
        put(tmp_path, f"d/{number}", b"")
        os.truncate(tmp_path / f"d/{number}", 16 << 20)
    for number in range(995):
        put(tmp_path, f"d/more{number}", b"")
    assert len(plan_keep(ALL, source, PROFILE)) == 1000

    put(tmp_path, "d/z", b"")
    with pytest.raises(Refused, match=r"more than 1000 files, links and directories.* /d/z is number 1001"):
        plan_keep(ALL, source, PROFILE)
    (tmp_path / "d/z").unlink()
    put(tmp_path, "d/more0", b"x")
    with pytest.raises(Refused, match=r"more than 67108864 bytes.* up to /d/more0 there are 67108865"):
        plan_keep(ALL, source, PROFILE)
    os.truncate(tmp_path / "d/0", (16 << 20) + 1)
    with pytest.raises(Refused, match="/d/0, which has 16777217 bytes; 16777216 are allowed"):
        plan_keep(ALL, source, PROFILE)


@pytest.mark.parametrize("there", ["mkdir {}", "mknod {} p", "symlink {} /etc"])
def test_what_is_in_the_way(old: Path, new: Ext4, tmp_path: Path, there: str) -> None:
    """A file or link is replaced; a kept directory never goes through a link or over a file, nor a file over one."""
    script = ("cd /d", there.format("empty"), there.format("long"))
    run(["debugfs", "-w", "-f", "-", str(new.image)], text="\n".join(script) + "\n")
    pairs = [(path, path) for path in ("/d", "/d/empty", "/d/empty/below", "/d/long")]
    with pytest.raises(HupfastError, match=r"/d/\w+ is a .* in the new system and cannot be replaced by the kept"):
        copy_kept(new, Mounted(old), pairs, tmp_path)
    assert is_clean(new.image)


def test_the_same_place_by_two_names_is_noticed(old: Path, new: Ext4, tmp_path: Path) -> None:
    """Where the new system has a link, two words may mean one file: that ends with an error, never quietly."""
    run(["debugfs", "-w", "-f", "-", str(new.image)], text="symlink /e d\n")
    for target in ("z", "wifi/its own"):
        pairs = [("/d/long", f"/d/{target}"), ("/d/wifi/a name", f"/e/{target}")]
        with pytest.raises(HupfastError):
            copy_kept(new, Mounted(old), pairs, tmp_path)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, new: Ext4) -> None:
    """It is read again; one that never rests is an error, and not a fault of the medium."""
    put(tmp_path, "old/d/log", b"0")

    class Busy(Mounted):
        rounds = 2

        def read(self, path: str, scratch: Path) -> bytes:
            data = super().read(path, scratch)
            if self.rounds:
                self.rounds -= 1
                put(tmp_path, "old/d/log", data + b"1")
            return data

    busy = Busy(tmp_path / "old")
    keep(ALL, busy, new, tmp_path / "scratch")
    assert new.read("/d/log", tmp_path / "x") == b"011"

    busy.rounds = 99
    with pytest.raises(HupfastError, match="changes all the time") as caught:
        copy_kept(new, busy, [("/d/log", "/d/log")], tmp_path)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("lost", ["write", "sif", "ea_set"])
def test_what_was_not_written_is_noticed(old: Path, new: Ext4, tmp_path: Path, lost: str) -> None:
    """A debugfs that leaves commands of one kind out, and says nothing."""
    try:
        os.setxattr(old / "d/wifi", "user.note", b"note")
    except OSError:
        pytest.skip("no extended attributes on this filesystem")

    class Lossy(Ext4):
        def change(self, script: list[str]) -> None:
            super().change([command for command in script if not command.startswith(lost)])

    pairs = [(path, path) for path in ("/d", "/d/wifi", "/d/wifi/a name")]
    expected = HupfastError if lost == "write" else MismatchError  # "sif" of a missing file has something to say
    with pytest.raises(expected):
        copy_kept(Lossy(new.image), Mounted(old), pairs, tmp_path)


def test_other_bytes_are_noticed(old: Path, new: Ext4, tmp_path: Path) -> None:
    """Bytes and attribute values are compared, not only sizes and names."""
    try:
        os.setxattr(old / "d/wifi", "user.note", b"note")
    except OSError:
        pytest.skip("no extended attributes on this filesystem")

    class Liar(Ext4):
        def change(self, script: list[str]) -> None:
            for path in tmp_path.glob("kept*"):
                data = path.read_bytes()
                path.write_bytes(data[::-1])
                super().change([command for command in script if f'"{path}"' in command or "write" not in command])
                path.write_bytes(data)
                return
            super().change(script)

    for pairs in ([("/d/wifi/a name", "/d/f")], [("/d/wifi", "/d/wifi")]):
        with pytest.raises(MismatchError, match="does not hold"):
            copy_kept(Liar(new.image), Mounted(old), pairs, tmp_path)
        for path in tmp_path.glob("kept*"):
            path.unlink()
