"""Refusals of a target: on files always, on real loop devices where the tests run as root."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hupfast.errors import TargetError
from hupfast.target import check_not_source, check_target

MIB = 2**20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def refusal(target: str | Path, **options: object) -> str:
    with pytest.raises(TargetError) as caught:
        check_target(target, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 4
    assert str(target) in str(caught.value)
    return str(caught.value)


def tool(*argv: str) -> str:
    """Run a program; skip the test when the machine does not have it or does not allow it."""
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        pytest.skip(f"{argv[0]} is not installed")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{' '.join(argv)}: {error.stderr.splitlines()[0]}")


# ---- files ----


def test_existing_file(tmp_path):
    """A file that is large enough is a target of its own size."""
    path = tmp_path / "slot.img"
    path.write_bytes(bytes(4096))
    target = check_target(path, image_size=4096)

    assert (target.path, target.name, target.size) == (str(path), "slot.img", 4096)
    assert (target.is_block, target.exists, target.logical_block_size) == (False, True, 512)


@pytest.mark.parametrize("create", [False, True])
def test_file_too_small(tmp_path, create):
    """An existing file is a slot: it does not grow; when files may be made, the way out is named."""
    path = tmp_path / "slot.img"
    path.write_bytes(bytes(4096))
    words = refusal(path, image_size=4097, create=create)

    assert "4097 bytes" in words
    assert "room for 4096" in words
    assert ("remove it" in words) == create


def test_new_file(tmp_path):
    """A file that does not exist is a target when it may be made, and is not made by looking."""
    path = tmp_path / "new.img"
    target = check_target(path, image_size=10**15, create=True)

    assert (target.exists, target.size, target.is_block) == (False, 0, False)
    assert not path.exists()
    assert "does not exist" in refusal(path)


def test_new_file_in_no_folder(tmp_path):
    """A new file needs its folder."""
    assert "no folder" in refusal(tmp_path / "none" / "new.img", create=True)


@pytest.mark.parametrize("name", ["/dev/mmcblk9p9", "/dev/./sdzz", "/tmp/../dev/sdzz", "/dev/disk/by-label/nothing"])
def test_mistyped_device(name):
    """A missing name in /dev is never made, however it is written."""
    assert "check the name" in refusal(name, create=True)


def test_link_to_a_mistyped_device(tmp_path):
    """A link that leads to a missing name in /dev is not made either."""
    (tmp_path / "card").symlink_to("/dev/sdzz")
    assert "check the name" in refusal(tmp_path / "card", create=True)


@needs_root
def test_file_in_dev():
    """A file in /dev that an earlier mistake left is refused, a file in /dev/shm is not."""
    name = f"hupfast-test-{os.getpid()}"
    for folder, wrong in (("/dev", True), ("/dev/shm", False)):
        path = Path(folder, name)
        try:
            path.write_bytes(bytes(512))
        except OSError as error:
            pytest.skip(f"{path} cannot be made: {error}")
        try:
            if wrong:
                assert "an ordinary file in /dev" in refusal(path)
            else:
                assert check_target(path, image_size=512).size == 512
        finally:
            path.unlink()


@pytest.mark.parametrize(("name", "words"), [("/", "a folder"), ("/dev/null", "a character device")])
def test_no_file_at_all(name, words):
    """A folder or a character device is named for what it is."""
    assert words in refusal(name, create=True)


def test_pipe(tmp_path):
    """A pipe is refused without being opened."""
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe" in refusal(tmp_path / "pipe")


def test_null_byte():
    """A name that no file can have is refused."""
    with pytest.raises(TargetError, match="null byte"):
        check_target("a\0b", create=True)


@pytest.fixture
def as_nobody(tmp_path):
    """Leave root's powers for a while, in a folder that everybody can look into."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        os.seteuid(0)


def test_not_permitted(as_nobody):
    """A file or folder that may not be written is refused."""
    path = as_nobody / "slot.img"
    path.write_bytes(b"x")
    path.chmod(0o444)
    as_nobody.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)

    assert "may not write" in refusal(path)
    assert "may not write" in refusal(as_nobody / "new", create=True)
    assert check_target(path, writing=False).size == 1


def test_comparing_needs_the_whole_image(tmp_path):
    """A target that is only compared must have all bytes of the image too."""
    path = tmp_path / "slot.img"
    path.write_bytes(bytes(4096))

    assert "room for 4096" in refusal(path, image_size=4097, writing=False)


def test_image_onto_itself(tmp_path):
    """A file is not overwritten with what is read from it, under whatever name."""
    path, other = tmp_path / "image", tmp_path / "other"
    path.write_bytes(b"x")
    other.write_bytes(b"x")
    (tmp_path / "link").symlink_to("image")
    with path.open("rb") as file:
        with pytest.raises(TargetError, match="the image itself"):
            check_not_source(check_target(tmp_path / "link"), file.fileno())
        check_not_source(check_target(other), file.fileno())
        check_not_source(check_target(tmp_path / "new", create=True), file.fileno())
    check_not_source(check_target(path), None)


# ---- loop devices ----


@pytest.fixture
def backing(tmp_path):
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    return path


@contextmanager
def attach(path: Path, *options: str) -> Iterator[str]:
    device = tool("losetup", "--find", "--show", *options, str(path))
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def loop(backing):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with attach(backing) as device:
        yield device


