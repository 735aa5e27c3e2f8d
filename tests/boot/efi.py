"""GRUB and systemd-boot on the boot partition, as a board's factory puts them there."""

from pathlib import Path

from boot.packages import run

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


def put_grub(work: Path, fat: Path) -> None:
    """The loader with a configuration that counts boots, and its grubenv."""
    (work / "standalone.cfg").write_text(STANDALONE)
    (work / "grub.cfg").write_text(GRUB)
    modules = "part_gpt fat normal search search_label loadenv linux test echo configfile boot"
    run(
        "grub-mkstandalone", "-O", "x86_64-efi", "-o", work / "bootx64.efi", f"--modules={modules}",
        f"--install-modules={modules}", "--locales=", "--fonts=", f"boot/grub/grub.cfg={work / 'standalone.cfg'}",
    )  # fmt: skip
    run("grub-editenv", work / "grubenv", "create")
    run("grub-editenv", work / "grubenv", "set", "hup_root_part=2")
    run("mmd", "-i", fat, "::EFI", "::EFI/BOOT", "::grub")
    run("mcopy", "-i", fat, work / "bootx64.efi", "::EFI/BOOT/BOOTX64.EFI")
    run("mcopy", "-i", fat, work / "grub.cfg", work / "grubenv", "::grub")


def put_systemd_boot(work: Path, fat: Path) -> None:
    """The loader, and an entry for each slot."""
    run("mmd", "-i", fat, "::EFI", "::EFI/BOOT", "::loader", "::loader/entries")
    (work / "loader.conf").write_text("timeout 0\n")
    run("mcopy", "-i", fat, SYSTEMD_BOOT, "::EFI/BOOT/BOOTX64.EFI")
    run("mcopy", "-i", fat, work / "loader.conf", "::loader")
    for slot, partition, version in (("a", 2, 1), ("b", 3, 0)):
        entry = work / f"hup-{slot}.conf"
        entry.write_text(ENTRY.format(slot=slot, partition=partition, version=version))
        run("mcopy", "-i", fat, entry, "::loader/entries")


ENTRIES = """
for slot in b a; do
  [ $slot = a ] && part=2 || part=3
  efibootmgr -q -c -d /dev/vda -p 1 -L hup-$slot -l "\\\\$slot\\\\vmlinuz" \\
    -u "initrd=\\\\$slot\\\\initrd console=ttyS0 quiet panic=-1 root=/dev/vda$part"
done
efibootmgr
"""
"""What the factory does on the first boot: an entry of the firmware for each slot, the running one in front."""


def put_efi(work: Path, fat: Path) -> None:
    """A loader for the first boot only, which ENTRIES is run in."""
    put_systemd_boot(work, fat)
    (work / "efi-only").write_text("")
    run("mcopy", "-i", fat, work / "efi-only", "::")
