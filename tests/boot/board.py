"""A board in QEMU: a GPT disk with FAT boot partition, two slots and data; UEFI firmware, GRUB, a serial console."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from boot.rootfs import run

MIB = 1 << 20
BOOT_SIZE, SLOT_SIZE, DATA_SIZE = 96, 192, 64
FIRMWARE = Path("/usr/share/OVMF")

STANDALONE = """search --no-floppy --label --set=boot HUPBOOT
set root=$boot
export boot
configfile ($boot)/grub/grub.cfg
"""

GRUB = """set timeout=0
load_env --file ($boot)/grub/grubenv
if [ "$upgrade_available" = 1 ]; then
  if [ "$bootcount" = 0 ]; then set bootcount=1
  elif [ "$bootcount" = 1 ]; then set bootcount=2
  else set bootcount=3; fi
  save_env --file ($boot)/grub/grubenv bootcount
fi
set part=$hup_root_part
if [ "$upgrade_available" = 1 -a "$bootcount" = 3 ]; then
  if [ "$part" = 2 ]; then set part=3; else set part=2; fi
fi
if [ "$part" = 2 ]; then set slot=a; else set slot=b; fi
echo "GRUB slot $slot count $bootcount"
linux ($boot)/$slot/vmlinuz console=ttyS0 quiet panic=-1 root=/dev/vda$part
initrd ($boot)/$slot/initrd
boot
"""

SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")

ENTRY = """title slot {slot}
version {version}
sort-key hup
linux /{slot}/vmlinuz
initrd /{slot}/initrd
options console=ttyS0 quiet panic=-1 root=/dev/vda{partition}
"""


def make_filesystem(tree: Path, image: Path, size: int) -> None:
    """An ext4 image of `size` MiB with the files of a tree."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size * MIB)
    run("mkfs.ext4", "-q", "-F", "-d", tree, "-E", "root_owner=0:0", image)


def make_disk(disk: Path, root_image: Path, boot_files: dict[str, Path], loader: str) -> None:
    """As the factory makes it: the first slot filled, the second one empty, the loader ("grub" or not) on the first."""
    work = disk.with_suffix(".parts")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    sizes = [BOOT_SIZE, SLOT_SIZE, SLOT_SIZE, DATA_SIZE]
    starts = [4 + sum(sizes[:number]) for number in range(4)]
    with disk.open("wb") as file:
        file.truncate((starts[-1] + sizes[-1] + 4) * MIB)
    kinds = ["U", "L", "L", "L"]
    lines = [f"start={s}MiB, size={n}MiB, type={k}" for s, n, k in zip(starts, sizes, kinds, strict=True)]
    text = "label: gpt\n" + "\n".join(lines) + "\n"
    subprocess.run(["sfdisk", "-q", str(disk)], input=text, text=True, check=True)
    fat = work / "fat"
    with fat.open("wb") as file:
        file.truncate(BOOT_SIZE * MIB)
    run("mkfs.vfat", "-n", "HUPBOOT", fat)
    run("mmd", "-i", fat, "::EFI", "::EFI/BOOT", "::a", "::b")
    (_put_grub if loader == "grub" else _put_systemd_boot)(work, fat)
    for name, path in boot_files.items():
        run("mcopy", "-i", fat, path, f"::a/{name}")
    data = work / "data"
    (work / "empty").mkdir()
    make_filesystem(work / "empty", data, DATA_SIZE)
    for image, start in ((fat, starts[0]), (root_image, starts[1]), (data, starts[3])):
        run("dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={start}", "conv=notrunc,sparse", "status=none")
    shutil.rmtree(work)


def _put_grub(work: Path, fat: Path) -> None:
    (work / "standalone.cfg").write_text(STANDALONE)
    (work / "grub.cfg").write_text(GRUB)
    modules = "part_gpt fat normal search search_label loadenv linux test echo configfile boot"
    run(
        "grub-mkstandalone", "-O", "x86_64-efi", "-o", work / "bootx64.efi", f"--modules={modules}",
        f"--install-modules={modules}", "--locales=", "--fonts=", f"boot/grub/grub.cfg={work / 'standalone.cfg'}",
    )  # fmt: skip
    run("grub-editenv", work / "grubenv", "create")
    run("grub-editenv", work / "grubenv", "set", "hup_root_part=2")
    run("mmd", "-i", fat, "::grub")
    run("mcopy", "-i", fat, work / "bootx64.efi", "::EFI/BOOT/BOOTX64.EFI")
    run("mcopy", "-i", fat, work / "grub.cfg", work / "grubenv", "::grub")


def _put_systemd_boot(work: Path, fat: Path) -> None:
    (work / "loader.conf").write_text("timeout 0\n")
    run("mmd", "-i", fat, "::loader", "::loader/entries")
    run("mcopy", "-i", fat, SYSTEMD_BOOT, "::EFI/BOOT/BOOTX64.EFI")
    run("mcopy", "-i", fat, work / "loader.conf", "::loader")
    for slot, partition, version in (("a", 2, 1), ("b", 3, 0)):
        entry = work / f"hup-{slot}.conf"
        entry.write_text(ENTRY.format(slot=slot, partition=partition, version=version))
        run("mcopy", "-i", fat, entry, "::loader/entries")


@dataclass
class Qemu:
    """One machine. payload: an image that the guest has mounted at /mnt."""

    disk: Path
    payload: Path | None = None
    memory: int = 256
    console: list[str] = field(default_factory=list)

    def boot(self, script: str, timeout: float = 180) -> str:
        """One power cycle: run the script in the guest, and return what the console printed."""
        variables = self.disk.with_suffix(".vars")
        if not variables.exists():
            shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", variables)
        command_disk = self.disk.with_suffix(".cmd")
        command_disk.write_bytes(script.encode().ljust(64 * 1024, b"\0"))
        command = [
            "qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-cpu", "qemu64", "-m", str(self.memory),
            "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot",
            "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,format=raw,file={variables}",
            "-drive", f"if=none,id=disk,format=raw,file={self.disk}",
            "-device", "virtio-blk-pci,drive=disk,bootindex=1",
            "-drive", f"if=none,id=cmd,format=raw,readonly=on,file={command_disk}",
            "-device", "virtio-blk-pci,drive=cmd,serial=cmd",
        ]  # fmt: skip
        if self.payload is not None:
            command += ["-drive", f"if=none,id=payload,format=raw,readonly=on,file={self.payload}"]
            command += ["-device", "virtio-blk-pci,drive=payload,serial=payload"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True)
        text = done.stdout.decode("utf-8", "replace").replace("\r", "")
        self.console.append(text)
        return text
