"""
Power cuts, at every write. A real kernel's writes to a real FAT boot partition are recorded, and each disk that a cut
can leave behind, with any part of what was not flushed, is looked at with the file system's and the bootloaders' own
tools.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from boot.board import UBOOT
from boot.disk import BOOT_SIZE, BOOT_START, MIB, boot_partition
from boot.packages import run
from boot.test_boards import make_board, pytestmark  # noqa: F401
from boot.writelog import SECTOR, Write, apply, cuts, read_log, within

from hupfast.durable import SUFFIX

PROFILE = 'extends = "plain"\nname = "{name}"\ndescription = "for power cuts"\n[bootloader]\n{bootloader}\n'

BOOTLOADERS = {
    "balena": ('kind = "balena-uboot"\ndirectory = "/boot/balena"', {}),
    "bootenv": ('kind = "bootenv"\nfile = "/boot/bootenv/bootenv"', {}),
    "cmdline": (
        'kind = "cmdline"\nfile = "/boot/cmdline/cmdline.txt"\nroot = "{device}"',
        {"cmdline.txt": "console=tty1 root=/dev/vda2 rootwait\n"},
    ),
    "extlinux": (
        'kind = "extlinux"\nfile = "/boot/extlinux/extlinux.conf"\nroot = "{device}"',
        {"extlinux.conf": "DEFAULT primary\nLABEL primary\n  LINUX /Image\n  APPEND root=/dev/vda2 rw\n"},
    ),
    "labels": (
        'kind = "extlinux-labels"\nfile = "/boot/labels/extlinux.conf"\n[bootloader.labels]\na = "hup-a"\nb = "hup-b"',
        {"extlinux.conf": "DEFAULT hup-a\nLABEL hup-a\n  LINUX /a/Image\nLABEL hup-b\n  LINUX /b/Image\n"},
    ),
    "grub": ('kind = "grub"\nfile = "/boot/grub/grubenv"\nslot_variable = "hup_root_part"', {}),
    "grubcfg": (
        'kind = "grub-cfg"\nfile = "/boot/grubcfg/grub.cfg"\nroot = "{device}"',
        {"grub.cfg": "menuentry 'boot' {\n  linux /vmlinuz root=/dev/vda2 rootwait\n}\n" * 30},
    ),
    "sdboot": (
        'kind = "systemd-boot"\ndirectory = "/boot/sdboot"\n[bootloader.entries]\na = "hup-a"\nb = "hup-b"',
        {
            "hup-a.conf": "title a\nversion 1\nsort-key hup\nlinux /a/vmlinuz\n",
            "hup-b.conf": "title b\nversion 0\nsort-key hup\nlinux /b/vmlinuz\n",
        },
    ),
    "tryboot": (
        'kind = "tryboot"\ndirectory = "/boot/tryboot"\nroot = "{device}"',
        {"config.txt": "arm_64bit=1\nos_prefix=a/\n", **{f"{slot}/cmdline.txt": "root=/dev/vda2\n" for slot in "ab"}},
    ),
    "uboot": ('kind = "uboot"\nconfig = "/mnt/fw_env.redundant"', {}),
    "ubootone": ('kind = "uboot"\nconfig = "/mnt/fw_env.single"', {}),
    "uenv": (
        'kind = "uenv-bootpart"\nfile = "/boot/uenv/uEnv.txt"',
        {"uEnv.txt": "bootpart=0:2\nbootdir=/boot\nfdtaddr=0x88000000\n"},
    ),
}
"""Profile and files of each; those that have a tool of their own are made with it."""


def put_files(work: Path, fat: Path) -> None:
    """
    The files of every bootloader, each kind in a directory of its own, beside those that boot the machine. On a
    partition that was full before: what is in its free clusters is not zero.
    """
    (work / "junk").write_bytes(Random(1).randbytes((BOOT_SIZE - 2) * MIB))
    run("mcopy", "-i", fat, work / "junk", "::")
    run("mdel", "-i", fat, "::junk")
    UBOOT.put_loader(work, fat)
    (work / "environment").write_text("hup_root_part=2\nother=value\n")
    for name, (_, files) in BOOTLOADERS.items():
        folder = work / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)
        if name in ("grub", "bootenv"):
            tool = folder / ("grubenv" if name == "grub" else "bootenv")
            run("grub-editenv", tool, "create")
            run("grub-editenv", tool, "set", "hup_root_part=2" if name == "grub" else "resin_root_part=A")
        elif name == "balena":
            (folder / "resinOS_uEnv.txt").write_text("resin_root_part=2\nupgrade_available=0\n")
            (folder / "bootcount.env").write_bytes(b"bootcount=0\n\0")
        elif name.startswith("uboot"):
            for copy in ("first.env", "second.env") if name == "uboot" else ("only.env",):
                flags = ["-r"] if name == "uboot" else []
                run("mkenvimage", *flags, "-s", "0x4000", "-o", folder / copy, work / "environment")
        run("mcopy", "-s", "-i", fat, folder, "::")


def payload(folder: Path) -> None:
    """What the guest needs: the program, the profiles, two versions of boot files."""
    source = Path(__file__).with_name("switches.py")
    (folder / "switches.py").write_text(source.read_text())
    (folder / "profiles").mkdir()
    for name, (bootloader, _) in BOOTLOADERS.items():
        (folder / f"profiles/{name}.toml").write_text(PROFILE.format(name=name, bootloader=bootloader))
    (folder / "fw_env.redundant").write_text("/boot/uboot/first.env 0 0x4000\n/boot/uboot/second.env 0 0x4000\n")
    (folder / "fw_env.single").write_text("/boot/ubootone/only.env 0 0x4000\n")
    for version in ("a", "b"):
        for name in ("kernel.img", "a long name of a device tree.dtb", "overlays/one.dtbo"):
            file = folder / "files" / version / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes((f"{version} {name}\n" * 700).encode())


@dataclass(frozen=True)
class Record:
    """What the guest did. base: the boot partition before; versions: digests that each file had after some step."""

    base: Path
    writes: list[Write]
    versions: dict[str, set[str]]
    always: frozenset[str]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """One run of switches.py, and the proof that the record of it is whole."""
    machine = make_board(UBOOT, tmp_path_factory.mktemp("cuts"), put_files, payload)
    base = boot_partition(machine.disk, machine.disk.with_suffix(".base"))
    machine.log = machine.disk.with_suffix(".log")
    console = machine.boot("python3 /mnt/switches.py /mnt/profiles /mnt/files\n")
    assert "SWITCHES-DONE" in console, console
    writes = within(read_log(machine.log), BOOT_START * MIB, BOOT_SIZE * MIB)
    image = bytearray(base.read_bytes())
    apply(image, writes)
    assert image == boot_partition(machine.disk, machine.disk.with_suffix(".after")).read_bytes()
    seen = re.findall(r"^VERSION (.+) (\w{64})$", console, re.MULTILINE)
    versions: dict[str, set[str]] = defaultdict(set)
    for name, digest in seen:
        versions[name.lower()].add(digest)
    count = Counter(name.lower() for name, _ in seen)
    always = frozenset(name for name in versions if count[name] == console.count("\nSTEP "))
    return Record(base, writes, dict(versions), always)


def problems(record: Record, image: Path, out: Path) -> list[str]:
    """What is wrong with a boot partition after a cut, by the files on it and by the tools."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    checked = _checked(image)
    if SUFFIX in checked:
        image = _without_unfinished(image)
        checked = _checked(image)
    subprocess.run(["mcopy", "-n", "-s", "-i", image, "::*", out], capture_output=True)
    files = {str(path.relative_to(out)).lower(): path for path in out.rglob("*") if path.is_file()}
    found = [f"{name} is missing" for name in record.always if name not in files]
    for name, path in files.items():
        data = path.read_bytes()
        if name not in record.versions or name in ("uboot/first.env", "uboot/second.env"):
            continue
        # A name that is new may be empty for a moment: nothing reads it yet.
        is_new = name not in record.always and not data
        if hashlib.sha256(data).hexdigest() not in record.versions[name] and not is_new:
            found.append(f"{name} has {len(data)} bytes that it never had")
    return [*found, *_environment(out, files), *_entries(files), *_file_system(checked)]


