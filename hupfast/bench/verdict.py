"""
What follows from a measurement: what limits this board, the settings to use, and how long an image will take.

The model of a run. Decoders and target work at the same time, and the slower of the two decides; zeroes are asked for
when all else is written, and the read-back comes last:

    write = max(seconds of the medium for the data, work of the processors) + zeroes / rate of zeroing
    work  = data / decompression + packed bytes / SHA-256 + data / XXH3          (all on all processors)
    verify = max(image / rate of reading, image / XXH3)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hupfast.bench.calm import calm_rate, excused_rates, extra_seconds
from hupfast.bench.document import Document, Pipeline, Rates, Run, Stage, Sustained, Verdict
from hupfast.bench.sustained import seconds_at
from hupfast.errors import UsageError

GOOD_ENOUGH = 0.97
"""Settings that reach so much of the best rate are as good, and those of them that take the least memory are better."""

LEVEL = 9
"""Of zstd, that images are taken to be packed with, where nothing else is said: that of `hupfast pack`."""

_SAME = 0.05
_SPREADS = 2
"""Rates of short runs and of the long write that differ by less, or by less than so many spreads, are the same."""

_LEAST_GAIN = 0.5
"""No settings take less of the time of a long write."""

_NAMES = {
    "mmc": "the eMMC",
    "sd": "the card",
    "nvme": "the NVMe drive",
    "scsi": "the disk",
    "virtio": "the virtual disk",
    "loop": "the loop device",
}


@dataclass(frozen=True)
class Prediction:
    """Seconds that an image will take to be written (its flush included), and to be read back."""

    write_seconds: float
    verify_seconds: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.write_seconds + self.verify_seconds


def best_settings(runs: Iterable[Run]) -> Run:
    """
    The run with the settings to write with: of those that are as good as the best, the one of the least memory.

    Good without stalls (calm.py), for which rounds of a second are too short.
    Of two that take the same, the one with fewer writes in flight. Raises: UsageError when nothing was written.
    """
    plain = _plain(runs, "write")
    if not plain:
        raise UsageError("there is no measurement of plain writes")
    rates = excused_rates(plain)
    good = [run for run, rate in zip(plain, rates, strict=True) if rate >= GOOD_ENOUGH * max(rates)]
    return min(good, key=lambda run: (run.block * run.depth, run.depth))


def make_verdict(
    runs: tuple[Run, ...],
    stages: tuple[Stage, ...],
    pipeline: Pipeline | None,
    kind: str,
    model: str | None,
    long: Sustained | None = None,
) -> Verdict:
    """Judge. kind, model: of the medium. long: the long write, whose rate is the medium's; else that of short runs."""
    chosen = best_settings(runs)
    lasting, aside = _lasting_rate(runs, chosen, long)
    rates = Rates(
        write=chosen.rate.median,
        read=_best(_plain(runs, "read")),
        zero=_best(_plain(runs, "zero")),
        decompress=_stage(stages, "decompress", LEVEL),
        sha256=_stage(stages, "sha256"),
        xxh3=_stage(stages, "xxh3"),
        pipeline=None if pipeline is None else pipeline.image_size / pipeline.seconds.median,
    )
    name = _NAMES.get(kind, "the medium") + (f" ({model})" if model else "")
    work = _work(rates, 1.0, 1.0 / usual_ratio(stages))
    medium = f"{name}: {mb(lasting)}{aside}"
    if work is None or rates.decompress is None:
        limit, sentence = "medium", f"{medium}; the processor was not measured"
    else:
        threads = max(stage.threads for stage in stages)
        on = "one processor" if threads == 1 else f"{threads} processors"
        if 1 / work >= lasting:
            limit, sentence = "medium", f"{medium}; decompression could do {mb(rates.decompress)} on {on}"
        else:
            limit = "processor"
            sentence = f"the processor: {mb(1 / work)}, decompressing and checking on {on}; {name} could do"
            sentence += f" {mb(lasting)}{aside}"
    return Verdict(limit, sentence, chosen.block, chosen.depth, chosen.block * chosen.depth, rates)


