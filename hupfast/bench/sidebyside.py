"""Several boards side by side: everything on one scale, each board by its letter."""

from __future__ import annotations

from collections.abc import Sequence

from hupfast.bench import plots
from hupfast.bench.document import Document
from hupfast.bench.html import Html, table
from hupfast.bench.panels import Panel, drawn_runs, plain_runs, throughput_panel, title_of, top_rate, windows
from hupfast.bench.plots import GIB, Line, Part
from hupfast.bench.stagepanels import phases
from hupfast.bench.tables import size_cell
from hupfast.bench.units import seconds_text, setting
from hupfast.bench.verdict import mb

_RATES = (
    ("write", "write"),
    ("read", "read back"),
    ("decompress", "decompress, all processors"),
    ("pipeline", "whole update"),
)
_FAR = 8
_PERCENT = plots.Scale("% of its own best", 1.0)
_SHOWN = (("p50", "median", "d0", 0), ("p99", "99 %", "d4", 1), ("max", "worst", "warn", 2))


def letter(index: int) -> str:
    """The name of a board in the drawings: A to Z, then A1 and so on."""
    return chr(65 + index % 26) + (str(index // 26) if index >= 26 else "")


def color(index: int) -> str:
    """The ink of a board."""
    return f"c{index % 6}"


def summary(documents: Sequence[Document], names: Sequence[str]) -> Html:
    """The few numbers that stand for each board, a column each."""
    rows: list[list[str]] = [["medium", *(f"{d.storage.kind}, {size_cell(d.storage.size)}" for d in documents)]]
    for key, label in (*_RATES[:2], ("sha256", "SHA-256"), *_RATES[2:]):
        rows.append([label, *(_rate(getattr(document.verdict.rates, key)) for document in documents)])
    rows.insert(3, ["sustained write", *(_rate(_sustained_rate(document)) for document in documents)])
    rows.append(["settings to use", *(setting(d.verdict.block, d.verdict.depth) for d in documents)])
    rows.append(["worst stall of a write", *(_stall(document) for document in documents)])
    rows.append(["limited by", *(document.verdict.limit for document in documents)])
    rows.append(["throttled", *("yes" if document.noise.throttled else "no" for document in documents)])
    head = ["", *(f"{letter(index)}: {name}" for index, name in enumerate(names))]
    return table("Boards side by side", head, rows)


def _sustained_rate(document: Document) -> float | None:
    """With the settings to use; of early documents, with those of the long write."""
    curve = document.sustained
    return document.verdict.rates.sustained or (curve.sustained_rate if curve else None)


def _rate(rate: float | None) -> str:
    return "-" if not rate else mb(rate)


def _stall(document: Document) -> str:
    worst = [run.latency_us.max for run in document.runs if run.operation == "write"]
    return seconds_text(max(worst) / 1e6) if worst else "-"


def overview(documents: Sequence[Document]) -> list[Panel]:
    """Rates, the sustained curves, update times and latencies, all boards in one drawing."""
    return [*_rates(documents), *_updates(documents), *_sustained(documents), *_latencies(documents)]


def _rates(documents: Sequence[Document]) -> list[Panel]:
    panels = []
    for number, (key, label) in enumerate((*_RATES[:2], _RATES[2])):
        rates = [getattr(document.verdict.rates, key) or 0.0 for document in documents]
        if not any(rates):
            continue
        rows = [(letter(n), [Part(0, rate, color(n))]) for n, rate in enumerate(rates)]
        marks = [_rate(rate) for rate in rates]
        title = label[0].upper() + label[1:]
        drawing = plots.bars(f"sr{number}", title, rows, unit=1e6, xlabel="MB/s", end=max(rates), marks=marks)
        panels.append(Panel(drawing))
    return panels


def _updates(documents: Sequence[Document]) -> list[Panel]:
    """Seconds for each GiB of image, the phases after one another."""
    rows, marks = [], []
    for index, document in enumerate(documents):
        pipeline = document.pipeline
        size = pipeline.image_size if pipeline else 0
        parts, clock = [], 0.0
        for label, seconds, ink in phases(document) if size else ():
            parts.append(Part(clock, seconds * GIB / size, ink, label))
            clock += seconds * GIB / size
        rows.append((letter(index), parts))
        marks.append(seconds_text(clock) if parts else "not measured")
    ends = [parts[-1].start + parts[-1].length for _, parts in rows if parts]
    if not ends:
        return []
    drawing = plots.bars(
        "su", "An update, for each GiB of image", rows, unit=1, xlabel="seconds", end=max(ends), marks=marks
    )
    return [Panel(drawing)]


def _sustained(documents: Sequence[Document]) -> list[Panel]:
    curves = [(index, d.sustained, *windows(d.sustained)) for index, d in enumerate(documents) if d.sustained]
    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return []
    tops = [max(rates) for _, _, _, rates in curves]
    apart = _far_apart(tops)
    lines = []
    for (index, _, places, rates), own in zip(curves, tops, strict=True):
        y = [rate / own * 100 for rate in rates] if apart else rates
        lines.append(Line(f"sustained-{letter(index)}", letter(index), color(index), places, y))
    drawing = plots.sustained(
        "ss", "Sustained write", lines, top=100.0 if apart else max(tops), scale=_PERCENT if apart else plots.RATE,
        end=max(curve.points[-1][1] for _, curve, _, _ in curves),
    )  # fmt: skip
    return [Panel(drawing)]


def _far_apart(tops: Sequence[float]) -> bool:
    """Are boards so different that on one scale of MB/s the slower ones are a line at its bottom?"""
    return max(tops) > _FAR * min(tops)


def _latencies(documents: Sequence[Document]) -> list[Panel]:
    """Of writes with the settings to use."""
    rows = []
    for index, document in enumerate(documents):
        verdict = document.verdict
        for run in plain_runs(document).get(("write", "threads"), []):
            if (run.block, run.depth) == (verdict.block, verdict.depth):
                points = [
                    Line(f"{letter(index)}-{key}", label, ink, [getattr(run.latency_us, key)], [], (), marker)
                    for key, label, ink, marker in _SHOWN
                ]
                rows.append((f"{letter(index)}: {setting(run.block, run.depth)}", points))
    if not rows:
        return []
    values = [value for _, lines in rows for line in lines for value in line.x]
    drawing = plots.dots("sl", "Writes with the settings to use", rows, low=min(values), high=max(values))
    return [Panel(drawing)]


def throughput(documents: Sequence[Document]) -> list[tuple[str, list[Panel]]]:
    """
    For each operation and method that more than one board has: a title, and a panel of each board on one scale.

    That is MB/s; or, when boards are far apart, the share of the best that each can do.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for index, document in enumerate(documents):
        for key in drawn_runs(document):
            groups.setdefault(key, []).append(index)
    found = []
    for number, (key, owners) in enumerate(groups.items()):
        if len(owners) < 2:
            continue
        tops = [top_rate(plain_runs(documents[index])[key]) for index in owners]
        bests = [max(run.rate.median for run in plain_runs(documents[index])[key]) for index in owners]
        apart = _far_apart(tops)
        top = max(own / best if best else 1.0 for own, best in zip(tops, bests, strict=True))
        panels = []
        for index, best in zip(owners, bests, strict=True):
            scale = plots.share_of(best) if apart else plots.RATE
            drawn = top * best if apart else max(tops)
            name = f"sx{number}b{index}"
            panels.append(throughput_panel(name, documents[index], key, drawn, f"{letter(index)}: ", scale))
        how = "each board as a share of its own best, for they are far apart" if apart else "all on one scale"
        found.append((f"{title_of(key)}: {how}", panels))
    return found
