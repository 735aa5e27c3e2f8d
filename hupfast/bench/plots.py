"""
The drawings of a report, one small panel each, so that a page can lay them out in any width.

What is drawn is plain numbers: rates in bytes a second, sizes in bytes, times in seconds. Rates begin at zero, block
sizes are a scale of powers of two, and only latencies, which span five powers of ten, are logarithmic. No name that
came from a machine is drawn here: boards are A, B, C, and the page around says who they are.

Drawing needs matplotlib, which no board has: this module and svg.py are imported by report.py when it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from hupfast.bench.html import Html
from hupfast.bench.svg import ink, inline, style
from hupfast.bench.units import size_label

GIB = 2**30
_WIDTH, _HEIGHT = 4.3, 2.9  # inches, of a panel
_ROW = 0.34  # of a horizontal bar
_MARKERS = "os^DvP"
_DECADES = range(-3, 6)  # of milliseconds


@dataclass(frozen=True)
class Scale:
    """What 1 on the axis of rates is, in bytes a second, and its name."""

    label: str
    unit: float


RATE = Scale("MB/s", 1e6)


def share_of(best: float) -> Scale:
    """The scale of a board whose rates are told as a share of its own best one."""
    return Scale("% of its own best", (best or 1.0) / 100)


@dataclass(frozen=True)
class Line:
    """
    Points that belong together, in the order of x.

    key: its id in the drawing. ink: of svg.INKS. spread: error bar of each y, or nothing. marker: number of a shape.
    """

    key: str
    label: str
    ink: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    marker: int | None = None


@dataclass(frozen=True)
class Part:
    """A part of a horizontal bar: where it begins, how long it is, and its ink."""

    start: float
    length: float
    ink: str
    label: str = ""


@contextmanager
def _panel(title: str, height: float = _HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(style()):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.grid(axis="y")
        axes.tick_params(length=2.5)
        yield figure, axes


def rates(
    name: str,
    title: str,
    lines: Sequence[Line],
    *,
    top: float,
    legend: str = "",
    sizes: Sequence[int] = (),
    labels: Sequence[str] = (),
    xlabel: str = "block size",
    best: tuple[float, float] | None = None,
    scale: Scale = RATE,
) -> Html:
    """
    Rate against block size (`sizes`, on a scale of powers of two) or against what has names (`labels`; x is 0, 1, ...).

    top: the largest rate of the scale. legend: what the labels of lines mean. best: the point that is recommended.
    """
    with _panel(title) as (figure, axes):
        for line in lines:
            _draw(axes, line, 1 / scale.unit, bool(sizes))
        if best:
            axes.plot(
                [best[0]], [best[1] / scale.unit], "o", ms=11, mfc="none", mec=ink("ink"), mew=1.3, gid="best", zorder=5
            )
        _rate_axis(axes, top, scale)
        _ways_axis(axes, labels, sizes, xlabel)
        _legend(figure, legend, len([line for line in lines if line.label]))
        return inline(figure, name, title)


def sustained(
    name: str,
    title: str,
    lines: Sequence[Line],
    *,
    top: float,
    end: float,
    knee: float | None = None,
    scale: Scale = RATE,
) -> Html:
    """Rate against what was written so far (x, in bytes, to `end`). knee: where the speed breaks, in bytes."""
    with _panel(title) as (figure, axes):
        for line in lines:
            axes.plot(
                [x / GIB for x in line.x],
                [y / scale.unit for y in line.y],
                color=ink(line.ink),
                label=line.label,
                gid=line.key,
                lw=1.3,
            )
        if knee is not None:
            axes.axvline(knee / GIB, color=ink("warn"), lw=1.2, ls=(0, (4, 3)), gid="knee")
            axes.annotate(
                f"knee at {knee / GIB:.2f} GiB",
                (knee / GIB, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -10) if knee < 0.6 * end else (-4, -10),
                textcoords="offset points",
                ha="left" if knee < 0.6 * end else "right",
                color=ink("warn"),
                fontsize=8.5,
            )
        _rate_axis(axes, top, scale)
        axes.set_xlim(0, end / GIB)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("written so far, GiB")
        _legend(figure, "", len(lines) if len(lines) > 1 else 0)
        return inline(figure, name, title)


def latencies(
    name: str,
    title: str,
    lines: Sequence[Line],
    *,
    low: float,
    high: float,
    sizes: Sequence[int] = (),
    labels: Sequence[str] = (),
    xlabel: str = "block size",
) -> Html:
    """Latency (y in microseconds, logarithmic between low and high) against block size or depth."""
    with _panel(title) as (figure, axes):
        for line in lines:
            _draw(axes, line, 1e-3, bool(sizes), least=1)
        axes.set_yscale("log")
        _time_ticks(axes, low, high, axes.yaxis.set_major_locator, axes.yaxis.set_major_formatter, axes.set_ylim)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylabel("time of one operation")
        _ways_axis(axes, labels, sizes, xlabel)
        _legend(figure, "", len(lines))
        return inline(figure, name, title)


def dots(name: str, title: str, rows: Sequence[tuple[str, Sequence[Line]]], *, low: float, high: float) -> Html:
    """Latencies (x in microseconds, logarithmic) of a few things that have names, a row each: a dot for each Line."""
    with _panel(title, 1.25 + _ROW * len(rows)) as (figure, axes):
        for index, (_, lines) in enumerate(rows):
            values = [max(value, 1) / 1e3 for line in lines for value in line.x]
            axes.plot([min(values), max(values)], [index, index], color=ink("grid"), lw=3, zorder=1)
            for line in lines:
                axes.plot(
                    [max(value, 1) / 1e3 for value in line.x],
                    [index] * len(line.x),
                    _MARKERS[line.marker or 0],
                    color=ink(line.ink),
                    gid=line.key,
                    label="_" if index else line.label,
                    ms=6,
                )
        axes.set_xscale("log")
        _time_ticks(axes, low, high, axes.xaxis.set_major_locator, axes.xaxis.set_major_formatter, axes.set_xlim)
        axes.xaxis.set_minor_locator(NullLocator())
        _rows(axes, [label for label, _ in rows])
        axes.set_xlabel("time of one operation")
        _legend(figure, "", len(rows[0][1]))
        return inline(figure, name, title)


def bars(
    name: str,
    title: str,
    rows: Sequence[tuple[str, Sequence[Part]]],
    *,
    unit: float,
    xlabel: str,
    end: float,
    marks: Sequence[str] = (),
    spreads: Sequence[float] = (),
) -> Html:
    """
    Horizontal bars from zero, each of one or more parts. unit: what 1 on the axis is. end: the largest value.

    marks: what is written at the end of each bar. spreads: the error bar of each row's end. A part with a label is
    explained in the legend, once for each label.
    """
    with _panel(title, 0.95 + _ROW * len(rows) + (0.25 if any(p.label for _, ps in rows for p in ps) else 0)) as (
        figure,
        axes,
    ):
        told: set[str] = set()
        for index, (_, parts) in enumerate(rows):
            for number, part in enumerate(parts):
                drawn = axes.barh(
                    index,
                    part.length / unit,
                    left=part.start / unit,
                    height=0.62,
                    color=ink(part.ink),
                    label="_" if part.label in told else part.label or "_",
                )
                drawn.patches[0].set_gid(f"bar-{index}-{number}")
                told.add(part.label)
            reach = (parts[-1].start + parts[-1].length) / unit if parts else 0.0
            spread = spreads[index] / unit if spreads else 0.0
            if spread:
                axes.errorbar(reach, index, xerr=spread, ecolor=ink("ink"), elinewidth=1, capsize=2.5, fmt="none")
            if marks:
                axes.annotate(
                    marks[index],
                    (reach + spread, index),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                )
        axes.set_xlim(0, (end / unit or 1) * (1.22 if marks else 1.03))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        _rows(axes, [label for label, _ in rows])
        axes.set_xlabel(xlabel)
        _legend(figure, "", len(told - {""}))
        return inline(figure, name, title)


def _draw(axes: Axes, line: Line, factor: float, sized: bool, least: float = 0.0) -> None:
    """sized: x are sizes, and have to be above nothing on a scale of powers of two. least: the smallest y drawn."""
    color = ink(line.ink)
    x = [max(value, 1) for value in line.x] if sized else line.x
    y = [max(value, least) * factor for value in line.y]
    marker = "" if line.marker is None else _MARKERS[line.marker % len(_MARKERS)]
    axes.plot(x, y, color=color, marker=marker, label=line.label, gid=line.key)
    if any(line.spread):
        spread = [value * factor for value in line.spread]
        axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=color, elinewidth=1, capsize=2.5)


def _rate_axis(axes: Axes, top: float, scale: Scale) -> None:
    axes.set_ylim(0, (top if top > 0 else scale.unit) / scale.unit * 1.06)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylabel(scale.label)


def _ways_axis(axes: Axes, labels: Sequence[str], sizes: Sequence[int], xlabel: str) -> None:
    """Sizes, to scale, or labels side by side."""
    if sizes:
        _size_axis(axes, sizes)
    else:
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.4, len(labels) - 0.6)
    axes.set_xlabel(xlabel)


def _size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([float(max(size, 1)) for size in sizes]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_label(round(value), "\n")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(max(min(sizes), 1) / 1.25, max(*sizes, 1) * 1.25)


def _time_ticks(
    axes: Axes,
    low: float,
    high: float,
    locate: Callable[[FixedLocator], None],
    format: Callable[[FuncFormatter], None],
    limit: Callable[[float, float], object],
) -> None:
    """An axis of milliseconds by powers of ten, or by ones, twos and fives. low, high: in microseconds."""
    low, high = max(low, 1) / 1e3 / 1.4, max(high, 2) / 1e3 * 1.4
    steps = (1,) if high / low > 300 else (1, 2, 5)
    locate(FixedLocator([tick for n in _DECADES for step in steps if low <= (tick := step * 10.0**n) <= high]))
    format(FuncFormatter(lambda value, _: _milliseconds(value)))
    limit(low, high)


def _milliseconds(value: float) -> str:
    if value < 0.999:
        return f"{value * 1e3:.3g} µs"
    return f"{value:.3g} ms" if value < 999 else f"{value / 1e3:.3g} s"


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def _legend(figure: Figure, title: str, count: int) -> None:
    """Below the axes, where it covers no data."""
    if not count:
        return
    handles, labels = figure.axes[0].get_legend_handles_labels()
    found = figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=6 if max(map(len, labels)) < 5 else 4 if max(map(len, labels)) < 13 else 2,
        title=title or None,
        handlelength=1.6,
        columnspacing=1.2,
        borderpad=0,
        handletextpad=0.5,
        alignment="left",
    )
    found.set_gid("legend")
