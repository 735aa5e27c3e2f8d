"""A board in QEMU: processor, firmware, bootloader, a serial console, and a disk whose writes can be recorded."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boot.disk import Put
from boot.efi import ENTRIES, put_efi, put_grub, put_systemd_boot
from boot.rootfs import ARM64, X86, Target
from boot.uboot import put_environment

OVMF = Path("/usr/share/OVMF")


@dataclass(frozen=True)
class Board:
    """
    A kind of machine. profile: its name in hupfast; memory: MiB (with less, UEFI does not start the kernel); tries:
    boots of a trial; factory: a script that the first boot runs.
    """

    profile: str
    target: Target
    put_loader: Put
    memory: int
    tries: int = 2
    factory: str = ""


UBOOT = Board("qemu-uboot", ARM64, put_environment, 128)
GRUB = Board("qemu-grub", X86, put_grub, 256)
SYSTEMD_BOOT = Board("qemu-systemd-boot", X86, put_systemd_boot, 256)
EFI = Board("qemu-efi", X86, put_efi, 256, tries=1, factory=ENTRIES)


@dataclass
class Qemu:
    """
    One machine. payload: an image that the guest has mounted at /mnt; uboot: the firmware of an arm64 board; log:
    where all writes are recorded; others: more disks, by serial number.
    """

    board: Board
    disk: Path
    payload: Path | None = None
    uboot: Path | None = None
    log: Path | None = None
    others: Mapping[str, Path] = field(default_factory=dict)
    console: list[str] = field(default_factory=list)

    def boot(self, script: str, timeout: float = 180) -> str:
        """One power cycle: run the script in the guest, and return what the console printed."""
        command = self.command(script)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True)
        text = done.stdout.decode("utf-8", "replace").replace("\r", "")
        self.console.append(text)
        return text

    def command(self, script: str) -> list[str]:
        """The program to start, with the script on a disk of its own."""
        script_disk = self.disk.with_suffix(".cmd")
        script_disk.write_bytes(script.encode().ljust(64 * 1024, b"\0"))
        command = [
            *self._machine(),
            "-m",
            str(self.board.memory),
            "-nographic",
            "-nodefaults",
            "-serial",
            "stdio",
            "-no-reboot",
        ]
        disks = [self._board_disk()]
        if self.payload is not None:
            disks.append(self._disk("payload", self.payload))
        disks.append(self._disk("cmd", script_disk))
        disks += [self._disk(serial, file, writable=True) for serial, file in self.others.items()]
        if self.board.target is ARM64:  # virtio-mmio disks are numbered from the last
            disks.reverse()
        return [*command, *(word for disk in disks for word in disk)]

    def _machine(self) -> Sequence[str]:
        if self.board.target is ARM64:
            assert self.uboot is not None
            return (
                "qemu-system-aarch64",
                "-accel",
                "tcg",
                "-M",
                "virt",
                "-cpu",
                "cortex-a53",
                "-bios",
                str(self.uboot),
            )
        variables = self.disk.with_suffix(".vars")
        if not variables.exists():
            shutil.copy(OVMF / "OVMF_VARS_4M.fd", variables)
        return (
            "qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-cpu", "qemu64",
            "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,format=raw,file={variables}",
        )  # fmt: skip

    def _board_disk(self) -> Sequence[str]:
        device = ("-device", f"{self._device},drive=disk")
        if self.log is None:
            return ("-drive", f"if=none,id=disk,format=raw,file={self.disk}", *device)
        self.log.write_bytes(b"")
        return (
            "-blockdev", f"driver=file,filename={self.disk},node-name=file",
            "-blockdev", f"driver=file,filename={self.log},node-name=log",
            "-blockdev", "driver=blklogwrites,node-name=disk,file=file,log=log,log-sector-size=512,"
            "log-super-update-interval=1", *device,
        )  # fmt: skip

    def _disk(self, serial: str, file: Path, *, writable: bool = False) -> Sequence[str]:
        drive = f"if=none,id={serial},format=raw,readonly={'off' if writable else 'on'},file={file}"
        return ("-drive", drive, "-device", f"{self._device},drive={serial},serial={serial}")

    @property
    def _device(self) -> str:
        return "virtio-blk-device" if self.board.target is ARM64 else "virtio-blk-pci"
