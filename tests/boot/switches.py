"""
Runs inside the machine whose writes are recorded: every bootloader is told to try the other slot, keeps it, and goes
back; then boot files are replaced, put back, and replaced again.

After each step it prints `VERSION path sha256` of each file on the boot partition. Arguments: the folder of
profiles, and the folder with boot files (a, b: two versions of them).
"""

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hupfast.board import read_board
from hupfast.bootfiles import apply_boot_files, plan_boot_files, undo_boot_files
from hupfast.manifest import BootMember

BOOT = Path("/boot")


def tell(step: str) -> None:
    """What is on the boot partition after a step."""
    print("STEP", step)
    for path in sorted(BOOT.rglob("*")):
        if path.is_file() and path.relative_to(BOOT).parts[0] not in ("a", "b"):
            print("VERSION", path.relative_to(BOOT), hashlib.sha256(path.read_bytes()).hexdigest())


def bootloaders(profiles: Path) -> None:
    """Each of them there and back."""
    for profile in sorted(profiles.glob("*.toml")):
        bootloader = read_board(profile).bootloader(Path("/"))
        tell(f"{profile.stem} found")
        for slot, trial in (("b", True), ("b", False), ("a", True)):
            bootloader.switch(slot, trial)
            tell(f"{profile.stem} {slot} {trial}")


def boot_files(folder: Path) -> None:
    """Files that both slots share: new ones, the old ones again, new ones."""
    undo = Path("/data/undo")
    for version, back in (("b", True), ("b", False), ("a", False)):
        source = folder / version
        members = [_member(path, source) for path in sorted(source.rglob("*")) if path.is_file()]
        plan = plan_boot_files(BOOT, "shared/", members, user_files=[], limit=None)
        apply_boot_files(plan, partial(_read, source), undo)
        tell(f"boot files {version}")
        if back:
            undo_boot_files(BOOT, undo)
            tell("boot files put back")


def _member(path: Path, source: Path) -> BootMember:
    data = path.read_bytes()
    name = f"boot/{path.relative_to(source)}"
    return BootMember(name=name, size=len(data), sha256=hashlib.sha256(data).digest())


def _read(source: Path, member: BootMember) -> Iterator[bytes]:
    yield (source / member.path).read_bytes()


if __name__ == "__main__":
    tell("start")
    bootloaders(Path(sys.argv[1]))
    boot_files(Path(sys.argv[2]))
    print("SWITCHES-DONE")
