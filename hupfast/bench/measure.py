"""
One measurement, from its target to its document.

    long write (or a short one to warm up) -> rounds of all runs, shuffled -> zeroing -> the whole pipeline -> stages

The long write comes first, since it wants a medium that has rested; behind it the part of the target that is used is
written, so that what is read is data. Each round takes the runs in another order: what drifts (temperature, a cache
that fills) then makes the spread larger, and no trend. Each run begins somewhere else: a card that stalls at some
places does so in a round now and then, and not in all rounds of those that are too slow to get past the first of them.
Zeroing and discarding come last, each on data that was just written, for they are for nothing where nothing is.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hupfast.bench.document import (
    Document,
    Pipeline,
    Round,
    Run,
    Seconds,
    Settings,
    Skipped,
    Stage,
    Storage,
    Sustained,
    microseconds,
)
from hupfast.bench.engine import SAMPLES, Moved, NotHere, SystemFault, move
from hupfast.bench.image import MadeImage, make_image
from hupfast.bench.machine import describe_board, judge, look, processors
from hupfast.bench.place import STEP, Place, placed
from hupfast.bench.plan import WARM_UP, Cell, Plan
from hupfast.bench.stages import measure_stages
from hupfast.bench.stats import latency, median, middle
from hupfast.bench.storage import find_medium
from hupfast.bench.sustained import find_knee, make_points
from hupfast.bench.verdict import best_settings, make_verdict
from hupfast.engine import MEMORY_DEFAULT, version
from hupfast.errors import TargetError

Tell = Callable[[str], None]
"""Called with what is done now, as half a sentence."""

_SEED = 6
_IMAGE_LEVEL = 3
_LEAD_IN = 0.125
"""Share of its time that a run goes on before it counts."""

_LONG_STEP = 5.0
_LONG_STEP_BYTES = 1 << 30
_ENOUGH_BEHIND = 15.0


@dataclass
class _Session:
    """What the parts of a measurement share."""

    place: Place
    plan: Plan
    tell: Tell
    skipped: dict[str, str]
    direct: bool = True
    sector: int = 0
    used: int = 0
    chaos: random.Random = field(default_factory=lambda: random.Random(_SEED))

    def stretch(self) -> tuple[int, int]:
        """Offset and length of the part for the next run: somewhere, but half of what it may use is left."""
        most = min(self.used, self.plan.run_bytes)
        offset = self.chaos.randrange((self.used - most // 2) // STEP + 1) * STEP
        return offset, min(self.used - offset, most)

    def move(self, operation: str, **options: object) -> Moved:
        """As engine.move, on the target."""
        moved = move(self.place.path, operation, **options)  # type: ignore[arg-type]
        self.direct = self.direct and moved.direct
        self.sector = max(self.sector, moved.sector)
        return moved


def measure(
    target: str,
    plan: Plan,
    *,
    size: int | None = None,
    image: str | None = None,
    memory: int = MEMORY_DEFAULT,
    root: str = "/",
    profile: str | None = None,
    tell: Tell = lambda text: None,
) -> Document:
    """
    Measure. What the first `size` bytes of a device or file hold is lost; of a folder, nothing is.

    target: device, file or folder. size: bytes, None: those of the plan or what there is. image: file to write for the
    whole pipeline, None: one is made. memory: budget of writing it. root: where /sys and /proc are. profile: name of
    the board's. Raises: TargetError, SourceError before anything is done; MediumError, HupfastError, KeyboardInterrupt.
    """
    base = Path(root)
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    before = look(base)
    with placed(target, size, plan.size) as place:
        if image is not None:
            _check_image(image, place, memory)
        session = _Session(place, plan, tell, dict(plan.left_out))
        sustained = _warm_up(session)
        runs = _all_rounds(session)
        pipeline = _whole(session, runs, image, memory)
        medium = find_medium(target, root)
    cpus = processors()
    stages = measure_stages(plan.levels, cpus, rounds=plan.rounds, seconds=plan.stage, tell=tell)
    spreads = {Cell(r.operation, r.block, r.depth, r.method, r.flush_every).name: r.rate.relative for r in runs}
    spreads |= {_stage_name(stage): stage.rate.relative for stage in stages}
    return Document(
        hupfast=version(),
        date=date,
        board=describe_board(base, profile),
        storage=Storage(
            path=target,
            kind=medium.kind,
            model=medium.model,
            serial=medium.serial,
            cid=medium.cid,
            size=place.whole,
            sector=session.sector,
            health=medium.health,
            filesystem=medium.filesystem,
            direct=session.direct,
        ),
        settings=Settings(plan.mode, session.used, plan.rounds, plan.sustained, plan.in_flight, memory),
        noise=judge(before, look(base), cpus, spreads),
        skipped=tuple(Skipped(what, why) for what, why in session.skipped.items()),
        runs=runs,
        sustained=sustained,
        stages=stages,
        pipeline=pipeline,
        verdict=make_verdict(runs, stages, pipeline, medium.kind, medium.model, sustained),
    )


def _check_image(image: str, place: Place, memory: int) -> None:
    """Refuse at once what could not be written in the end."""
    from hupfast.examine import examine, known_size
    from hupfast.source import open_source

    with open_source(image, memory=memory) as source:
        size = known_size(source, examine(source, memory - source.memory), None)
    if size is not None and size > place.size:
        raise TargetError(f"{image} has {size} bytes unpacked, and {place.size} are used of {place.name}: set --size")


def _stage_name(stage: Stage) -> str:
    level = "" if stage.level is None else f" of level {stage.level}"
    return f"{stage.name}{level} on {stage.threads}"


# ---- the long write, and what it leaves ----


def _warm_up(session: _Session) -> Sustained | None:
    """The long write of the plan, or a short one. Behind it, session.used bytes of the target are written."""
    plan, size = session.plan, session.place.size
    sustained, written = _long_write(session) if plan.sustained else (None, 0)
    if not written:
        session.tell("warming up")
        written = session.move(
            "write", block=plan.block, depth=plan.depth, length=size, total=size, limit=plan.warm_up or WARM_UP
        ).bytes
    session.used = min(size, max(written // STEP * STEP, STEP))
    if written < session.used:
        session.move("write", block=plan.block, depth=plan.depth, length=session.used, total=session.used)
    return sustained


def _long_write(session: _Session) -> tuple[Sustained | None, int]:
    """In steps of some seconds, so that it can end when the knee was seen."""
    plan, size = session.plan, session.place.size
    ends: list[float] = []
    seconds, written = 0.0, 0
    while seconds < plan.sustained:
        session.tell(f"a long write, {seconds:.0f} of {plan.sustained:g} s")
        limit = min(_LONG_STEP, plan.sustained - seconds) if plan.until_knee else plan.sustained
        moved = session.move(
            "write",
            block=plan.block,
            depth=plan.depth,
            length=size,
            first=written % size,  # on and on: what is written again and again may never leave a cache
            total=_LONG_STEP_BYTES if plan.until_knee else min(8 * _LONG_STEP_BYTES, SAMPLES * plan.block),
            limit=max(limit, 0.001),
        )
        ends += [seconds + start + took for start, took in zip(moved.starts, moved.latencies, strict=True)]
        seconds += moved.seconds
        written += moved.bytes
        if not plan.until_knee or written >= 32 * _LONG_STEP_BYTES:
            break
        if _seen_enough(make_points(ends, plan.block, seconds, written)):
            break
    if not written:
        return None, 0
    points = make_points(ends, plan.block, seconds, written)
    knee = find_knee(points)
    found = Sustained(plan.block, plan.depth, tuple(points), knee.burst_rate, knee.sustained_rate, knee.bytes)
    return found, written


def _seen_enough(points: list[tuple[float, int]]) -> bool:
    """Whether there is a knee, and enough behind it to know the rate there."""
    knee = find_knee(points)
    if knee.bytes is None:
        return False
    return points[-1][0] - next(at for at, done in points if done >= knee.bytes) >= _ENOUGH_BEHIND


# ---- the runs ----


def _all_rounds(session: _Session) -> tuple[Run, ...]:
    cells = session.plan.cells
    rounds: dict[Cell, list[Round]] = {cell: [] for cell in cells}
    on_data = [cell for cell in cells if cell.operation in ("write", "read")]
    on_fresh = [cell for cell in cells if cell not in on_data]
    for part in (on_data, on_fresh):
        for number in range(session.plan.rounds):
            session.chaos.shuffle(part)
            for cell in part:
                _one_round(session, cell, number, rounds[cell])
    skipped = session.skipped  # also what went once, and then no more
    return tuple(_run_of(cell, rounds[cell]) for cell in cells if _what(cell) not in skipped)


def _what(cell: Cell) -> str:
    """What is left out together."""
    return cell.method if cell.method != "threads" else cell.operation


def _one_round(session: _Session, cell: Cell, number: int, into: list[Round]) -> None:
    what = _what(cell)
    if what in session.skipped:
        return
    session.tell(f"{cell.name}, round {number + 1} of {session.plan.rounds}")
    try:
        moved = _on_fresh_data(session, cell) if cell.operation in ("zero", "discard") else _led_in(session, cell)
    except (NotHere, SystemFault) as reason:
        if isinstance(reason, SystemFault) and cell.method == "threads":
            raise  # else it is a comparison, and not worth all that was measured before
        session.skipped[what] = str(reason)
        return
    latencies = microseconds(took * 1e6 for took in moved.latencies)
    flushes = moved.flush_seconds, moved.flushes
    into.append(Round(moved.bytes, moved.seconds, *flushes, latencies, moved.flush_max_seconds))


def _on_fresh_data(session: _Session, cell: Cell) -> Moved:
    """Zero or discard what was just written."""
    limit = session.plan.run
    offset, length = session.stretch()
    filled = session.move("write", block=STEP, depth=1, offset=offset, length=length, total=length, limit=limit)
    length = max(filled.bytes // STEP * STEP, STEP)
    return session.move(
        cell.operation, block=cell.block, depth=cell.depth, offset=offset, length=length, total=length, limit=limit
    )


def _led_in(session: _Session, cell: Cell) -> Moved:
    """Write or read. What the run before has left behind, and a rest before this one, count for neither."""
    plan = session.plan

    def go(limit: float, total: int | None, flush_every: int = 0) -> Moved:
        offset, length = session.stretch()
        return session.move(
            cell.operation,
            method=cell.method,
            block=cell.block,
            depth=cell.depth,
            offset=offset,
            length=length,
            total=length if total is None else total,
            limit=limit,
            flush_every=flush_every,
        )

    before = go(plan.run * _LEAD_IN, None)
    if not cell.flush_every:
        return go(plan.run, None)
    # Whole intervals, and one at least, however slow the medium is: else its flush would come too soon.
    expected = min(before.bytes / before.seconds * plan.run, plan.run_bytes)
    return go(0.0, max(int(expected) // cell.flush_every, 1) * cell.flush_every, cell.flush_every)


def _run_of(cell: Cell, rounds: list[Round]) -> Run:
    return Run(
        cell.operation,
        cell.method,
        cell.block,
        cell.depth,
        cell.flush_every,
        tuple(rounds),
        middle([one.rate for one in rounds]),
        latency([took for one in rounds for took in one.latencies_us]),
    )


# ---- the whole pipeline ----


def _whole(session: _Session, runs: tuple[Run, ...], image: str | None, memory: int) -> Pipeline | None:
    """Write an image with the best settings, as `hupfast write` does: once, and again while there are rounds."""
    from hupfast.writer import write_image

    plan, chosen = session.plan, best_settings(runs)
    made: MadeImage | None = None
    if image is None:
        if not plan.image:
            return None
        session.tell("making an image")
        about = min(plan.image_bytes, session.place.size, int(plan.image * chosen.rate.median))
        made = make_image(max(about, STEP), _IMAGE_LEVEL)
    reports = []
    for number in range(1 if plan.mode == "quick" else plan.rounds):
        session.tell(f"writing {'the made image' if image is None else image}, round {number + 1}")
        source = image if made is None else made.again()
        assert source is not None
        reports.append(write_image(source, session.place.path, memory=memory, block=chosen.block, depth=chosen.depth))
    seconds = [one.seconds for one in reports]
    report = sorted(reports, key=lambda one: one.seconds)[(len(reports) - 1) // 2]
    zeroes = made.zero_share if made else report.zeroed / report.image_size if report.image_size else 0.0
    return Pipeline(
        image="made" if image is None else os.path.basename(image),
        image_size=report.image_size,
        packed_size=report.bytes_in,
        zero_share=zeroes,
        seconds=Seconds(median(seconds), middle(seconds).spread, tuple(seconds)),
        report=report.as_dict(),
    )
