"""The rounds: everybody once, then everybody again, each from the same state, and every target checked."""

import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cgroup import Hierarchy
from benchmarks.contenders import PROBE_READ, Contender, Pattern
from benchmarks.device import Counters, Target
from benchmarks.images import Images
from benchmarks.measure import Usage, measure


@dataclass(frozen=True)
class Sample:
    """
    One run. report: what the program itself said as JSON, or empty. failure: why it does not count, or empty.
    cold: its source was not in the page cache, so that reading it is charged to the run.
    """

    contender: str
    device: str
    round: int
    cold: bool
    usage: Usage
    counters: Counters
    report: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


def warm(path: os.PathLike[str]) -> None:
    """Bring a file into the page cache."""
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def cool(path: os.PathLike[str]) -> None:
    """Take a file out of the page cache."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def report_of(stdout: str) -> dict[str, Any]:
    """The JSON document that a program printed, or an empty one. hupfast's report may be a member of it."""
    try:
        document = json.loads(stdout)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    inner = document.get("report")
    return inner if isinstance(inner, dict) else document


def failure_of(usage: Usage, good: int = 0) -> str:
    """Why a run has failed, or an empty string. good: the exit status of one that has not."""
    if usage.oom_kills:
        return "killed: out of memory"
    if any(status != good for status in usage.statuses):
        lines = usage.stderr.strip().splitlines() or ["no message"]
        codes = ", ".join(map(str, usage.statuses))
        return f"exit {codes}: {report_of(usage.stdout).get('error', lines[-1])}"
    return ""


def order(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """
    Who runs after whom in round `number`: another order each time, for whoever comes behind a heavy writer is slower.

    The read probe comes right after a run of hupfast, so that it reads what read-back found.
    """
    dice = random.Random(number)
    mixed = dice.sample(contenders, len(contenders))
    probes = [each for each in mixed if each.name == PROBE_READ]
    writers = [each for each in mixed if each.is_hupfast and each.checked]
    if probes and writers:
        mixed.remove(probes[0])
        mixed.insert(mixed.index(dice.choice(writers)) + 1, probes[0])
    return mixed


class Rounds:
    """
    Runs contenders on one device, and keeps what came out in `samples`.

    pattern: block and depth of the probes; taken from the last report of hupfast.
    say: gets one line for each run.
    """

    def __init__(self, images: Images, groups: Hierarchy | None, say: Callable[[str], None]) -> None:
        self.images = images
        self.groups = groups
        self.say = say
        self.pattern = Pattern()
        self.samples: list[Sample] = []

    def run(self, device: Target, contenders: list[Contender], rounds: int, *, cold: bool = False) -> None:
        """Everybody, `rounds` times. Who failed once is not asked again."""
        failed: set[str] = set()
        for number in range(rounds):
            for contender in order(contenders, number):
                if contender.name in failed:
                    continue
                sample = self._once(device, contender, number, cold)
                self.samples.append(sample)
                if sample.failure:
                    failed.add(contender.name)
                state = "cold" if cold else f"{number + 1}/{rounds}"
                outcome = sample.failure or f"{sample.usage.wall:.2f} s"
                self.say(f"{device.name} {state} {contender.title}: {outcome}")

    def _once(self, device: Target, contender: Contender, number: int, cold: bool) -> Sample:
        """One run, from the device's old content to the check of what it holds now."""
        if contender.refilled:
            device.refill()
        if contender.source:
            (cool if cold else warm)(contender.source)
        before = device.counters()
        usage = measure(
            contender.stages(device, self.pattern),
            groups=self.groups,
            limit=contender.limit,
            interval=0.01 if cold else 0.05,
            discard_output=contender.discard_output,
        )
        counters = device.counters().since(before)
        failure = failure_of(usage, contender.ends) or self._wrong(device, contender)
        report = report_of(usage.stdout)
        if contender.is_hupfast and report.get("block") and report.get("depth"):
            self.pattern = Pattern(int(report["block"]), int(report["depth"]))
        return Sample(contender.name, device.name, number, cold, usage, counters, report, failure)

    def _wrong(self, device: Target, contender: Contender) -> str:
        """What is wrong with the bytes that the device holds, or an empty string."""
        if contender.checked == "whole":
            right = device.digest(self.images.ranges) == self.images.whole_sha256
        elif contender.checked == "mapped":
            right = device.digest(self.images.mapped) == self.images.mapped_sha256
        else:
            return ""
        return "" if right else "WRONG BYTES on the target"


def to_stderr(line: str) -> None:
    """The usual `say`."""
    print(line, file=sys.stderr, flush=True)
