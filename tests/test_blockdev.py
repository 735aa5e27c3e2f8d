"""Block devices and their uses, in a tree of files that looks like /sys and /proc."""

import os
from pathlib import Path

import pytest

from hupfast.blockdev import file_in_use, find_device, in_use

SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class Tree:
    """A root with a disk sda (8:0, two partitions) and a disk sdb (8:16); the methods put them to use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.add("8:0", "devices/pci/block/sda", size=1000, model="Sand Disk  ", sector=4096)
        self.add("8:1", "devices/pci/block/sda/sda1", size=400, partition=1)
        self.add("8:2", "devices/pci/block/sda/sda2", size=500, partition=2)
        self.add("8:16", "devices/usb/block/sdb", size=2000)
        self.write("proc/swaps", SWAPS)
        self.mount("0:21", "/proc", "proc", "proc")

    def write(self, path: str, text: str) -> None:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)

    def add(self, number: str, path: str, *, size: int, partition: int = 0, model: str = "", sector: int = 512) -> None:
        self.write(f"sys/{path}/dev", number + "\n")
        self.write(f"sys/{path}/size", f"{size}\n")
        self.write(f"sys/{path}/ro", "0\n")
        (self.root / "sys" / path / "holders").mkdir()
        if partition:
            self.write(f"sys/{path}/partition", f"{partition}\n")
        else:
            self.write(f"sys/{path}/queue/logical_block_size", f"{sector}\n")
            block = self.root / "sys/block" / Path(path).name
            block.parent.mkdir(parents=True, exist_ok=True)
            block.symlink_to(f"../{path}")
        if model:
            self.write(f"sys/{path}/device/model", model + "\n")
        link = self.root / "sys/dev/block" / number
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../{path}")

    def mount(
        self, number: str, where: str, kind: str = "ext4", source: str = "/dev/root", process: str = "self"
    ) -> None:
        path = self.root / f"proc/{process}/mountinfo"
        before = path.read_text() if path.exists() else ""
        line = f"36 35 {number} / {where} rw,noatime shared:1 master:2 - {kind} {source} rw,errors=continue\n"
        self.write(f"proc/{process}/mountinfo", before + line)

    def hold(self, path: str, holder: str, name: str = "") -> None:
        self.write(f"sys/{path}/holders/{holder}", "")
        if name:
            self.write(f"sys/block/{holder}/dm/name", name + "\n")

    def reason(self, number: str) -> str | None:
        device = find_device(number, str(self.root))
        assert device is not None
        return in_use(device, str(self.root))


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_disk(tree):
    """A disk is described by its directory: size in bytes, sector, model, partitions."""
    disk = find_device("8:0", str(tree.root))
    assert disk is not None
    assert (disk.name, disk.size, disk.logical_block_size, disk.model) == ("sda", 512_000, 4096, "Sand Disk")
    assert [part.number for part in disk.partitions] == ["8:1", "8:2"]
    assert disk.disk is None
    assert not disk.read_only


def test_partition(tree):
    """A partition has its own size, and the sector and model of its disk."""
    part = find_device("8:2", str(tree.root))
    assert part is not None
    assert (part.name, part.size, part.logical_block_size, part.model) == ("sda2", 256_000, 4096, "Sand Disk")
    assert part.disk is not None
    assert part.disk.number == "8:0"
    assert part.partitions == ()


def test_unknown_device(tree):
    """A number that sysfs does not have is no device."""
    assert find_device("9:9", str(tree.root)) is None


def test_nothing_speaks_against_an_idle_device(tree):
    """Devices that nobody uses are free, also beside ones that are in use."""
    tree.mount("8:1", "/boot")
    assert tree.reason("8:2") is None
    assert tree.reason("8:16") is None


@pytest.mark.parametrize("process", ["self", "1"])
def test_mounted(tree, process):
    """A mounted partition is in use, so is its disk; process 1 knows mounts that we do not see."""
    tree.mount("8:1", "/media/my\\040card", process=process)
    assert tree.reason("8:1") == "it is mounted on /media/my card: unmount that first (umount /media/my card)"
    assert str(tree.reason("8:0")).startswith("its partition sda1 is mounted on /media/my card")


def test_whole_disk_mounted(tree):
    """A partition of a disk that is mounted as a whole is in use."""
    tree.mount("8:0", "/data")
    assert str(tree.reason("8:2")).startswith("the whole disk sda is mounted on /data")


def test_running_root(tree):
    """The running root and its disk are named as such, even when another partition is mounted too."""
    tree.mount("8:1", "/boot")
    tree.mount("8:2", "/")
    assert tree.reason("8:2") == "the running system's root file system is on it"
    assert tree.reason("8:0") == "the running system's root file system is on its partition sda2"


def test_inactive_slot_on_the_disk_of_the_root_is_free(tree):
    """Another partition of the disk that the system runs from can be written: that is what hupfast is for."""
    tree.mount("8:1", "/")
    assert tree.reason("8:2") is None


@pytest.mark.parametrize(
    ("holder", "name", "words"), [("dm-0", "vg-root", "held by vg-root"), ("md0", "", "--stop /dev/md0")]
)
def test_held(tree, holder, name, words):
    """A holder of a partition keeps it and its disk; a holder of the disk keeps its partitions."""
    tree.hold("devices/pci/block/sda/sda2", holder, name)
    assert words in str(tree.reason("8:2"))
    assert str(tree.reason("8:0")).startswith("its partition sda2 is held")
    assert tree.reason("8:1") is None

    tree.hold("devices/pci/block/sda", "dm-9")
    assert str(tree.reason("8:1")).startswith("the whole disk sda is held by dm-9")


def test_btrfs_of_several_devices(tree):
    """A device that a mounted btrfs uses, though mountinfo shows another one, is in use."""
    tree.write("sys/fs/btrfs/0a1b/devices/sdb/dev", "8:16\n")
    assert tree.reason("8:16") == "it belongs to the mounted btrfs volume 0a1b: unmount that first"
    assert tree.reason("8:0") is None


def test_missing_proc_is_no_error(tmp_path):
    """Without /proc nothing is known, and nothing fails; the engine's O_EXCL still stands."""
    tree = Tree(tmp_path)
    for path in ("proc/swaps", "proc/self/mountinfo"):
        os.unlink(tmp_path / path)
    assert tree.reason("8:0") is None


def test_swap_file(tree):
    """A file that is swap space in use is found by its inode, whatever it is called."""
    tree.write("var/swap file", "x")
    os.link(tree.root / "var/swap file", tree.root / "other")
    tree.write("proc/swaps", SWAPS + "/var/swap\\040file                         file\t\t1048572\t\t0\t\t-2\n")

    assert file_in_use(os.stat(tree.root / "other"), str(tree.root)) == (
        "it is swap space in use: turn that off first (swapoff /var/swap file)"
    )


def test_backing_file_of_a_loop_device(tree):
    """A file behind a loop device is found by its inode; other files are free."""
    tree.write("images/slot.img", "x")
    tree.write("images/other.img", "x")
    tree.add("7:3", "devices/virtual/block/loop3", size=8)
    tree.write("sys/devices/virtual/block/loop3/loop/backing_file", "/images/slot.img\n")
    (tree.root / "link").symlink_to("images/slot.img")

    assert file_in_use(os.stat(tree.root / "link"), str(tree.root)) == (
        "it is in use behind /dev/loop3: detach that first (losetup -d /dev/loop3)"
    )
    assert file_in_use(os.stat(tree.root / "images/other.img"), str(tree.root)) is None
