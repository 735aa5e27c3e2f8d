"""From a document to the drawings of a medium: what is drawn against what, on which scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hupfast.bench import plots
from hupfast.bench.document import Document, Run, Sustained
from hupfast.bench.html import Html
from hupfast.bench.plots import Line
from hupfast.bench.units import setting, size_label
from hupfast.bench.verdict import mb

_POINTS = 150  # of a sustained curve: more cannot be seen
_PERCENTILES = (("p50", "median", "d0"), ("p90", "90 %", "d2"), ("p99", "99 %", "d4"), ("max", "worst", "warn"))
_NAMES = {"write": "Write", "read": "Read", "zero": "Zero", "discard": "Discard"}
_DEPTH = "operations in flight"
_ORDER = tuple(_NAMES)
_METHODS = ("threads", "io_uring")


@dataclass(frozen=True)
class Panel:
    """A drawing, and a sentence below it."""

    drawing: Html
    caption: str = ""


def plain_runs(document: Document) -> dict[tuple[str, str], list[Run]]:
    """The runs that flush only at the end, by operation and method, sorted by depth and block."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in document.runs:
        if not run.flush_every:
            found.setdefault((run.operation, run.method), []).append(run)
    order = sorted(found, key=lambda key: (_ORDER.index(key[0]) if key[0] in _ORDER else 9, key[1] != "threads"))
    return {key: sorted(found[key], key=lambda run: (run.depth, run.block)) for key in order}


def drawn_runs(document: Document) -> dict[tuple[str, str], list[Run]]:
    """Of the plain runs, the groups that are drawn: two runs or more, and no name that is not ours."""
    return {
        key: runs
        for key, runs in plain_runs(document).items()
        if len(runs) > 1 and key[0] in _NAMES and key[1] in _METHODS
    }


def top_rate(runs: Iterable[Run]) -> float:
    """The largest rate of some runs, with its error bar."""
    return max((run.rate.median + run.rate.spread for run in runs), default=0.0)


def throughput_panel(
    name: str, document: Document, key: tuple[str, str], top: float, whose: str = "", scale: plots.Scale = plots.RATE
) -> Panel:
    """
    Rate against block size, a line for each depth, of one operation and method.

    top: the largest rate of the scale; it is this board's own best where the scale is a share of that.
    """
    runs = plain_runs(document)[key]
    title = f"{whose}{title_of(key)}"
    sizes = sorted({run.block for run in runs})
    verdict = document.verdict
    if len(sizes) == 1:
        line = _rate_line(f"{key[0]}-{key[1]}", "", runs, range(len(runs)), 0)
        labels = [str(run.depth) for run in runs]
        drawing = plots.rates(
            name, f"{title}, {size_label(sizes[0])}", [line], top=top, labels=labels, xlabel=_DEPTH, scale=scale
        )
        return Panel(drawing)
    lines = []
    for number, depth in enumerate(sorted({run.depth for run in runs})):
        here = [run for run in runs if run.depth == depth]
        blocks = [run.block for run in here]
        lines.append(_rate_line(f"{key[0]}-{key[1]}-{depth}", str(depth), here, blocks, number))
    used = (run.rate.median for run in runs if (run.block, run.depth) == (verdict.block, verdict.depth))
    rate = next(used, None) if key == ("write", "threads") else None
    best = None if rate is None else (verdict.block, rate)
    drawing = plots.rates(name, title, lines, top=top, sizes=sizes, legend=_DEPTH, best=best, scale=scale)
    caption = f"Ringed: {setting(verdict.block, verdict.depth)}, the settings to use." if best else ""
    return Panel(drawing, caption)


def _rate_line(key: str, label: str, runs: Sequence[Run], x: Sequence[float], number: int) -> Line:
    rates, spreads = [run.rate.median for run in runs], [run.rate.spread for run in runs]
    return Line(key, label, f"d{min(number, 5)}", x, rates, spreads, number)


def title_of(key: tuple[str, str]) -> str:
    """What an operation by a method is called."""
    return f"{_NAMES.get(key[0], key[0].capitalize())}, {key[1]}"


def throughput(name: str, document: Document) -> list[Panel]:
    """A panel for each operation and method with more than one run; those of one operation share their scale."""
    groups = drawn_runs(document)
    panels = []
    for number, key in enumerate(groups):
        top = top_rate(run for other, some in groups.items() if other[0] == key[0] for run in some)
        panels.append(throughput_panel(f"{name}t{number}", document, key, top))
    return panels


