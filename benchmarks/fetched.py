"""
Bytes that updates over http take, counted by the server: what a cut costs, and what a small change costs.

    cut       an update that is killed in the middle, and then run to its end: both runs together
    changed   an update to an image with one file of twenty changed (changed.py), when the old image is in the
              running slot, or in both slots, as after two updates; before it, `--dry-run` tells what will be fetched

The old image gets into its slot by an update, with the label and the UUID that this gives it.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.board import Board
from benchmarks.changed import USUAL, versions
from benchmarks.direct import digest
from benchmarks.images import kept
from benchmarks.machine import run
from benchmarks.rounds import warm
from benchmarks.streams import address, bundle, update_command
from benchmarks.web import Server, Waiting
from hupfast.errors import EXIT_REBOOT

CUTS = (0.5,)
"""After which share of the time for the whole bundle each run is killed. More cuts cost more: see `unread`."""


PATIENCE = 20.0
"""Seconds that an update takes whose rate is limited; at most TIMES as many as one that is not."""

TIMES = 12


@dataclass(frozen=True)
class Fetch:
    """
    What one update took from the server. Bytes.

    bundle: all of it. body, sent: what the server sent, of the file, and with the heads of its answers, in so many
    requests. unsent, unread: of that, what was still in the server's and in the client's socket when the client was
    killed, all `cuts` together.
    told: what --dry-run told; taken: what hupfast then told that it took (both None where nobody asked).
    failure: why it does not count, or empty.
    """

    name: str
    title: str
    bundle: int
    body: int
    sent: int
    requests: int
    unsent: int = 0
    unread: int = 0
    cuts: int = 0
    told: int | None = None
    taken: int | None = None
    failure: str = ""

    @property
    def left(self) -> int:
        """What has left the server. What its socket still held went to nobody, and over no line."""
        return self.sent - self.unsent

    @property
    def ratio(self) -> float:
        return self.left / self.bundle


@dataclass(frozen=True)
class Changed:
    """Two bundles, the old one and the new one, and the SHA-256 of the new image."""

    old: Path
    new: Path
    sha256: str


def changed(folder: Path, size: int, hupfast: Path, *, longer: bool) -> Changed:
    """The bundles of two versions that were made the usual way, in a folder where they are kept."""
    facts, made = folder / "facts.json", folder / "made"
    old, new = folder / "old.hup", folder / "new.hup"

    def make() -> dict[str, object]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        before, after = versions(made, size, USUAL, longer=longer)
        bundle(before, old, "1.0", hupfast, "--level", "3")
        bundle(after, new, "2.0", hupfast, "--level", "3")
        whole = digest(after, ((0, size),), direct=False)
        shutil.rmtree(made)
        return {"sha256": whole}

    return Changed(old, new, str(kept(facts, make)["sha256"]))


class Fetches:
    """Makes the runs on one board, and keeps what came out in `results`."""

    def __init__(self, board: Board, program: Path, server: Server, say: Callable[[str], None]) -> None:
        self.board = board
        self.program = program
        self.server = server
        self.say = say
        self.results: list[Fetch] = []

    def whole(self, made: Path, right: str) -> float:
        """An update that nobody disturbs. right: SHA-256 of the image. Returns its seconds."""
        command = self._begin(made)
        begin, before = time.monotonic(), self._answers()
        failure = self._update(command)
        seconds = time.monotonic() - begin
        failure = failure or self._wrong("b", right)
        self._note("whole", "whole bundle, not cut off", made, before, failure=failure)
        return seconds

    def cut(self, name: str, made: Path, right: str, seconds: float, *, limit: bool) -> None:
        """
        Kill an update at CUTS of `seconds`, and end it. right: SHA-256 of the image.

        limit: the client takes the bundle in `seconds`, by --limit-rate; else as fast as it can.
        """
        rate = int(made.stat().st_size / seconds)
        command = self._begin(made, *(["--limit-rate", str(rate)] if limit else []))
        before = self._answers()
        left = [size for share in CUTS if (size := self._killed(command, share * seconds)) is not None]
        failure = self._update(command)
        if not left:
            failure = failure or "no run took so long that it could be cut off"
        failure = failure or self._wrong("b", right)
        speed = f"{rate / 1e6:.1f} MB/s" if limit else "full speed"
        title = f"cut off {len(left)} times, {speed}"
        self._note(name, title, made, before, failure=failure, waiting=left)

    def changed(self, name: str, title: str, two: Changed, *, both: bool) -> None:
        """From the old version to the new one. both: the other slot holds the old one, too."""
        self.board.refill()
        self.board.stamps(True)
        failure = self._update(update_command(self.program, self.board.path, str(two.old)))
        self.board.boot()
        run([self.program, "confirm", "--quiet", "--root", self.board.path])
        self.board.stamps(False)
        if both:
            self.board.copy_slot("b", "a")
        warm(two.new)
        command = update_command(self.program, self.board.path, *address(two.new, "http", self.server))
        code, said = self._run([*command, "--dry-run"])
        failure = failure or _why(code, 0, said)
        plan = {} if failure else said["plan"]
        before = self._answers()
        code, said = self._run(command)
        failure = failure or _why(code, EXIT_REBOOT, said) or self._wrong("a", two.sha256)
        told = taken = None
        if not failure:
            # The boot files that had to be fetched are no part of the image's report.
            told, taken = int(plan["bytes_to_fetch"]), int(said["report"]["bytes_in"]) + int(plan["spool"])
        self._note(name, title, two.new, before, failure=failure, told=told, taken=taken)

    # ---- small things ----

    def _begin(self, made: Path, *options: str) -> list[str]:
        """A board with old content, a bundle in the page cache, and the command that updates one to the other."""
        self.board.refill()
        warm(made)
        return update_command(self.program, self.board.path, *options, *address(made, "http", self.server))

    def _answers(self) -> int:
        return len(self.server.log())

    def _note(
        self,
        name: str,
        title: str,
        made: Path,
        before: int,
        *,
        failure: str,
        waiting: Sequence[Waiting] = (),
        told: int | None = None,
        taken: int | None = None,
    ) -> None:
        """Keep what the server has sent after its first `before` answers."""
        rows = self.server.log()[before:]
        body, sent = sum(row.body for row in rows), sum(row.sent for row in rows)
        size = made.stat().st_size
        unsent, unread = sum(each.unsent for each in waiting), sum(each.unread for each in waiting)
        found = Fetch(
            name, title, size, body, sent, len(rows), unsent, unread, len(waiting), told, taken, failure=failure
        )
        self.results.append(found)
        self.say(f"{title}: {failure or f'{body} of {size} bytes'}")

    def _run(self, command: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Exit status, and what was said as JSON."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        try:
            said = json.loads(done.stdout)
        except ValueError:
            said = {"error": done.stderr.strip()[-300:]}
        return done.returncode, said

    def _update(self, command: Sequence[str]) -> str:
        """Run an update to its end; why it has failed, or an empty string."""
        code, said = self._run(command)
        return _why(code, EXIT_REBOOT, said)

    def _killed(self, command: Sequence[str], seconds: float) -> Waiting | None:
        """Kill it after so long; the bytes that it had not read by then, or None when it was over before."""
        nothing = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            waiting = self.server.waiting()
            process.kill()
        return waiting if process.returncode < 0 else None

    def _wrong(self, slot: str, right: str) -> str:
        """What is wrong with the bytes of a slot, or an empty string."""
        found = self.board.digest(((0, self.board.size),), slot)
        return "" if found == right else "WRONG BYTES in the slot"


def _why(code: int, right: int, said: dict[str, Any]) -> str:
    return "" if code == right else f"exit {code}: {said.get('error', said)}"


def measure(fetches: Fetches, made: Path, right: str, folder: Path, size: int) -> None:
    """All rows. made: the bundle of the image whose SHA-256 is `right`. folder: where changed images are kept."""
    seconds = fetches.whole(made, right)
    fetches.cut("cut", made, right, seconds, limit=False)
    fetches.cut("cut-limited", made, right, min(TIMES * seconds, PATIENCE), limit=True)
    for longer, words in ((False, "same length"), (True, "a tenth longer")):
        two = changed(folder / f"changed-{'longer' if longer else 'same'}", size, fetches.program, longer=longer)
        for both, slots in ((False, "one slot"), (True, "both slots")):
            name = f"changed-{'longer' if longer else 'same'}-{'both' if both else 'one'}"
            fetches.changed(name, f"5% of the files changed, {words}; old image in {slots}", two, both=both)
