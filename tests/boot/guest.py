"""What runs in the machines: profiles, the initramfs, and an init that runs the script of a test."""

COMMON = """
[[raw]]
name = "blob"
offsets = ["1M", "2M"]
size = "64K"

[health]
units = "any"
attempts = 1
"""

PROFILES = {
    "qemu-uboot": """extends = "plain"
name = "qemu-uboot"
description = "QEMU, arm64, U-Boot with a redundant environment"

[bootloader]
kind = "uboot"
tries = 2
""",
    "qemu-grub": """extends = "plain"
name = "qemu-grub"
description = "QEMU, x86-64, UEFI, GRUB"

[bootloader]
kind = "grub"
file = "/boot/grub/grubenv"
slot_variable = "hup_root_part"
tries = 2
""",
    "qemu-systemd-boot": """extends = "plain"
name = "qemu-systemd-boot"
description = "QEMU, x86-64, UEFI, systemd-boot"

[bootloader]
kind = "systemd-boot"
tries = 2

[bootloader.entries]
a = "hup-a"
b = "hup-b"
""",
    "qemu-efi": """extends = "plain"
name = "qemu-efi"
description = "QEMU, x86-64, UEFI, no boot loader"

[bootloader]
kind = "efi"

[bootloader.entries]
a = "hup-a"
b = "hup-b"
""",
}
FW_ENV_CONFIG = "/boot/uboot.env 0x0 0x4000\n/boot/uboot2.env 0x0 0x4000\n"

INITRAMFS = """#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /new
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for m in $($b cat /modules/order); do $b insmod /modules/$m; done
for w in $($b cat /proc/cmdline); do case $w in root=*) root=${w#root=};; esac; done
i=0; while [ ! -b "$root" ] && [ $i -lt 100 ]; do $b sleep 0.1; i=$((i+1)); done
$b mount -t ext4 -o ro $root /new || { echo NO-ROOT $root; $b poweroff -f; }
for m in proc sys dev; do $b mount --move /$m /new/$m; done
exec $b switch_root /new /sbin/init
"""

INIT = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
b=/bin/busybox
$b mount -t tmpfs tmpfs /tmp; $b mount -t tmpfs tmpfs /run
for d in /sys/block/vd?; do
  dev=/dev/${d##*/}
  case $($b cat $d/serial) in cmd) cmd=$dev;; payload) payload=$dev;; x*) ;; *) disk=$dev;; esac
done
$b mount -t vfat ${disk}1 /boot || echo NO-BOOT
$b mount -t ext4 ${disk}4 /data || echo NO-DATA
[ -z "$payload" ] || $b mount -t ext4 -o ro $payload /mnt
. /etc/os-release
root=$($b grep -o 'root=[^ ]*' /proc/cmdline)
echo "BOOTED $root version $VERSION_ID"
[ ! -d /boot/loader ] || board=qemu-systemd-boot
[ ! -f /boot/uboot.env ] || board=qemu-uboot
[ ! -f /boot/efi-only ] || board=qemu-efi
[ ! -d /sys/firmware/efi/efivars ] || $b mount -t efivarfs efivarfs /sys/firmware/efi/efivars
hupfast() { python3 -m hupfast "$@" --board ${board:-qemu-grub}; echo "EXIT $?"; }
[ -z "$cmd" ] || { $b tr -d '\\000' < $cmd > /tmp/cmd; . /tmp/cmd; }
cd /; $b sync; $b umount /boot; $b umount /data
echo GUEST-END
$b poweroff -f
"""
