"""
The targets of hupfast, as ratios within one run on one machine.

    fast device   wall of an ordinary .zst                   at most 1.15 x `zstd -dc > /dev/null`
    fast device   wall of a chunked image                    at most 0.85 x the same (0.75 wanted)
    card          wall                                       at most 1.03 x bytes to be written / its own rate
    both          CPU                                        at most 1.15 x `zstd -dc > /dev/null`
    both          peak of the process / page cache grown     at most 32 MiB / 4 MiB
    fast device   wall in a memory group of 40 MiB           at most 1.05 x without
    both          what read-back adds                        at most 1.1 x reading the slot once
    stream        wall of `hupfast write http://...`         at most 1.10 x the same from a file, read back as usual
    board         peak of `hupfast update https://...`       at most 40 MiB
    board         page cache grown                           at most 4 MiB
    fetched       an update that was killed in the middle    at most 1.02 x the bundle, all that left the server
    fetched       what --dry-run tells                       to the byte what the image then takes
    fetched       what the server sends                      at most 64 KiB more: one read of a bundle's head

https has no target in time: the server encrypts every byte on the processors that hupfast runs on. Nor has a write
without read-back, of which the start of the program is a large part here, nor an update over http: it also reads the
running slot, to copy from it what need not be fetched.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.contenders import BASELINE, MIB, PROBE_READ, PROBE_WRITE
from benchmarks.fetched import Fetch
from benchmarks.stats import Summary, needed, rate
from benchmarks.streams import BOARD, STREAM

ZST, CHUNKED = "hupfast-zst", "hupfast-chunked3"
"""The two runs of hupfast that the targets speak of: the same compression level, without read-back."""

Table = dict[tuple[str, str], Summary]


@dataclass(frozen=True)
class Goal:
    """
    One target for one contender.

    measured(contender): the value, and the two numbers that it comes from as text; raises Unmeasured.
    unit: of value and bounds: "x" for a ratio, "MiB", or "B". wanted: a stricter bound that is not required.
    second: the other run of hupfast that is needed, if there is one.
    """

    target: str
    contender: str
    bound: float
    measured: Callable[[str], tuple[float, str]]
    unit: str = "x"
    wanted: float | None = None
    second: str = ""


@dataclass(frozen=True)
class Verdict:
    """
    A goal and what was measured.

    value: None when it could not be measured; then `reason` says why, and `failed` whether it was because a
    run of hupfast went wrong, which counts as a missed target.
    """

    goal: Goal
    value: float | None
    detail: str = ""
    reason: str = ""
    failed: bool = False

    @property
    def state(self) -> str:
        """One of "met", "missed", "not measured"."""
        if self.failed:
            return "missed"
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.goal.bound else "missed"


class Unmeasured(Exception):
    """A number that a target needs is not there. failed: because a run of hupfast went wrong."""

    def __init__(self, reason: str, *, failed: bool = False) -> None:
        super().__init__(reason)
        self.failed = failed


class Judge:
    """
    Holds the summaries against the targets.

    absent: contender -> why it did not run. devices: device -> why there was none.
    excluded: contenders that the user left out; so are their targets.
    zeroes: how the card treats zeroes, "data" or "free". size: bytes of the image.
    fetches: what updates took from the server; no_fetches: why there are none.
    """

    def __init__(
        self,
        table: Table,
        *,
        size: int,
        zeroes: str = "data",
        absent: Mapping[str, str] | None = None,
        devices: Mapping[str, str] | None = None,
        excluded: Collection[str] = (),
        fetches: Sequence[Fetch] = (),
        no_fetches: str = "",
    ) -> None:
        self.table = table
        self.size = size
        self.zeroes = zeroes
        self.absent = absent or {}
        self.devices = devices or {}
        self.excluded = excluded
        self.fetches = {each.name: each for each in fetches}
        self.no_fetches = no_fetches

    def summary(self, device: str, name: str) -> Summary:
        """The summary of a contender that ran well, else Unmeasured."""
        found = self.table.get((device, name))
        if found is None and device in self.devices:
            raise Unmeasured(self.devices[device])
        if found is None:
            raise Unmeasured(self.absent.get(name, f"{name} did not run"))
        if found.failure:
            raise Unmeasured(f"{name}: {found.failure}", failed=name.startswith("hupfast-"))
        return found

    def _wall(self, device: str, name: str) -> tuple[float, str]:
        ours, base = self.summary(device, name), self.summary(device, BASELINE)
        return ours.wall.median / base.wall.median, f"{ours.wall.median:.2f} s / {base.wall.median:.2f} s"

    def _cpu(self, device: str, name: str) -> tuple[float, str]:
        ours, base = self.summary(device, name), self.summary(device, BASELINE)
        return ours.cpu.median / base.cpu.median, f"{ours.cpu.median:.2f} s / {base.cpu.median:.2f} s"

    def _card(self, name: str) -> tuple[float, str]:
        ours, speed = self.summary("card", name), rate(self.summary("card", PROBE_WRITE), self.size)
        if speed is None:
            raise Unmeasured("the probe of the card's own rate said nothing")
        size = needed(ours, self.size, self.zeroes)
        ideal = f"({size / 1e6:.0f} MB at {speed / 1e6:.1f} MB/s)"
        return ours.wall.median / (size / speed), f"{ours.wall.median:.2f} s / {ideal}"

    def _limited(self, name: str) -> tuple[float, str]:
        ours, free = self.summary("fast", f"{name}@40"), self.summary("fast", name)
        return ours.wall.median / free.wall.median, f"{ours.wall.median:.2f} s / {free.wall.median:.2f} s"

    def _read_back(self, device: str, name: str) -> tuple[float, str]:
        verified, plain = self.summary(device, f"{name}-verify"), self.summary(device, name)
        probe = self.summary(device, PROBE_READ)
        if probe.own is None:
            raise Unmeasured("the probe of reading said nothing")
        read = probe.own.median
        added = verified.wall.median - plain.wall.median
        return added / read, f"{added:.2f} s / {read:.2f} s"

    def _from_file(self, device: str, name: str) -> tuple[float, str]:
        ours, file = self.summary(device, name), self.summary(device, name.replace("http", "file"))
        return ours.wall.median / file.wall.median, f"{ours.wall.median:.2f} s / {file.wall.median:.2f} s"

    def _fetch(self, name: str) -> Fetch:
        """What an update fetched that ran well, else Unmeasured."""
        found = self.fetches.get(name)
        if found is None:
            raise Unmeasured(self.no_fetches or f"{name} did not run")
        if found.failure:
            raise Unmeasured(f"{name}: {found.failure}", failed=True)
        return found

    def _share(self, name: str) -> tuple[float, str]:
        found = self._fetch(name)
        return found.ratio, f"{found.left} B / {found.bundle} B, {found.unread} B of it not read"

    def _told(self, name: str) -> tuple[float, str]:
        found = self._fetch(name)
        if found.told is None or found.taken is None:
            raise Unmeasured("nobody asked --dry-run")
        return abs(found.taken - found.told), f"{found.taken} B - {found.told} B"

    def _more(self, name: str) -> tuple[float, str]:
        found = self._fetch(name)
        if found.told is None:
            raise Unmeasured("nobody asked --dry-run")
        return found.body - found.told, f"{found.body} B - {found.told} B"

    def _peak(self, device: str, name: str) -> tuple[float, str]:
        return self.summary(device, name).resident / MIB, "resident, whole process"

    def _cache(self, device: str, name: str) -> tuple[float, str]:
        summary = self.summary(device, name)
        if summary.cache is None:
            raise Unmeasured("no run with a cold source")
        grown = "charged to its memory group" if summary.anonymous is not None else "grown on the whole machine"
        return summary.cache / MIB, f"source cold, {grown}"

    def verdicts(
        self, *, fast: bool = True, card: bool = True, streams: bool = True, fetched: bool = True
    ) -> list[Verdict]:
        """Every target whose contenders were not left out."""
        goals = [*(self._on_fast_device() if fast else ()), *(self._on_card() if card else ())]
        goals += [*(self._over_http() if streams else ()), *(self._fetched() if fetched else ())]
        return [self._judge(goal) for goal in goals if not self._left_out(goal)]

    def _left_out(self, goal: Goal) -> bool:
        return goal.contender in self.excluded or goal.second in self.excluded

    def _on_fast_device(self) -> Iterator[Goal]:
        wall, cpu = partial(self._wall, "fast"), partial(self._cpu, "fast")
        read_back = partial(self._read_back, "fast")
        peak, cache = partial(self._peak, "fast"), partial(self._cache, "fast")
        yield Goal("fast device, ordinary .zst: wall / zstd", ZST, 1.15, wall)
        yield Goal("fast device, chunked: wall / zstd", CHUNKED, 0.85, wall, wanted=0.75)
        for name in (ZST, CHUNKED):
            short = name.removeprefix("hupfast-")
            yield Goal(f"fast device, {short}: CPU / zstd", name, 1.15, cpu)
            yield Goal(
                f"fast device, {short}: wall in 40 MiB / without",
                name,
                1.05,
                self._limited,
                second=f"{name}@40",
            )
            yield Goal(
                f"fast device, {short}: read-back adds / one read",
                name,
                1.1,
                read_back,
                second=f"{name}-verify",
            )
        for name in (ZST, CHUNKED, f"{ZST}-verify", f"{CHUNKED}-verify"):
            short = name.removeprefix("hupfast-")
            yield Goal(f"{short}: peak memory", name, 32, peak, "MiB")
            yield Goal(f"{short}: page cache grown", name, 4, cache, "MiB")

    def _on_card(self) -> Iterator[Goal]:
        cpu, read_back = partial(self._cpu, "card"), partial(self._read_back, "card")
        for name in (ZST, CHUNKED):
            short = name.removeprefix("hupfast-")
            yield Goal(f"card, {short}: wall / ideal", name, 1.03, self._card)
            yield Goal(f"card, {short}: CPU / zstd", name, 1.15, cpu)
            yield Goal(f"card, {short}: read-back adds / one read", name, 1.1, read_back, second=f"{name}-verify")

    def _over_http(self) -> Iterator[Goal]:
        write = partial(self._from_file, STREAM)
        name, second = "hupfast-http-verify", "hupfast-file-verify"
        yield Goal("write over http: wall / from a file", name, 1.1, write, second=second)
        yield Goal("update over https: peak memory", "hupfast-update-https", 40, partial(self._peak, BOARD), "MiB")
        for how in ("file", "http", "https"):
            name = f"hupfast-update-{how}"
            yield Goal(f"update over {how}: page cache grown", name, 4, partial(self._cache, BOARD), "MiB")

    def _fetched(self) -> Iterator[Goal]:
        yield Goal("cut off at full speed: fetched / bundle", "cut", 1.02, self._share)
        yield Goal("cut off at a limited rate: fetched / bundle", "cut-limited", 1.02, self._share)
        for name in ("changed-same-one", "changed-same-both", "changed-longer-one", "changed-longer-both"):
            yield Goal(f"{name}: image against --dry-run", name, 0, self._told, "B")
            yield Goal(f"{name}: server against --dry-run", name, 1 << 16, self._more, "B")

    def _judge(self, goal: Goal) -> Verdict:
        try:
            value, detail = goal.measured(goal.contender)
        except Unmeasured as error:
            return Verdict(goal, None, reason=str(error), failed=error.failed)
        return Verdict(goal, value, detail)