def predict(
    document: Document, image_size: int, packed_size: int, zero_share: float = 0.0, level: int = LEVEL
) -> Prediction:
    """
    How long an image will take on this board, with the settings of the verdict.

    image_size, packed_size: bytes, equal for a raw image. zero_share: of the raw bytes, what is zero, 0 to 1. level: of
    zstd. Raises: UsageError when a number makes no sense.
    """
    if image_size < 0 or packed_size < 0 or not 0 <= zero_share <= 1:
        raise UsageError("an image has no negative size, and no more zeroes than bytes")
    verdict = document.verdict
    rates = verdict.rates
    zeroes = image_size * zero_share
    data = image_size - zeroes
    medium = _medium_seconds(document, data)
    decompress = _stage(document.stages, "decompress", level)
    work = data / decompress if decompress and packed_size < image_size else 0.0
    work += packed_size / rates.sha256 if rates.sha256 else 0.0
    work += data / rates.xxh3 if rates.xxh3 else 0.0
    zeroing = _zeroing_seconds(document, data, zeroes)
    read = _read_rate(document)
    verify = image_size / read if read else 0.0
    if rates.xxh3:
        verify = max(verify, image_size / rates.xxh3)
    return Prediction(max(medium, work) + zeroing, verify)


def _lasting_rate(runs: tuple[Run, ...], chosen: Run, long: Sustained | None) -> tuple[float, str]:
    """What the medium takes in the end, and words on what it takes at first, where that is clearly another rate."""
    short = chosen.rate.median
    if long is None or not long.sustained_rate or not long.burst_rate:
        return short, ""
    burst, lasting = chosen_rates(runs, chosen.block, chosen.depth, long)
    if long.knee_bytes is not None:
        return lasting, f" in the long run ({mb(burst)} for the first {long.knee_bytes / 1e6:.0f} MB)"
    if abs(short - lasting) <= max(_SAME, _SPREADS * chosen.rate.relative) * lasting:
        return lasting, ""
    return lasting, f" in the long run ({mb(short)} in short ones)"


def usual_ratio(stages: Iterable[Stage], level: int = LEVEL) -> float:
    """Raw bytes to packed ones of what was decompressed, at the measured level that is nearest; 2 when none was."""
    found = [(abs((stage.level or 0) - level), stage.ratio) for stage in stages if stage.ratio]
    return min(found)[1] if found else 2.0


def mb(rate: float) -> str:
    """A rate as people say it: 38.2 MB/s, 210 MB/s, 1.35 GB/s (powers of 1000)."""
    if rate >= 999.5e6:
        return f"{rate / 1e9:.2f} GB/s"
    return f"{rate / 1e6:.0f} MB/s" if rate >= 99.95e6 else f"{rate / 1e6:.1f} MB/s"


def _medium_seconds(document: Document, data: float) -> float:
    """
    Seconds that the medium needs to take so many bytes.

    Of a device, an image has the places that the long write has gone over, and takes what these took; so it does not
    matter whether an erase block is slow, or a cache fast. What is behind them takes the average.
    """
    verdict, long = document.verdict, document.sustained
    if long is None or not long.sustained_rate or not long.burst_rate:
        return data / (verdict.rates.write or 1.0)
    burst, slow = chosen_rates(document.runs, verdict.block, verdict.depth, long)
    known = min(data, document.settings.size, long.points[-1][1]) if document.storage.filesystem is None else 0.0
    least, more = _LEAST_GAIN * seconds_at(long.points, known), _more(document.runs, verdict.block, verdict.depth, long)
    seconds = max(seconds_at(long.points, known) + more * known, least)
    fast = data if long.knee_bytes is None else min(data, max(long.knee_bytes, known))
    return seconds + (fast - known) / burst + (data - fast) / slow