def flushes(name: str, document: Document) -> list[Panel]:
    """What flushing more often costs, where it was measured."""
    groups: dict[tuple[str, str, int, int], dict[int, Run]] = {}
    for run in document.runs:
        if run.operation in _NAMES and run.method in _METHODS:
            groups.setdefault((run.operation, run.method, run.block, run.depth), {})[run.flush_every] = run
    groups = {key: runs for key, runs in groups.items() if len(runs) > 1}
    if not groups:
        return []
    every = sorted({size for runs in groups.values() for size in runs}, key=lambda size: size or 2**62)
    lines = []
    for number, (key, runs) in enumerate(groups.items()):
        here = [size for size in every if size in runs]
        lines.append(
            Line(
                f"flush-{key[0]}-{key[1]}-{key[2]}-{key[3]}",
                f"{key[0]}, {key[1]}, {setting(key[2], key[3])}",
                f"c{number % 6}",
                [every.index(size) for size in here],
                [runs[size].rate.median for size in here],
                [runs[size].rate.spread for size in here],
                number,
            )
        )
    top = top_rate(run for runs in groups.values() for run in runs.values())
    labels = [size_label(size, "\n") if size else "at the\nend" for size in every]
    drawing = plots.rates(name + "f", "Cost of flushing", lines, top=top, labels=labels, xlabel="flushed every")
    return [Panel(drawing)]


def windows(curve: Sustained) -> tuple[list[float], list[float]]:
    """
    Bytes written so far (the middle of a window), and the rate in that window; at most _POINTS of them.

    A flush behind all bytes is in none.
    """
    first, last = curve.points[0], curve.points[-1]
    least = (last[1] - first[1]) / _POINTS
    places, rates = [], []
    seconds, done = first
    for at, total in curve.points[1:]:
        if at > seconds and total > done and (total - done >= least or total == last[1]):
            places.append((total + done) / 2)
            rates.append((total - done) / (at - seconds))
            seconds, done = at, total
    return places, rates


def sustained(name: str, document: Document) -> list[Panel]:
    """Speed against what was written so far."""
    curve = document.sustained
    if curve is None:
        return []
    places, rates = windows(curve)
    if not places:
        return []
    line = Line("sustained", "", "c0", places, rates)
    drawing = plots.sustained(
        name + "s", "Sustained write", [line], top=max(rates), end=curve.points[-1][1], knee=curve.knee_bytes
    )
    told = f"First {mb(curve.burst_rate)}, in the long run {mb(curve.sustained_rate)}"
    knee = "." if curve.knee_bytes else "; no knee was seen."
    return [Panel(drawing, f"{told}{knee} Writes of {size_label(curve.block)}, {curve.depth} in flight.")]


def latencies(name: str, document: Document) -> list[Panel]:
    """Percentiles and worst stall, against block size at the depth to use, and against depth at the block to use."""
    groups = {key: runs for key, runs in drawn_runs(document).items() if key[0] in ("write", "read")}
    shown: dict[str, tuple[str, list[Run]]] = {}
    for (operation, method), runs in groups.items():
        shown.setdefault(operation, (method, runs))  # threads come first, and are what the engine uses
    everything = [run for _, runs in shown.values() for run in runs]
    if not everything:
        return []
    low, high = min(run.latency_us.p50 for run in everything), max(run.latency_us.max for run in everything)
    panels = []
    for operation, (method, runs) in shown.items():
        depth = _nearest({run.depth for run in runs}, document.verdict.depth)
        block = _nearest({run.block for run in runs}, document.verdict.block)
        title = title_of((operation, method))
        by_block = [run for run in runs if run.depth == depth]
        by_depth = [run for run in runs if run.block == block]
        if len(by_block) > 1:
            lines = _percentile_lines(f"{operation}-block", by_block, [run.block for run in by_block])
            panels.append(
                Panel(
                    plots.latencies(
                        f"{name}lb{operation}", f"{title}: {depth} in flight", lines, low=low, high=high,
                        sizes=[run.block for run in by_block],
                    )
                )
            )  # fmt: skip
        if len(by_depth) > 1:
            lines = _percentile_lines(f"{operation}-depth", by_depth, range(len(by_depth)))
            panels.append(
                Panel(
                    plots.latencies(
                        f"{name}ld{operation}", f"{title}: {size_label(block)}", lines, low=low, high=high,
                        labels=[str(run.depth) for run in by_depth], xlabel=_DEPTH,
                    )
                )
            )  # fmt: skip
    return panels


def _percentile_lines(key: str, runs: Sequence[Run], x: Sequence[float]) -> list[Line]:
    return [
        Line(f"{key}-{field}", label, color, x, [getattr(run.latency_us, field) for run in runs], (), number)
        for number, (field, label, color) in enumerate(_PERCENTILES)
    ]


def _nearest(values: Iterable[int], wanted: int) -> int:
    return min(values, key=lambda value: (abs(value - wanted), value))
