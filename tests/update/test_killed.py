"""
kill -9 at random moments of a streamed update, again and again: the same command goes on each time, and the slot ends
bit by bit as the image. Real processes, a real server.

HUPFAST_SEED=n repeats what has failed, as far as time lets it; HUPFAST_KILLS=n makes it longer.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hupfast import virtual
from hupfast.bundling import create_bundle
from hupfast.confirm import confirm
from hupfast.filesystem import is_clean, make, missing_tools, put
from hupfast.image import pack
from hupfast.status import status
from hupfast.transaction import update
from servers import Nginx, nginx

Board = Any
MIB = 2**20
CHUNK = 1 << 18
IMAGE_SIZE = 24 * MIB
SLOT_SIZE = 25 * MIB
KILLS = int(os.environ.get("HUPFAST_KILLS", "100"))
RATE = 12 * MIB
"""Bytes a second of each connection: a whole run takes two seconds."""

_DRIVER = """
import sys
import hupfast.fetch
hupfast.fetch.MARK_SECONDS = 0.05  # a run here is shorter than the time between two marks of a real one
from hupfast.cli import main
main.main(sys.argv[1:])
"""

STAGES = {
    "checking the boot files": (0.2, 0.2),
    "writing the image": (0.74, 0.3),
    "installing the boot files": (0.03, 0.05),
    "telling the bootloader to try it": (0.03, 0.02),
}
"""For the line that tells a stage: how likely a kill waits for it, and how many seconds it may come behind it."""


@dataclass
class Made:
    """What all updates of this module share. boards: by what slot a has of the image."""

    bundle: Path
    image: bytes
    boot: dict[str, bytes]
    boards: dict[str, Path] = field(default_factory=dict)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle of 24 MiB, most of which cannot be compressed, and two boards with 1.0."""
    if missing_tools():
        pytest.skip(f"{', '.join(missing_tools())} of e2fsprogs not installed")
    folder = tmp_path_factory.mktemp("killed")
    chance = random.Random(5)
    payload = {f"payload{n}": chance.randbytes(3 * MIB) for n in range(6)}
    image = filesystem(folder, "2.0", payload)
    boot = {"kernel": chance.randbytes(2 * MIB), "dtb/board.dtb": chance.randbytes(70_000), "initrd": b"i" * MIB}
    for name, content in boot.items():
        put(folder / "boot", name, content)
    bundle = folder / "served/os.hup"
    bundle.parent.mkdir()
    create_bundle(
        bundle,
        name="os",
        version="2.0",
        boards=["virtual"],
        image=image,
        boot=folder / "boot",
        pack=lambda source, out: pack(source, out, level=1, chunk_size=CHUNK),
    )
    found = Made(bundle, image.read_bytes(), boot)
    shared = {**payload, "payload2": chance.randbytes(3 * MIB)}
    for name, files in (("nothing", {}), ("most", shared)):
        old = filesystem(folder, f"1.0-{name}", files)
        found.boards[name] = folder / f"board-{name}"
        virtual.create(
            found.boards[name],
            image=old,
            boot_files={"kernel": b"old"},
            name="os",
            version="1.0",
            slot_size=SLOT_SIZE,
        )
        plain_profile(found.boards[name])
    return found


def filesystem(folder: Path, version: str, files: dict[str, bytes]) -> Path:
    """An ext4 image."""
    tree = folder / f"tree-{version}"
    put(tree, "etc/os-release", f'ID=os\nVERSION_ID="{version[:3]}"\n'.encode())
    for name, content in files.items():
        put(tree, name, content)
    image = folder / f"{version}.img"
    make(tree, image, IMAGE_SIZE)
    return image


