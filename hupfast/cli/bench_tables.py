"""What was measured, as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hupfast.bench.health import health_words
from hupfast.bench.predict import Predictor
from hupfast.bench.verdict import mb, usual_ratio
from hupfast.cli.output import as_size, human, say

if TYPE_CHECKING:
    from hupfast.bench.document import Document, Run
    from hupfast.bench.stats import Middle

_EXAMPLE = 1 << 30


def show_document(document: Document) -> None:
    """Print the verdict first, then what it stands on."""
    verdict, board, storage = document.verdict, document.board, document.storage
    say(f"limited by  {verdict.sentence}")
    say(
        f"settings    block {as_size(verdict.block)}, depth {verdict.depth}"
        f" ({human(verdict.memory)} in flight), the least memory within 3% of the best"
    )
    ratio = usual_ratio(document.stages)
    predictor = Predictor(document)
    guess = predictor.predict(_EXAMPLE, int(_EXAMPLE / ratio))
    say(
        f"an image    of 1 GiB, {human(_EXAMPLE / ratio)} packed, will take about {guess.write_seconds:.1f} s to write"
        f" and {guess.verify_seconds:.1f} s to read back"
        f"{'' if document.sustained else ' (stalls and full caches not counted)'}"
    )
    say(f"board       {board.model or 'unknown'}: {board.cpus} x {board.cpu}, {human(board.memory)}, {board.kernel}")
    names = [storage.model, storage.cid and f"CID {storage.cid}", storage.serial and f"serial {storage.serial}"]
    facts = ", ".join(filter(None, names)) or "unknown"
    on = f" on {storage.filesystem}" if storage.filesystem else ""
    say(f"medium      {storage.kind}: {facts}; {human(document.settings.size)} of {storage.path}{on} used")
    if storage.health:
        say(f"            {', '.join(f'{name} {health_words(name, value)}' for name, value in storage.health.items())}")
    if not storage.direct:
        say("            it takes no direct I/O: all figures went through the page cache")
    if storage.filesystem:
        say("            zeroing and discarding are what the file system made of them, and not the medium")
    for remark in document.noise.remarks:
        say(f"remark      {remark}")
    for item in document.skipped:
        say(f"left out    {item.what}: {item.why}")
    _show_medium(document)
    _show_long_write(document)
    _show_stages(document)
    _show_pipeline(document, predictor)


def show_table(title: str, columns: list[str], rows: list[tuple[str, list[str]]]) -> None:
    """A table with a title over its first column; what is empty stays empty."""
    if not rows:
        return
    first = max(len(title), *(len(name) for name, _ in rows))
    widths = [max(len(column), *(len(cells[i]) for _, cells in rows)) for i, column in enumerate(columns)]
    say("")
    for name, cells in [(title, columns), *rows]:
        parts = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
        say("  ".join([f"{name:<{first}}", *parts]).rstrip())


def figure(value: Middle) -> str:
    """A rate and its spread."""
    return f"{mb(value.median)} ±{value.relative:.0%}"


def _show_medium(document: Document) -> None:
    for operation in ("write", "read"):
        plain = [run for run in _of(document, operation, "threads") if not run.flush_every]
        depths = sorted({run.depth for run in plain})
        found = {(run.block, run.depth): run for run in plain}
        rows = []
        for block in sorted({run.block for run in plain}):
            runs = [found.get((block, depth)) for depth in depths]
            rows.append((as_size(block), [figure(run.rate) if run else "" for run in runs]))
        show_table(operation, [f"depth {depth}" for depth in depths], rows)
    flushed = [run for run in _of(document, "write", "threads") if run.flush_every]
    show_table(
        "flushed every",
        ["rate", "of it flushing", "longest"],
        [
            (as_size(run.flush_every), [figure(run.rate), f"{_flushing(run):.0%}", _longest_flush(run)])
            for run in flushed
        ],
    )
    others = [run for run in document.runs if run.method != "threads" or run.operation in ("zero", "discard")]
    show_table("other ways", ["rate"], [(_name(run), [figure(run.rate)]) for run in others])
    show_table(
        "latency",
        ["half", "90%", "99%", "worst"],
        [(_name(run), [_milliseconds(us) for us in _percentiles(run)]) for run in document.runs],
    )


def _show_long_write(document: Document) -> None:
    long = document.sustained
    if long is None:
        return
    seconds, size = long.points[-1]
    say("")
    if long.knee_bytes is None:
        say(f"long write  {human(size)} in {seconds:.1f} s, evenly: {mb(long.sustained_rate)}")
    else:
        say(f"long write  {mb(long.burst_rate)} for {human(long.knee_bytes)}, then {mb(long.sustained_rate)}")


def _show_stages(document: Document) -> None:
    threads = sorted({stage.threads for stage in document.stages})
    found = {(stage.name, stage.level, stage.threads): stage for stage in document.stages}
    kinds = list(dict.fromkeys((stage.name, stage.level) for stage in document.stages))
    rows = []
    for name, level in kinds:
        stages = [found.get((name, level, count)) for count in threads]
        label = name if level is None else f"{name}, level {level}"
        rows.append((label, [figure(stage.rate) if stage else "" for stage in stages]))
    show_table("processors", [str(count) for count in threads], rows)


def _show_pipeline(document: Document, predictor: Predictor) -> None:
    whole = document.pipeline
    if whole is None:
        return
    guess = predictor.predict(whole.image_size, whole.packed_size, whole.zero_share)
    say("")
    say(
        f"whole write {whole.image} image, {human(whole.image_size)} from {human(whole.packed_size)}:"
        f" {whole.seconds.median:.1f} s, {guess.seconds:.1f} s by the parts"
    )


def _of(document: Document, operation: str, method: str) -> list[Run]:
    return [run for run in document.runs if (run.operation, run.method) == (operation, method)]


def _name(run: Run) -> str:
    method = "" if run.method == "threads" else f" by {run.method}"
    every = f", flushed every {as_size(run.flush_every)}" if run.flush_every else ""
    return f"{run.operation} {as_size(run.block)}, depth {run.depth}{method}{every}"


def _flushing(run: Run) -> float:
    seconds = sum(one.seconds for one in run.rounds)
    return sum(one.flush_seconds for one in run.rounds) / seconds if seconds else 0.0


def _longest_flush(run: Run) -> str:
    known = [one.flush_max_seconds for one in run.rounds if one.flush_max_seconds is not None]
    return _milliseconds(max(known) * 1e6) if known else ""


def _percentiles(run: Run) -> tuple[float, float, float, float]:
    found = run.latency_us
    return found.p50, found.p90, found.p99, found.max


def _milliseconds(us: float) -> str:
    return f"{us / 1000:.2f} ms" if us < 9995 else f"{us / 1000:.0f} ms"