def _zeroing_seconds(document: Document, data: float, zeroes: float) -> float:
    """
    Seconds of zeroing behind so many bytes of data.

    With a long write, zeroes take what more data would take, as far as the medium is as fast with them when nothing
    stalls: of the few pieces that a short run zeroes, a stall may be in every round.
    """
    rates = document.verdict.rates
    runs = _plain(document.runs, "zero")
    if document.sustained is None or not runs or not rates.zero or not rates.write:
        return zeroes / (rates.zero or rates.write or 1.0)
    speed = max(rates.zero, max(map(_without_stalls, runs)))
    plain = _plain(document.runs, "write")
    calm = (calm_rate(best_settings(plain)) if plain else None) or rates.write
    as_data = zeroes * calm / speed
    return _medium_seconds(document, data + as_data) - _medium_seconds(document, data)


def _without_stalls(run: Run) -> float:
    """The rate of a run, one operation at a time, if each took as long as the one in the middle."""
    if run.depth != 1 or not run.block:
        return 0.0
    seconds = sum(one.bytes / run.block * run.latency_us.p50 / 1e6 + one.flush_seconds for one in run.rounds)
    return sum(one.bytes for one in run.rounds) / seconds if seconds else 0.0


def chosen_rates(runs: Iterable[Run], block: int, depth: int, long: Sustained) -> tuple[float, float]:
    """
    Burst and sustained rate of a long write, had it been made in other blocks and depths.

    What these cost or save for each byte without stalls is added; stalls and a full cache take the same with all.
    """
    more = _more(runs, block, depth, long)
    burst, slow = (1 / max(1 / rate + more, _LEAST_GAIN / rate) for rate in (long.burst_rate, long.sustained_rate))
    return burst, slow


def _more(runs: Iterable[Run], block: int, depth: int, long: Sustained) -> float:
    """Seconds for each byte that some settings take more than those of the long write; less than 0: that they save."""
    return extra_seconds(_plain(runs, "write"), (block, depth), (long.block, long.depth))


def _read_rate(document: Document) -> float | None:
    """
    What reading does with the settings of the verdict, for the read-back takes them too.

    Of the depth that is nearest; between two measured block sizes, a request takes what lies between theirs.
    """
    verdict = document.verdict
    plain = _plain(document.runs, "read")
    if not plain:
        return None
    depth = min((run.depth for run in plain), key=lambda one: abs(one.bit_length() - verdict.depth.bit_length()))
    found = sorted((run.block, run.block / run.rate.median) for run in plain if run.depth == depth and run.rate.median)
    if not found:
        return None
    below, above = found[0], found[-1]
    for one in found:
        below = one if one[0] <= verdict.block else below
        above = min(above, one) if one[0] >= verdict.block else above
    if above[0] <= below[0]:
        return below[0] / below[1]
    part = min(max((verdict.block - below[0]) / (above[0] - below[0]), 0.0), 1.0)
    return _between(below[0], above[0], part) / _between(below[1], above[1], part)


def _between(first: float, second: float, part: float) -> float:
    return first + part * (second - first)


def _plain(runs: Iterable[Run], operation: str) -> list[Run]:
    """Those that are done as the writer does it."""
    return [run for run in runs if (run.operation, run.method, run.flush_every) == (operation, "threads", 0)]


def _best(runs: list[Run]) -> float | None:
    return max((run.rate.median for run in runs), default=None)


def _stage(stages: tuple[Stage, ...], name: str, level: int | None = None) -> float | None:
    """Rate of a stage on all processors; of decompression, at the measured level that is nearest."""
    found = [stage for stage in stages if stage.name == name]
    if not found:
        return None
    most = max(stage.threads for stage in found)
    best = min(
        (stage for stage in found if stage.threads == most),
        key=lambda stage: abs((stage.level or 0) - (level or 0)),
    )
    return best.rate.median or None


def _work(rates: Rates, data: float, packed: float) -> float | None:
    """Seconds of all processors for so many bytes."""
    if rates.decompress is None:
        return None
    seconds = data / rates.decompress
    seconds += packed / rates.sha256 if rates.sha256 else 0.0
    return seconds + (data / rates.xxh3 if rates.xxh3 else 0.0)
