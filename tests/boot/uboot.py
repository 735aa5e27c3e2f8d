"""
U-Boot for QEMU's arm64 machine, built from Debian's source.

It is the qemu_arm64 configuration with what boards in the field have: a redundant environment in two files of the
FAT boot partition, and boot counting in it. The one change to the source makes the environment's code find virtio
disks, as it does MMC.
"""

import os
import shutil
import subprocess
from pathlib import Path

from boot.packages import Apt, run

CONFIG = """
# CONFIG_ENV_IS_IN_FLASH is not set
CONFIG_ENV_IS_IN_FAT=y
CONFIG_ENV_FAT_INTERFACE="virtio"
CONFIG_ENV_FAT_DEVICE_AND_PART="0:1"
CONFIG_ENV_FAT_FILE="uboot.env"
CONFIG_SYS_REDUNDAND_ENVIRONMENT=y
CONFIG_ENV_FAT_FILE_REDUND="uboot2.env"
CONFIG_ENV_SIZE=0x4000
CONFIG_BOOTCOUNT_LIMIT=y
CONFIG_BOOTCOUNT_ENV=y
CONFIG_BOOTDELAY=0
# CONFIG_CMD_BOOTEFI is not set
# CONFIG_EFI_LOADER is not set
# CONFIG_TPM is not set
# CONFIG_USB is not set
# CONFIG_CMD_USB is not set
# CONFIG_CMD_DFU is not set
# CONFIG_DFU_TFTP is not set
# CONFIG_DFU_MTD is not set
# CONFIG_DFU_RAM is not set
# CONFIG_TOOLS_MKEFICAPSULE is not set
# CONFIG_FIT is not set
"""

# In 128 MiB from 0x40000000: the kernel first, the initramfs behind it, U-Boot itself at the end.
ENVIRONMENT = {
    "bootdelay": "0",
    "bootlimit": "2",
    "hup_root_part": "2",
    "altbootcmd": "if test ${hup_root_part} = 2; then setenv hup_root_part 3;"
    " else setenv hup_root_part 2; fi; run boot",
    "bootcmd": "run boot",
    "boot": "if test ${hup_root_part} = 2; then setenv slot a; else setenv slot b; fi;"
    " echo U-Boot slot ${slot} count ${bootcount};"
    " setenv bootargs console=ttyAMA0 quiet panic=-1 root=/dev/vda${hup_root_part};"
    " load virtio 0:1 0x40400000 ${slot}/vmlinuz && load virtio 0:1 0x44000000 ${slot}/initrd"
    " && booti 0x40400000 0x44000000:${filesize} ${fdtcontroladdr}; poweroff",
}


def build_uboot(folder: Path) -> Path:
    """u-boot.bin in the folder, built unless it is there."""
    binary = folder / "u-boot.bin"
    if binary.exists():
        return binary
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source, output = folder / "tree", folder / "output"
    source.mkdir()
    run("tar", "-xf", Apt("arm64", folder).source("u-boot"), "-C", source, "--strip-components=1")
    _find_virtio(source / "env/fat.c")
    config = source / "configs/qemu_arm64_defconfig"
    config.write_text(config.read_text() + CONFIG)
    make = [
        "make",
        "-s",
        f"-j{os.cpu_count()}",
        "-C",
        source,
        f"O={output}",
        "CROSS_COMPILE=aarch64-linux-gnu-",
        "NO_PYTHON=1",
    ]
    run(*make, "qemu_arm64_defconfig")
    run(*make, "u-boot.bin")
    (output / "u-boot.bin").rename(binary)
    shutil.rmtree(output)
    shutil.rmtree(source)
    return binary


def put_environment(work: Path, fat: Path) -> None:
    """Both copies of the environment, as the factory makes them with U-Boot's own tool."""
    text = "".join(f"{name}={value}\n" for name, value in ENVIRONMENT.items())
    subprocess.run(
        ["mkenvimage", "-r", "-s", "0x4000", "-o", str(work / "env"), "-"], input=text, text=True, check=True
    )
    for name in ("uboot.env", "uboot2.env"):
        run("mcopy", "-i", fat, work / "env", f"::{name}")


def _find_virtio(file: Path) -> None:
    text = file.read_text()
    include, scan = "#include <asm/cache.h>\n", "#ifdef CONFIG_MMC\n\tif (!strcmp(ifname"
    assert include in text, file
    assert scan in text, file
    text = text.replace(include, include + "int virtio_init(void);\n", 1)
    file.write_text(text.replace(scan, '\tif (!strcmp(ifname, "virtio"))\n\t\tvirtio_init();\n' + scan, 1))
