"""The numbers behind the drawings of one board, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from hupfast.bench.document import Document, Middle, Run
from hupfast.bench.html import Html, table
from hupfast.bench.panels import plain_runs, title_of
from hupfast.bench.stagepanels import phases, waits
from hupfast.bench.units import setting, size_label


def rate_cell(rate: Middle) -> str:
    """Median and spread in MB/s, with as many digits behind the point."""
    digits = _digits(rate.median)
    return f"{rate.median / 1e6:.{digits}f}" + (f" ± {rate.spread / 1e6:.{digits}f}" if rate.spread else "")


def _number(rate: float) -> str:
    return f"{rate / 1e6:.{_digits(rate)}f}"


def _digits(rate: float) -> int:
    return 0 if rate >= 999.5e6 else 1 if rate >= 9.995e6 else 2


def tables(document: Document) -> list[Html]:
    """All of them; what was not measured has none."""
    groups = plain_runs(document)
    found = [_throughput(key, runs) for key, runs in groups.items() if len(runs) > 1]
    single = [runs[0] for runs in groups.values() if len(runs) == 1]
    if single:
        rows = [[run.operation, _how(run), rate_cell(run.rate)] for run in single]
        found.append(table("Other operations", ["operation", "how", "MB/s"], rows))
    flushed = [run for run in document.runs if run.flush_every]
    if flushed:
        found.append(_flushes([*flushed, *_ends(document, flushed)]))
    if document.runs:
        found.append(_latencies(document.runs))
    if document.sustained is not None:
        curve = document.sustained
        knee = "none seen" if curve.knee_bytes is None else size_cell(curve.knee_bytes)
        written = size_cell(curve.points[-1][1]) if curve.points else "-"
        rates = [_number(curve.burst_rate), _number(curve.sustained_rate)]
        row = [*rates, knee, written, size_label(curve.block), str(curve.depth)]
        head = ["burst", "sustained", "knee", "written", "block", "in flight"]
        found.append(table("Sustained write, MB/s", head, [row]))
    if document.stages:
        found.append(_stages(document))
    if document.pipeline is not None:
        found.append(_update(document))
    return found


def size_cell(size: float) -> str:
    """A size in MiB or GiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _throughput(key: tuple[str, str], runs: Sequence[Run]) -> Html:
    depths = sorted({run.depth for run in runs})
    cells = {(run.block, run.depth): rate_cell(run.rate) for run in runs}
    rows = [
        [size_label(block), *(cells.get((block, depth), "-") for depth in depths)]
        for block in sorted({run.block for run in runs})
    ]
    head = ["block", *(f"{depth} in flight" for depth in depths)]
    return table(f"{title_of(key)}: MB/s", head, rows)


def _ends(document: Document, flushed: Sequence[Run]) -> list[Run]:
    """The runs that differ from those only in flushing at the end."""
    same = {(run.operation, run.method, run.block, run.depth) for run in flushed}
    return [
        run
        for run in document.runs
        if not run.flush_every and (run.operation, run.method, run.block, run.depth) in same
    ]


def _flushes(runs: Sequence[Run]) -> Html:
    rows = []
    for run in runs:
        flushes = sum(item.flushes for item in run.rounds)
        seconds = sum(item.flush_seconds for item in run.rounds)
        every = size_label(run.flush_every) if run.flush_every else "at the end"
        each = f"{seconds / flushes * 1e3:.1f}" if flushes else "-"
        longest = max((item.flush_max_seconds or 0.0 for item in run.rounds), default=0.0)
        worst = f"{longest * 1e3:.1f}" if longest else "-"
        rows.append([every, f"{run.operation}, {_how(run)}", rate_cell(run.rate), each, worst])
    return table("Cost of flushing", ["flushed every", "how", "MB/s", "ms for each flush", "longest, ms"], rows)


def _how(run: Run) -> str:
    return f"{run.method}, {setting(run.block, run.depth)}"


def _latencies(runs: Sequence[Run]) -> Html:
    rows = []
    for run in runs:
        every = f", flushed every {size_label(run.flush_every)}" if run.flush_every else ""
        us = run.latency_us
        took = [f"{value / 1e3:.2f}" for value in (us.p50, us.p90, us.p99, us.max)]
        rows.append([f"{run.operation}, {_how(run)}{every}", *took])
    head = ["run", "median", "90 %", "99 %", "worst"]
    return table("Time of one operation, ms", head, rows)


def _stages(document: Document) -> Html:
    rows = []
    for stage in document.stages:
        name = stage.name if stage.level is None else f"{stage.name}, level {stage.level}"
        ratio = "-" if stage.ratio is None else f"{stage.ratio:.2f}"
        rows.append([name, str(stage.threads), rate_cell(stage.rate), ratio])
    return table("Stages alone", ["stage", "threads", "MB/s", "raw / packed"], rows)


def _update(document: Document) -> Html:
    rows = [[label, f"{seconds:.3f}"] for label, seconds, _ in phases(document)]
    rows += [[f"a decoder, while writing: {label}", f"{seconds:.3f}"] for label, seconds, _ in waits(document)]
    pipeline = document.pipeline
    assert pipeline is not None  # who calls has looked
    rows.append(["all, median ± spread", f"{pipeline.seconds.median:.3f} ± {pipeline.seconds.spread:.3f}"])
    return table("A whole update", ["phase", "seconds"], rows)
