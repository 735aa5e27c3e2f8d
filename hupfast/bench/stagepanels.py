"""From a document to the drawings of where the time goes: the stages alone, and a whole update."""

from __future__ import annotations

from collections.abc import Mapping

from hupfast.bench import plots
from hupfast.bench.document import Document
from hupfast.bench.panels import Panel
from hupfast.bench.plots import GIB, Line, Part
from hupfast.bench.units import seconds_text
from hupfast.bench.verdict import mb


def decompression(name: str, document: Document) -> list[Panel]:
    """Decompression against the number of threads, a line for each level, beside what the medium takes."""
    stages = [stage for stage in document.stages if stage.name == "decompress"]
    if not stages:
        return []
    threads = sorted({stage.threads for stage in stages})
    lines = []
    for number, level in enumerate(sorted({stage.level for stage in stages}, key=lambda level: (level is None, level))):
        here = sorted((stage for stage in stages if stage.level == level), key=lambda stage: stage.threads)
        lines.append(
            Line(
                f"decompress-{level}",
                "decompress" if level is None else f"level {level}",
                f"d{min(2 * number, 5)}",
                [threads.index(stage.threads) for stage in here],
                [stage.rate.median for stage in here],
                [stage.rate.spread for stage in here],
                number,
            )
        )
    top = max(stage.rate.median + stage.rate.spread for stage in stages)
    rates = document.verdict.rates
    if rates.lasting:
        lines.append(Line("medium", "the medium", "warn", [-0.4, len(threads) - 0.6], [rates.lasting] * 2))
        top = max(top, rates.lasting)
    drawing = plots.rates(
        name + "d", "Decompression", lines, top=top, labels=[str(count) for count in threads], xlabel="threads"
    )
    medium = "write speed" + (" in the long run" if rates.sustained else "")
    return [Panel(drawing, f"Bytes of the image that come out. The line of the medium is its {medium}.")]


def stage_times(name: str, document: Document) -> list[Panel]:
    """How long each stage takes for a GiB of image when it is alone: the longest bar is the limit."""
    rates = document.verdict.rates
    ratio = packing(document)
    rows: list[tuple[str, float, float]] = []
    for label, key, share in (
        ("SHA-256 of the file", "sha256", 1 / ratio),
        ("decompress", "decompress", 1.0),
        ("XXH3", "xxh3", 1.0),
        ("write", "lasting", 1.0),
        ("read back", "read", 1.0),
    ):
        rate = getattr(rates, key)
        if rate:
            rows.append((label, GIB * share / rate, rate))
    if not rows:
        return []
    longest = max(seconds for _, seconds, _ in rows[:4])
    parts = [
        (label, [Part(0, seconds, "warn" if seconds == longest and label != "read back" else "c0")])
        for label, seconds, _ in rows
    ]
    marks = [f"{seconds_text(seconds)}  ({mb(rate)})" for _, seconds, rate in rows]
    drawing = plots.bars(
        name + "g", "One GiB of image, each stage alone", parts, unit=1, xlabel="seconds",
        end=max(seconds for _, seconds, _ in rows) * 1.35, marks=marks,
    )  # fmt: skip
    packed = f" The image is taken to be {ratio:.1f} times as large as its file." if ratio != 1 else ""
    return [Panel(drawing, f"All but the reading back happen at the same time, so the longest is the limit.{packed}")]


def packing(document: Document) -> float:
    """Raw bytes for each packed one: of the image that was written, else of the first level measured, else 1."""
    pipeline = document.pipeline
    if pipeline and pipeline.packed_size and pipeline.image_size:
        return pipeline.image_size / pipeline.packed_size
    return next((stage.ratio for stage in document.stages if stage.ratio), 1.0)


def phases(document: Document) -> list[tuple[str, float, str]]:
    """Seconds of an update's phases, one after another, of the round whose report the document has, and their ink."""
    if document.pipeline is None:
        return []
    report = document.pipeline.report
    parts = [
        (label, _number(report.get(key)), color)
        for label, key, color in (
            ("write", "write_seconds", "c0"),
            ("flush", "flush_seconds", "c1"),
            ("read back", "verify_seconds", "c2"),
        )
    ]
    rest = _number(report.get("seconds")) - sum(seconds for _, seconds, _ in parts)
    return [*parts, ("the rest", max(rest, 0.0), "faint")]


def waits(document: Document) -> list[tuple[str, float, str]]:
    """What a decoder did while the image was written, in seconds, the mean of all of them."""
    if document.pipeline is None:
        return []
    report = document.pipeline.report
    stages = report.get("stages")
    decode = stages.get("decode") if isinstance(stages, Mapping) else None
    writing = _number(report.get("write_seconds"))
    if not isinstance(decode, Mapping) or not _number(decode.get("threads")) or not writing:
        return []
    threads = _number(decode.get("threads"))
    source = min(_number(decode.get("input_wait")) / threads, writing)
    medium = min(_number(decode.get("output_wait")) / threads, writing - source)
    return [
        ("busy", writing - source - medium, "c3"),
        ("waits for the image", source, "c4"),
        ("waits for the medium", medium, "c5"),
    ]


def waterfall(name: str, document: Document) -> list[Panel]:
    """Where the time of a whole update goes: its phases, each where the one before ended, then the decoders' share."""
    steps = phases(document)
    if not any(seconds for _, seconds, _ in steps) or document.pipeline is None:
        return []
    rows: list[tuple[str, list[Part]]] = []
    clock = 0.0
    for label, seconds, color in steps:
        rows.append((label, [Part(clock, seconds, color)]))
        clock += seconds
    marks = [seconds_text(seconds) for _, seconds, _ in steps]
    inner, at = [], 0.0
    for label, seconds, color in waits(document):
        inner.append(Part(at, seconds, color, label))
        at += seconds
    if inner:
        rows.insert(1, ("decoders", inner))
        marks.insert(1, "")
    drawing = plots.bars(
        name + "w", "Where an update spends its time", rows, unit=1, xlabel="seconds", end=clock, marks=marks
    )
    pipeline = document.pipeline
    size = f"{pipeline.image_size / 2**20:.0f} MiB of image ({pipeline.packed_size / 2**20:.0f} MiB packed)"
    return [Panel(drawing, f"{size} in {seconds_text(pipeline.seconds.median)}.")]


def _number(value: object) -> float:
    """A number of a report, which no schema holds to anything; what is none, or less than nothing, is 0."""
    return max(0.0, float(value)) if isinstance(value, int | float) else 0.0
