"""
The demo: two updates of a virtual board with a real root filesystem, one that is kept and one that falls
back.

Every step is told in a sentence, with the command that a user would type for it, and is then done by the call
behind that command. What a step claims is checked, by other means where there are some (e2fsck, SHA-256 of
files read the ordinary way); a claim that does not hold raises HupfastError.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast import filesystem, virtual
from hupfast.bundling import create_bundle
from hupfast.confirm import confirm
from hupfast.errors import HupfastError, Refused, RolledBack, UsageError
from hupfast.ext4 import Ext4
from hupfast.signing import make_key, sign
from hupfast.status import Status, status
from hupfast.system import digest, free_space, read_chunks, under
from hupfast.transaction import update

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hupfast.writer import ProgressFunction

NAME = "demo-os"
FACTORY_SIZE = 16 << 20
HOSTNAME = b"this-name-is-kept\n"

_FILL = 0.7
_LEVEL = 1


@dataclass(frozen=True)
class Talk:
    """
    Where the demo tells what it does.

    say: a sentence; command: what a user would type; told: its outcome. bar: shows the progress of one
    update.
    """

    say: Callable[[str], None]
    command: Callable[[str], None]
    told: Callable[[str], None]
    bar: "Callable[[], AbstractContextManager[ProgressFunction | None]]"


@dataclass
class Demo:
    """One run in an empty folder. size: bytes of the root filesystem."""

    folder: Path
    size: int
    talk: Talk
    checks: list[str] = field(default_factory=list)
    """What was shown to hold."""

    @property
    def board(self) -> Path:
        """The virtual board."""
        return self.folder / "board"

    def run(self) -> None:
        """
        All steps. Raises: Refused when the machine cannot do it, HupfastError when a claim does not hold.
        """
        self._check_machine()
        self._factory()
        self._key()
        self._build_system()
        self._bundle("1.0")
        self._update("1.0", slot="b")
        self._power_cycle("b", "1.0")
        self._confirm()
        self._change_system()
        self._bundle("2.0")
        self._update("2.0", slot="a")
        self._never_confirmed()

    # ---- the steps ----

    def _check_machine(self) -> None:
        missing = filesystem.missing_tools()
        if missing:
            raise Refused(f"the demo needs {', '.join(missing)}; install e2fsprogs")
        needed = 5 * self.size
        space = free_space(self.folder)
        if space.free < needed:
            raise Refused(
                f"the demo needs up to {needed >> 20} MiB in {self.folder},"
                f" and {space.free >> 20} MiB are free; give --dir on another disk, or a smaller --size"
            )

    def _factory(self) -> None:
        self.talk.say("A board leaves the factory with version 0.1 in slot a and an empty slot b.")
        tree = self.folder / "factory"
        filesystem.put(tree, "etc/os-release", _os_release("0.1"))
        filesystem.put(tree, "etc/hostname", HOSTNAME)
        image = self.folder / "factory.img"
        filesystem.make(tree, image, FACTORY_SIZE)
        virtual.create(
            self.board,
            image=image,
            boot_files={virtual.KERNEL: b"the kernel of 0.1\n"},
            name=NAME,
            version="0.1",
            slot_size=self.size,
        )
        self._status()
        self._claim("the factory system runs", self._seen().version == "0.1")

    def _key(self) -> None:
        self.talk.say("Whoever makes its systems has a key, and every board has the public half of it.")
        self.talk.command(f"hupfast keygen {self.folder}/release")
        pair = make_key(self.folder / "release")
        keys = under(self.board, "/etc/hupfast/keys")
        self.talk.command(f"cp {pair.public} {keys}/")
        virtual.write_small(self.board, "/etc/hupfast/keys/release.pem", pair.public.read_bytes())
        self.talk.told(f"key {pair.id}")

    def _build_system(self) -> None:
        tree = self.folder / "rootfs"
        count, size = filesystem.collect(tree, int(self.size * _FILL), files=self.size >> 14)
        filesystem.put(tree, "etc/hostname", b"a-new-board\n")
        self._image("1.0")
        self.talk.say(
            f"Version 1.0 is an ext4 filesystem of {self.size >> 20} MiB"
            f" with {count} files of this machine ({size >> 20} MiB)."
        )

    def _change_system(self) -> None:
        count = filesystem.change(self.folder / "rootfs")
        self._image("2.0")
        self.talk.say(f"Version 2.0 is the same with {count} files changed.")

    def _image(self, version: str) -> None:
        tree = self.folder / "rootfs"
        filesystem.put(tree, "etc/os-release", _os_release(version))
        filesystem.make(tree, self._path(version, "img"), self.size)
        filesystem.put(self.folder, f"boot-{version}/{virtual.KERNEL}", f"the kernel of {version}\n".encode() * 4096)
        filesystem.put(self.folder, f"boot-{version}/dtb/board.dtb", os.urandom(30_000))

    def _bundle(self, version: str) -> None:
        image, bundle = self._path(version, "img"), self._path(version, "hup")
        self.talk.say("Image and boot files become one bundle, chunked and compressed.")
        self.talk.command(
            f"hupfast bundle create --name {NAME} --version {version} --board virtual"
            f" --boot {self.folder}/boot-{version} --image {image} --level {_LEVEL} {bundle}"
        )
        create_bundle(
            bundle,
            name=NAME,
            version=version,
            boards=["virtual"],
            image=image,
            boot=self.folder / f"boot-{version}",
            pack=self._pack,
        )
        self.talk.told(f"{bundle.stat().st_size >> 20} MiB for {image.stat().st_size >> 20} MiB")
        self._claim("the board refuses it as long as nobody has signed it", self._is_refused(bundle))
        self.talk.command(f"hupfast bundle sign {bundle} --key {self.folder}/release.key")
        sign(bundle, self.folder / "release.key", force=False)

    def _update(self, version: str, *, slot: str) -> None:
        image, bundle = self._path(version, "img"), self._path(version, "hup")
        wanted = digest(read_chunks(image))
        self.talk.say(f"The board writes version {version} into slot {slot}, and reads it back.")
        self.talk.command(f"hupfast update {bundle} --root {self.board}")

        def after_image(stage: str) -> None:
            if stage == "slot":  # the image is durable, and the label is not yet set
                self._claim(
                    f"slot {slot} equals the image by SHA-256",
                    digest(_first_bytes(self._slot(slot), image.stat().st_size)) == wanted,
                )

        with self.talk.bar() as progress:
            result = update(bundle, root=self.board, progress=progress, on_stage=after_image)
        self._claim("the update is installed", result.outcome == "installed" and result.slot == slot)
        if result.report is not None:
            self.talk.told(f"written and verified in {result.report.seconds:.1f} s")
        self._claim(f"e2fsck finds slot {slot} clean", filesystem.is_clean(self._slot(slot)))
        kept = Ext4(self._slot(slot)).read("/etc/hostname", self.folder / "hostname")
        self._claim("the kept file /etc/hostname came along", kept == HOSTNAME)
        self._status()

    def _power_cycle(self, slot: str, version: str) -> None:
        self.talk.say(f"The board reboots, and its firmware tries slot {slot}.")
        booted = self._boot()
        self._claim(f"version {version} runs from slot {slot}", (booted.slot, booted.version) == (slot, version))

    def _confirm(self) -> None:
        self.talk.say("The new system is healthy, and is made permanent.")
        self.talk.command(f"hupfast confirm --root {self.board}")
        self._claim("version 1.0 is permanent", confirm(root=self.board).outcome == "confirmed")
        self._status()

    def _never_confirmed(self) -> None:
        self.talk.say(
            "Nobody confirms version 2.0, as if it had no network. The board reboots until its tries are used up."
        )
        seen: list[str] = []
        while len(seen) < 9 and "b" not in seen:
            seen.append(self._boot().slot)
        self._claim("slot a was tried three times, then slot b came back by itself", seen == ["a", "a", "a", "b"])
        self._status()
        last = self._seen().last
        self._claim("the status tells that it fell back", last is not None and last.result == "fell back")
        self._claim("version 1.0 runs", (self._seen().running, self._seen().version) == ("b", "1.0"))
        self.talk.say("Whoever asks for the update to be confirmed is told so, with exit code 8.")
        self.talk.command(f"hupfast confirm --root {self.board}")
        try:
            confirm(root=self.board)
        except RolledBack as error:
            self.talk.told(str(error))
            self._claim("confirm ends in exit code 8", error.exit_code == 8)
        else:
            raise HupfastError("the demo failed: confirm did not tell that the update fell back")
        clean = filesystem.is_clean(self._slot("a")) and filesystem.is_clean(self._slot("b"))
        self._claim("e2fsck finds both slots clean", clean)

    # ---- small things ----

    def _boot(self) -> virtual.Booted:
        self.talk.command(f"python -m hupfast.virtual boot {self.board}")
        booted = virtual.boot(self.board)
        for attempt in booted.attempts:
            self.talk.told(attempt)
        return booted

    def _is_refused(self, bundle: Path) -> bool:
        try:
            update(bundle, root=self.board, dry_run=True)
        except Refused as error:
            self.talk.told(str(error))
            return True
        return False

    def _status(self) -> None:
        self.talk.command(f"hupfast status --root {self.board}")
        seen = self._seen()
        self.talk.told(f"slot {seen.running} runs {NAME} {seen.version}; {seen.sentence}")

    def _seen(self) -> Status:
        return status(root=self.board)

    def _slot(self, name: str) -> Path:
        return under(self.board, f"/slots/{name}.img")

    def _path(self, version: str, ending: str) -> Path:
        return self.folder / f"{NAME}-{version}.{ending}"

    def _claim(self, what: str, holds: bool) -> None:
        if not holds:
            raise HupfastError(f"the demo failed: it does not hold that {what}")
        self.checks.append(what)
        self.talk.told(f"checked: {what}")

    @staticmethod
    def _pack(source: Path, out: Path) -> None:
        from hupfast.image import pack

        pack(source, out, level=_LEVEL)


@contextmanager
def demo_folder(wanted: Path | None, *, keep: bool) -> Iterator[Path]:
    """
    An empty folder for the demo; everything in it is removed afterwards, unless it is to be kept.

    Raises: UsageError when the folder exists and is not empty.
    """
    import tempfile

    if wanted is None:
        place = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
        folder, made = Path(tempfile.mkdtemp(prefix="hupfast-demo-", dir=place)), True
    else:
        folder, made = wanted.absolute(), not wanted.exists()
        if not made and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{wanted} exists and is not an empty folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the folder {wanted} cannot be made: {error.strerror}") from None
    try:
        yield folder
    finally:
        if not keep:
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            if made:
                folder.rmdir()


def _first_bytes(path: Path, size: int) -> Iterator[bytes]:
    """The first bytes of a file."""
    for chunk in read_chunks(path):
        yield chunk[:size]
        size -= len(chunk[:size])
        if size == 0:
            return


def _os_release(version: str) -> bytes:
    return f'NAME="{NAME}"\nID={NAME}\nVERSION_ID="{version}"\n'.encode()
