"""What follows from a measurement: what limits this board, and the settings to use. (How long: predict.py.)"""

from __future__ import annotations

from collections.abc import Iterable

from hupfast.bench.calm import excused_rates, extra_seconds
from hupfast.bench.document import Pipeline, Rates, Run, Stage, Sustained, Verdict
from hupfast.bench.pace import other_settings
from hupfast.errors import UsageError

GOOD_ENOUGH = 0.97
"""Settings that reach so much of the best rate are as good, and those of them that take the least memory are better."""

LEVEL = 9
"""Of zstd, that images are taken to be packed with, where nothing else is said: that of `hupfast pack`."""

_SAME = 0.05
_SPREADS = 2
"""Rates of short runs and of the long write that differ by less, or by less than so many spreads, are the same."""

_NAMES = {
    "mmc": "the eMMC",
    "sd": "the card",
    "nvme": "the NVMe drive",
    "scsi": "the disk",
    "virtio": "the virtual disk",
    "loop": "the loop device",
}


def best_settings(runs: Iterable[Run]) -> Run:
    """
    The run with the settings to write with: of those that are as good as the best, the one of the least memory.

    Good without stalls (calm.py), for which rounds of a second are too short.
    Of two that take the same, the one with fewer writes in flight. Raises: UsageError when nothing was written.
    """
    plain = [run for run in runs if run.plain and run.operation == "write"]
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
    lasting, words = _lasting_rate(runs, chosen, long)
    rates = Rates(
        write=chosen.rate.median,
        read=_best(run for run in runs if run.plain and run.operation == "read"),
        zero=_best(run for run in runs if run.plain and run.operation == "zero"),
        decompress=stage_rate(stages, "decompress", LEVEL),
        sha256=stage_rate(stages, "sha256"),
        xxh3=stage_rate(stages, "xxh3"),
        pipeline=None if pipeline is None else pipeline.image_size / pipeline.seconds.median,
        sustained=lasting,
    )
    name = _NAMES.get(kind, "the medium") + (f" ({model})" if model else "")
    work = _work(rates, 1.0, 1.0 / usual_ratio(stages))
    medium = f"{name}: {words}"
    if work is None or rates.decompress is None:
        limit, sentence = "medium", f"{medium}; the processor was not measured"
    else:
        threads = max(stage.threads for stage in stages)
        on = "one processor" if threads == 1 else f"{threads} processors"
        if 1 / work >= (lasting or chosen.rate.median):
            limit, sentence = "medium", f"{medium}; decompression could do {mb(rates.decompress)} on {on}"
        else:
            limit = "processor"
            sentence = f"the processor: {mb(1 / work)}, decompressing and checking on {on}; {name} could do {words}"
    return Verdict(limit, sentence, chosen.block, chosen.depth, chosen.block * chosen.depth, rates)


def _lasting_rate(runs: tuple[Run, ...], chosen: Run, long: Sustained | None) -> tuple[float | None, str]:
    """
    What the long write would take in the end with the chosen settings, if there is one; and the medium's rate in words.

    Where it takes clearly another rate at first, or in short runs, that stands beside it. About: with other settings.
    """
    short = chosen.rate.median
    if long is None or not long.sustained_rate or not long.burst_rate:
        return None, mb(short)
    ours, theirs = (chosen.block, chosen.depth), (long.block, long.depth)
    extra = extra_seconds(runs, ours, theirs)
    burst, lasting = (1 / other_settings(1 / rate, extra) for rate in (long.burst_rate, long.sustained_rate))
    words = f"{'' if ours == theirs else 'about '}{mb(lasting)}"
    if long.knee_bytes is not None:
        words += f" in the long run ({mb(burst)} for the first {long.knee_bytes / 1e6:.0f} MB)"
    elif abs(short - lasting) > max(_SAME, _SPREADS * chosen.rate.relative) * lasting:
        words += f" in the long run ({mb(short)} in short ones)"
    return lasting, words


def usual_ratio(stages: Iterable[Stage], level: int = LEVEL) -> float:
    """Raw bytes to packed ones of what was decompressed, at the measured level that is nearest; 2 when none was."""
    found = [(abs((stage.level or 0) - level), stage.ratio) for stage in stages if stage.ratio]
    return min(found)[1] if found else 2.0


def mb(rate: float) -> str:
    """A rate as people say it: 38.2 MB/s, 210 MB/s, 1.35 GB/s (powers of 1000)."""
    if rate >= 999.5e6:
        return f"{rate / 1e9:.2f} GB/s"
    return f"{rate / 1e6:.0f} MB/s" if rate >= 99.95e6 else f"{rate / 1e6:.1f} MB/s"


def _best(runs: Iterable[Run]) -> float | None:
    return max((run.rate.median for run in runs), default=None)


def stage_rate(stages: Iterable[Stage], name: str, level: int | None = None) -> float | None:
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
