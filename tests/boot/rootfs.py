"""
A small Debian system with hupfast in it, made from packages without a chroot and without changing the host.

`build(folder)` downloads the packages' closure with the host's own apt (into a cache of its own, against an empty
dpkg status), unpacks them, and leaves `tree/` (the root file system), `vmlinuz` and `initrd` in the folder.
"""

import compileall
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    "python3-minimal",
    "libpython3.11-stdlib",
    "python3-cffi-backend",
    "python3-click",
    "libzstd1",
    "libssl3",
    "busybox-static",
    "e2fsprogs",
    "util-linux",
)
MODULES = ("virtio_pci", "virtio_blk", "ext4", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1")

HEALTH = """
[health]
units = "any"
attempts = 1
"""

PROFILES = {
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
}

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
  case $($b cat $d/serial) in cmd) cmd=/dev/${d##*/};; payload) payload=/dev/${d##*/};; *) disk=/dev/${d##*/};; esac
done
$b mount -t vfat ${disk}1 /boot || echo NO-BOOT
$b mount -t ext4 ${disk}4 /data || echo NO-DATA
[ -z "$payload" ] || $b mount -t ext4 -o ro $payload /mnt
. /etc/os-release
root=$($b grep -o 'root=[^ ]*' /proc/cmdline)
echo "BOOTED $root version $VERSION_ID"
[ ! -d /boot/loader ] || board=qemu-systemd-boot
hupfast() { python3 -m hupfast "$@" --board ${board:-qemu-grub}; echo "EXIT $?"; }
[ -z "$cmd" ] || { $b tr -d '\\000' < $cmd > /tmp/cmd; . /tmp/cmd; }
cd /; $b sync; $b umount /boot; $b umount /data
echo GUEST-END
$b poweroff -f
"""


def run(*command: object) -> str:
    """A program that must not fail."""
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def kernel_package() -> str:
    """The package that linux-image-cloud-amd64 stands for today."""
    found = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", "linux-image-cloud-amd64"))
    assert found, "apt knows no linux-image-cloud-amd64: run apt-get update"
    return found[1]


def build(folder: Path) -> None:
    """Fill the folder, unless it is filled."""
    if (folder / "initrd").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    tree = folder / "tree"
    _unpack(folder, tree)
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    shutil.copy(kernel, folder / "vmlinuz")
    _initrd(folder, tree, version)
    for name in ("boot", "usr/lib/modules", "lib/modules", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in ("boot", "data", "dev", "mnt", "proc", "root", "run", "sys", "tmp", "etc/hupfast/boards"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in PROFILES.items():
        (tree / f"etc/hupfast/boards/{name}.toml").write_text(text + HEALTH)
    (tree / "sbin/init").unlink(missing_ok=True)
    _script(tree / "sbin/init", INIT)
    (folder / "initrd.part").rename(folder / "initrd")


def install_hupfast(tree: Path) -> None:
    """The package that is under test, compiled for the guest."""
    spec = find_spec("hupfast")
    assert spec is not None
    assert spec.origin is not None
    target = tree / "usr/lib/python3/dist-packages/hupfast"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(Path(spec.origin).parent, target, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(target, quiet=2)


def _unpack(folder: Path, tree: Path) -> None:
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    (folder / "status").touch()
    options = {
        "Dir::State::status": folder / "status",
        "Dir::Cache::archives": archives,
        "APT::Install-Recommends": 0,
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": 1,
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    download = ["apt-get", *words, "install", "-y", "--download-only", *PACKAGES]
    try:
        run(*download, kernel_package())
    except subprocess.CalledProcessError:  # the host's package lists are older than the archive
        run("apt-get", "-qq", "update")
        run(*download, kernel_package())
    tree.mkdir()
    for package in sorted(archives.glob("*.deb")):
        run("dpkg", "-x", package, tree)


def _initrd(folder: Path, tree: Path, version: str) -> None:
    """busybox, and the modules that the root and the boot partition need, in the order of their needs."""
    work = folder / "initramfs"
    (work / "bin").mkdir(parents=True)
    (work / "modules").mkdir()
    shutil.copy(tree / "bin/busybox", work / "bin/busybox")
    run("depmod", "-b", tree, version)
    order: list[str] = []
    for module in MODULES:
        shown = run("modprobe", "-d", tree, "-S", version, "--show-depends", module)
        for line in shown.splitlines():
            words = line.split()
            if words[0] == "insmod" and Path(words[1]).name not in order:
                order.append(Path(words[1]).name)
                shutil.copy(words[1], work / "modules")
    (work / "modules/order").write_text("\n".join(order) + "\n")
    _script(work / "init", INITRAMFS)
    names = "\n".join(str(path.relative_to(work)) for path in sorted(work.rglob("*"))).encode()
    archive = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=work, input=names, capture_output=True, check=True
    )
    packed = subprocess.run(["gzip", "-1"], input=archive.stdout, capture_output=True, check=True)
    (folder / "initrd.part").write_bytes(packed.stdout)


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    os.chmod(path, 0o755)
