"""A folder that looks like /sys, /proc and /dev of a board with disks; its partitions may be real loop devices."""

import os
import stat
from pathlib import Path


class SysTree:
    """The system root in `root`; every number is "major:minor"."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        """One file of the kernel."""
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)

    def disk(self, name: str, number: str) -> None:
        """A disk without partitions."""
        self._add(f"devices/platform/block/{name}", number, f"DEVNAME={name}\nDEVTYPE=disk\n")
        self.write(f"sys/devices/platform/block/{name}/queue/logical_block_size", "512\n")

    def partition(self, disk: str, name: str, partition: int, number: str, partuuid: str = "", size: int = 0) -> None:
        """A partition, and its node in /dev where we may make one."""
        facts = f"DEVNAME={name}\nDEVTYPE=partition\nPARTN={partition}\n"
        directory = f"devices/platform/block/{disk}/{name}"
        self._add(directory, number, facts + (f"PARTUUID={partuuid}\n" if partuuid else ""))
        self.write(f"sys/{directory}/partition", f"{partition}\n")
        self.write(f"sys/{directory}/size", f"{size // 512}\n")
        self.write(f"sys/{directory}/ro", "0\n")
        self.node(f"dev/{name}", number)

    def mapping(self, name: str, number: str, uuid: str, slaves: list[str]) -> None:
        """A device-mapper device on others, which are named by their directories below /sys."""
        self._add(f"devices/virtual/block/{name}", number, f"DEVNAME={name}\n")
        self.write(f"sys/devices/virtual/block/{name}/dm/uuid", uuid + "\n")
        for slave in slaves:
            link = self.root / f"sys/devices/virtual/block/{name}/slaves" / Path(slave).name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(self.root / "sys" / slave)

    def mount(self, number: str, where: str = "/", kind: str = "ext4", source: str = "/dev/root") -> None:
        """One more mount of process 1."""
        path = self.root / "proc/1/mountinfo"
        before = path.read_text() if path.exists() else ""
        self.write("proc/1/mountinfo", f"{before}36 35 {number} / {where} rw,noatime - {kind} {source} rw\n")

    def node(self, path: str, number: str) -> None:
        """A block device node."""
        major, minor = (int(part) for part in number.split(":"))
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(full, stat.S_IFBLK | 0o600, os.makedev(major, minor))

    def _add(self, directory: str, number: str, uevent: str) -> None:
        self.write(f"sys/{directory}/dev", number + "\n")
        self.write(f"sys/{directory}/uevent", uevent)
        (self.root / f"sys/{directory}/holders").mkdir()
        link = self.root / f"sys/dev/block/{number}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../{directory}")