def _environment(out: Path, files: dict[str, Path]) -> Iterator[str]:
    """One copy may be torn; U-Boot's own tool finds the old or the new variables."""
    config = out / "fw_env.config"
    copies = [files[f"uboot/{name}.env"] for name in ("first", "second")]
    config.write_text("".join(f"{copy} 0x0 0x4000\n" for copy in copies))
    printed = subprocess.run(["fw_printenv", "-c", config], capture_output=True, text=True)
    variables = dict(line.split("=", 1) for line in printed.stdout.splitlines() if "=" in line)
    state = tuple(variables.get(name) for name in ("hup_root_part", "upgrade_available", "bootcount", "other"))
    if state not in (
        ("2", None, None, "value"), ("3", "1", "0", "value"), ("3", "0", "0", "value"), ("2", "1", "0", "value")
    ):  # fmt: skip
        yield f"fw_printenv has {state}: {printed.stderr}"


def _entries(files: dict[str, Path]) -> Iterator[str]:
    """systemd-boot passes over empty entries; the first of the others, in its order, must be whole."""
    slots = {path.name[4] for name, path in files.items() if name.startswith("sdboot/hup-") and path.read_bytes()}
    if slots != {"a", "b"}:
        yield f"there are entries of {sorted(slots)} only"


def _checked(image: Path) -> str:
    return subprocess.run(["fsck.fat", "-n", image], capture_output=True, text=True, errors="replace").stdout


