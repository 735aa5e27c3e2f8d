"""
The next version of an image: the same tree with one file of twenty changed, made into ext4 in the ways that
people use.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images import SHARE, SMALL, stage
from benchmarks.machine import run

ONE_OF = 20
"""One file of so many is changed: 5%."""

FIXED = "6e0b1f0c-9d1f-4f0e-8a57-000000000001"
TIME = "1000000000"


@dataclass(frozen=True)
class Recipe:
    """
    How one version is made from its tree by mkfs.ext4 -d.

    ids: the same UUID and hash seed each time (-U, -E hash_seed). features: as -O takes them. time: the same time in
    what mkfs writes itself. in_place: no mkfs for the new version: the old image is mounted, and changed.
    """

    title: str
    ids: bool = False
    features: str = ""
    time: bool = False
    in_place: bool = False


USUAL = Recipe("mkfs.ext4 -d, as it comes")


def fill(tree: Path, size: int) -> None:
    """A tree of real files for an image of `size` bytes, always the same."""
    tree.mkdir(parents=True)
    stage(Path("/usr"), tree, int(size * (SHARE if size >= SMALL else 0.4)))


def files(tree: Path) -> list[Path]:
    """The regular files of a tree, mixed, always in the same order."""
    found = [Path(parent, name) for parent, _, names in os.walk(tree) for name in names]
    return sorted(found, key=lambda path: hashlib.sha256(os.fsencode(path.relative_to(tree))).digest())


def change(tree: Path, *, longer: bool) -> int:
    """
    Give one file of ONE_OF another content, of the same length or a tenth longer. Returns how many.

    The new bytes are the old ones from behind, which compress about as well.
    """
    everybody = files(tree)
    chosen = everybody[: max(len(everybody) // ONE_OF, 1)]
    for path in chosen:
        old = path.read_bytes()
        new = old[::-1]
        if new == old:
            new = bytes([old[0] ^ 1]) + old[1:]
        path.write_bytes(new + old[: len(old) // 10 + 1] if longer else new)
        os.utime(path, (int(TIME), int(TIME)))
    return len(chosen)


def make(tree: Path, image: Path, size: int, recipe: Recipe) -> None:
    """An ext4 image of `size` bytes with the files of a tree."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    ids = FIXED if recipe.ids else str(uuid.uuid4())
    argv = ["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-N", str(max(2000, size // 16384))]
    argv += ["-U", ids, "-E", f"hash_seed={ids},root_owner=0:0"]
    if recipe.features:
        argv += ["-O", recipe.features]
    run([*argv, "-d", tree, image], env={"E2FSPROGS_FAKE_TIME": TIME} if recipe.time else {})


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The files of an image, to be changed in it. Needs root."""
    place.mkdir()
    run(["mount", "-o", "loop", image, place])
    try:
        yield place
    finally:
        run(["umount", place])
        place.rmdir()


def versions(folder: Path, size: int, recipe: Recipe, *, longer: bool) -> tuple[Path, Path]:
    """The old and the new image, as files of `folder`, which must not exist."""
    tree, old, new = folder / "tree", folder / "old.img", folder / "new.img"
    folder.mkdir(parents=True)
    fill(tree, size)
    make(tree, old, size, recipe)
    if recipe.in_place:
        run(["cp", "--sparse=always", old, new])
        with mounted(new, folder / "mount") as place:
            shutil.rmtree(place / "lost+found", ignore_errors=True)
            change(place, longer=longer)
    else:
        # A tree of its own, as a build makes one: its files have other inodes, and another ctime, than the old ones.
        again = folder / "again"
        run(["cp", "-a", tree, again])
        change(again, longer=longer)
        make(again, new, size, recipe)
        shutil.rmtree(again)
    shutil.rmtree(tree)
    return old, new