@contextmanager
def mount(device: str, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    tool("mount", device, str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_idle_loop_device(loop, backing):
    """A free device is a target with its size and sector; its backing file is none."""
    target = check_target(loop, image_size=16 * MIB)

    assert (target.is_block, target.exists, target.size) == (True, True, 16 * MIB)
    assert (target.logical_block_size, target.name) == (512, loop.removeprefix("/dev/"))
    assert str(backing) in target.model
    assert f"losetup -d {loop}" in refusal(backing)


def test_device_onto_itself(loop, tmp_path):
    """A device is not overwritten with what is read from it, through another node either."""
    node = tmp_path / "node"
    os.mknod(node, 0o600 | stat.S_IFBLK, os.stat(loop).st_rdev)
    try:
        file = node.open("rb")
    except PermissionError:
        pytest.skip("device nodes do not work in the folder of the tests")
    with file, pytest.raises(TargetError, match="the image itself"):
        check_not_source(check_target(loop), file.fileno())


def test_device_too_small(loop):
    """A device does not grow, and is not to be removed."""
    words = refusal(loop, image_size=16 * MIB + 1, create=True)
    assert "room for 16777216" in words
    assert "remove" not in words


@needs_root
def test_sectors_of_4096(backing):
    """The logical block size comes from the device."""
    with attach(backing, "--sector-size", "4096") as device:
        assert check_target(device).logical_block_size == 4096


@needs_root
def test_write_protected_device(backing):
    """A read-only device is refused for writing, and good enough to compare."""
    with attach(backing, "--read-only") as device:
        assert "write-protected" in refusal(device)
        assert check_target(device, writing=False).size == 16 * MIB


def test_link_to_a_device(loop, tmp_path):
    """A link stands for the device that it leads to."""
    (tmp_path / "card").symlink_to(loop)
    assert check_target(tmp_path / "card").name == loop.removeprefix("/dev/")


def test_mounted_device(loop, tmp_path):
    """A mounted device is refused with its mount point, and may be compared."""
    tool("mkfs.ext4", "-q", loop)
    with mount(loop, tmp_path / "mnt") as folder:
        assert f"it is mounted on {folder}: unmount that first" in refusal(loop)
        assert check_target(loop, writing=False).size == 16 * MIB
    assert check_target(loop).exists


@needs_root
def test_mounted_btrfs(backing, tmp_path):
    """A filesystem whose mounts have numbers of their own is found by its device."""
    os.truncate(backing, 128 * MIB)
    with attach(backing) as device:
        tool("mkfs.btrfs", "-q", device)
        with mount(device, tmp_path / "mnt") as folder:
            assert f"it is mounted on {folder}" in refusal(device)


def test_file_on_a_read_only_filesystem(loop, tmp_path):
    """A file on a filesystem that is mounted read-only is refused with that reason."""
    tool("mkfs.ext4", "-q", loop)
    with mount(loop, tmp_path / "mnt") as folder:
        (folder / "slot.img").write_bytes(bytes(512))
        tool("mount", "-o", "remount,ro", loop)

        assert "mounted read-only" in refusal(folder / "slot.img")
        assert "mounted read-only" in refusal(folder / "new.img", create=True)


def test_swap(loop):
    """A device that is swap space is refused."""
    tool("mkswap", loop)
    tool("swapon", loop)
    try:
        assert f"swapoff {loop}" in refusal(loop)
    finally:
        subprocess.run(["swapoff", loop], check=True)


def test_loop_device_on_a_device(loop):
    """A device behind a loop device is in use, though the kernel would let it be written."""
    with attach(Path(loop)) as second:
        assert f"losetup -d {second}" in refusal(loop)


@pytest.fixture
def disk(backing):
    """A loop device, and the two partitions on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with attach(backing, "--partscan") as device:
        for number, start in enumerate(("2048", "10240"), 1):
            tool("addpart", device, str(number), start, "8192")
        yield device, f"{device}p1", f"{device}p2"


def test_partitioned_disk(disk):
    """A disk tells its partitions, a partition its own size."""
    whole, first, _ = disk
    name = whole.removeprefix("/dev/")

    assert check_target(whole).partitions == (f"{name}p1", f"{name}p2")
    assert check_target(first).size == 8192 * 512
    assert check_target(first).partitions == ()


def test_mounted_partition(disk, tmp_path):
    """A mounted partition is refused, so is its disk; its neighbour is free."""
    whole, first, second = disk
    tool("mkfs.ext4", "-q", first)
    with mount(first, tmp_path / "mnt") as folder:
        assert f"it is mounted on {folder}" in refusal(first)
        assert f"its partition {first.removeprefix('/dev/')} is mounted on {folder}" in refusal(whole)
        assert check_target(second).size == 8192 * 512


def test_device_mapper(loop):
    """A device below a device-mapper one is refused with the name of that."""
    name = f"hupfast-test-{os.getpid()}"
    tool("dmsetup", "create", name, "--table", f"0 2048 linear {loop} 0")
    try:
        assert f"held by {name}" in refusal(loop)
    finally:
        subprocess.run(["dmsetup", "remove", name], check=True)


def test_running_root():
    """The disk that this system runs from is refused."""
    number = next(
        line.split()[2] for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4] == "/"
    )
    link = Path("/sys/dev/block") / number
    if not link.exists():
        pytest.skip("the root file system is on no block device")
    device = "/dev/" + link.resolve().name
    if not os.access(device, os.W_OK):
        pytest.skip(f"{device} may not be opened here")

    assert "running system" in refusal(device)