def _without_unfinished(image: Path) -> Path:
    """A copy without the directories that were not finished: anything may be in them, and nothing looks at them."""
    copy = image.with_suffix(".finished")
    data = bytearray(image.read_bytes())
    for entry in re.finditer(rb"[^\xe5\0][^\0]{7}HUP\x10", bytes(data)):
        if entry.start() % 32 == 0:
            data[entry.start()] = 0xE5
    copy.write_bytes(data)
    return copy


def _file_system(checked: str) -> Iterator[str]:
    """
    Clusters that nobody has are nothing to worry about. A chain that goes on into a free cluster, or that two files
    have, is: Linux would set the file system read-only, and the next update could not be made.
    """
    damage = r"free cluster|share clusters|bad|Start does point|Start cluster|Expected a valid"
    for name, what in pairwise(checked.splitlines()):
        if re.search(damage, what, re.IGNORECASE):
            yield f"fsck.fat: {name.strip()}: {what.strip()}"


def check(record: Record, folder: Path, share: int, shares: int) -> tuple[int, dict[str, list[str]]]:
    """Every cut of one share of them: how many there were, and what is wrong with which."""
    folder.mkdir()
    image = folder / "image"
    shutil.copy(record.base, image)
    seen, found, done = 0, defaultdict(list), 0
    with image.open("r+b", buffering=0) as file:
        for number, cut in enumerate(cuts(record.writes, samples=2, seed=1)):
            _put(file, record.writes[done : cut.flushed])
            done = max(done, cut.flushed)
            if number % shares != share:
                continue
            before = _put(file, cut.pieces)
            for problem in problems(record, image, folder / "files"):
                found[problem].append(cut.name)
            _put(file, before[::-1])
            seen += 1
    return seen, dict(found)


def _put(file: FileIO, writes: Sequence[Write]) -> list[Write]:
    """Carry out writes, and return what takes each of them back."""
    before = []
    for write in writes:
        file.seek(write.sector * SECTOR)
        before.append(Write(write.sector, file.read(len(write.data)), flushes=False))
        file.seek(write.sector * SECTOR)
        file.write(write.data)
    return before


def test_every_cut_leaves_the_old_or_the_new(record: Record, tmp_path: Path) -> None:
    """
    Of every bootloader's files, and of boot files that are replaced: at each write, with all of what was not
    flushed, none of it, each block of it alone missing or alone there, and random parts of it.
    """
    shares = os.cpu_count() or 1
    with ProcessPoolExecutor(shares) as pool:
        runs = [pool.submit(check, record, tmp_path / f"{share}", share, shares) for share in range(shares)]
        results = [run.result() for run in runs]
    assert sum(seen for seen, _ in results) > 3000
    found = {problem: names for _, problems in results for problem, names in problems.items()}
    assert not found, "\n".join(f"{problem} ({len(names)}: {names[:5]})" for problem, names in found.items())