def plain_profile(root: Path) -> None:
    """A board that leaves the image as it is, so that the slot can be compared with it."""
    from hupfast.board import SHIPPED

    text = (SHIPPED / "virtual.toml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith(("uuid =", "keep =", "label ="))]
    put(root, "etc/hupfast/boards/virtual.toml", "\n".join(kept).replace('kind = "ext4"', 'kind = "none"').encode())


class Victim:
    """A board whose updates are killed. kills: so far, by the stage that they came behind."""

    def __init__(self, made: Made, folder: Path, server: Nginx, seed: int) -> None:
        self.made, self.server = made, server
        self.chance = random.Random(seed)
        folder.mkdir()
        self.root = folder / "board"
        self.kills: list[str] = []
        self.ended = self.needed = 0
        self.renew()

    def renew(self) -> None:
        """A fresh board, whose slots have more or less of the image."""
        subprocess.run(["rm", "-rf", self.root], check=True)
        self.older = self.chance.choice(["nothing", "nothing", "most"])
        subprocess.run(["cp", "-a", "--sparse=always", self.made.boards[self.older], self.root], check=True)
        self.slot = self.root / "slots/b.img"
        filler = self.chance.choice([b"\0", b"?"])
        before = bytearray(filler * SLOT_SIZE)
        if self.chance.random() < 0.3:  # an earlier version of the image
            before[: len(self.made.image)] = self.made.image
            before[5 * MIB : 17 * MIB] = filler * (12 * MIB)
        self.slot.write_bytes(before)
        self.behind = bytes(before[len(self.made.image) :])
        plan = update(self.server.url("os.hup"), root=self.root, allow_unsigned=True, dry_run=True).plan
        assert plan is not None
        self.needed += plan.bytes_to_fetch

    def run(self) -> bool:
        """One run of the command, killed at a random moment. False: it was faster, and has ended."""
        stage = self.chance.choices(list(STAGES), [weight for weight, _ in STAGES.values()])[0]
        delay = self.chance.uniform(0, STAGES[stage][1])
        arguments = ["update", self.server.url("os.hup"), "--root", str(self.root), "--allow-unsigned"]
        with subprocess.Popen(
            [sys.executable, "-c", _DRIVER, *arguments], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if line.startswith(stage):
                    time.sleep(delay)
                    break
            process.send_signal(signal.SIGKILL)
        if process.returncode == -signal.SIGKILL:
            self.kills.append(stage)
            return True
        assert process.returncode == 10, "".join(said)
        return False

    def check_boots(self) -> str:
        """What boots is one version as a whole: root and boot files. Returns it."""
        booted = virtual.boot(self.root)
        assert (booted.slot, booted.version) in (("a", "1.0"), ("b", "2.0"))
        if booted.slot == "b":
            self.check_whole()
        return booted.version

    def check_whole(self) -> None:
        """The slot is the image, bit by bit, and clean; what is behind it is as it was; the boot files are right."""
        now = self.slot.read_bytes()
        assert now[: len(self.made.image)] == self.made.image
        assert now[len(self.made.image) :] == self.behind
        assert is_clean(self.slot)
        for name, content in self.made.boot.items():
            assert (self.root / "boot/b" / name).read_bytes() == content

    def finish(self) -> None:
        """The update has ended: what boots is new, and stays."""
        self.ended += 1
        self.check_whole()
        assert self.check_boots() == "2.0"
        confirm(root=self.root)
        found = status(root=self.root)
        assert (found.situation, found.version) == ("idle", "2.0")
        assert found.last is not None
        assert found.last.result == "confirmed"
        for name in ("spool", "scratch", "undo"):
            place = self.root / "state" / name
            assert not place.exists() or not list(place.iterdir())


@pytest.fixture
def seed() -> int:
    """Told when a test fails."""
    found = int(os.environ.get("HUPFAST_SEED") or int.from_bytes(os.urandom(3), "big"))
    print(f"HUPFAST_SEED={found}")
    return found


@pytest.fixture
def server(made: Made) -> Iterator[Nginx]:
    with nginx(made.bundle.parent, extra=f"limit_rate {RATE};") as running:
        yield running


def kill(victim: Victim, kills: int) -> Victim:
    """So many, in as many updates as that takes; the last one comes to its end."""
    while len(victim.kills) < kills:
        if not victim.run() or (victim.chance.random() < 0.2 and victim.check_boots() == "2.0"):
            victim.finish()
            victim.renew()
    while victim.run():
        pass
    victim.finish()
    return victim


def test_killed_at_random_moments(made: Made, server: Nginx, tmp_path: Path, seed: int) -> None:
    """A hundred of them; each update that comes to its end between them is whole, and costs few bytes more."""
    with ThreadPoolExecutor() as pool:  # most of the time is waiting
        started = [
            pool.submit(kill, Victim(made, tmp_path / f"{n}", server, seed + n), -(-KILLS // 2)) for n in range(2)
        ]
        victims = [future.result() for future in started]
    kills = [stage for victim in victims for stage in victim.kills]
    needed, ended = (sum(getattr(victim, name) for victim in victims) for name in ("needed", "ended"))
    runs = len(kills) + ended
    sent = sum(size for _, _, size in server.log(runs))
    print({name: kills.count(name) for name in STAGES}, f"{ended} ended")
    print(f"{sent} bytes sent, {needed} needed, {(sent - needed) // runs} more for each of {runs} runs")
    assert len(kills) >= KILLS
    assert sent < needed + runs * MIB
