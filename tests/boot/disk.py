"""A board's disk, made without mounting anything: GPT, a FAT boot partition, two slots, data."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from boot.packages import run

MIB = 1 << 20
BOOT_START, BOOT_SIZE, SLOT_SIZE, DATA_SIZE = 4, 96, 192, 64
"""In MiB."""

Put = Callable[[Path, Path], None]
"""put(work, fat): puts a bootloader onto a FAT image, with a folder to work in."""


def make_filesystem(tree: Path, image: Path, size: int) -> None:
    """An ext4 image of `size` MiB with the files of a tree."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size * MIB)
    run("mkfs.ext4", "-q", "-F", "-d", tree, "-E", "root_owner=0:0", image)


SIZES = (BOOT_SIZE, SLOT_SIZE, SLOT_SIZE, DATA_SIZE)


def make_disk(
    disk: Path, root_image: Path, boot_files: dict[str, Path], put_loader: Put, sizes: Sequence[int] = SIZES
) -> None:
    """
    As the factory makes it: the first slot filled, the second one empty. put_loader: puts the bootloader's files;
    sizes: of boot partition, slots and data.
    """
    work = disk.with_suffix(".parts")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    starts = [BOOT_START + sum(sizes[:number]) for number in range(4)]
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
    run("mmd", "-i", fat, "::a", "::b")
    put_loader(work, fat)
    for name, path in boot_files.items():
        run("mcopy", "-i", fat, path, f"::a/{name}")
    data = work / "data"
    (work / "empty").mkdir()
    make_filesystem(work / "empty", data, sizes[3])
    for image, start in ((fat, starts[0]), (root_image, starts[1]), (data, starts[3])):
        run("dd", f"if={image}", f"of={disk}", "bs=1M", f"seek={start}", "conv=notrunc,sparse", "status=none")
    shutil.rmtree(work)


def boot_partition(disk: Path, out: Path) -> Path:
    """A copy of the boot partition, for mtools and fsck.fat."""
    run(
        "dd",
        f"if={disk}",
        f"of={out}",
        "bs=1M",
        f"skip={BOOT_START}",
        f"count={BOOT_SIZE}",
        "conv=sparse",
        "status=none",
    )
    return out
