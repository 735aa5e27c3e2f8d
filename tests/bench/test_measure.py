"""Whole measurements, small ones: of a file, of a loop device, and of a simulated card whose rate is known."""

import errno
import json
import os
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from hupfast import write_image
from hupfast.bench import measure as module
from hupfast.bench.document import parse
from hupfast.bench.engine import Moved, NotHere, SystemFault
from hupfast.bench.image import make_image
from hupfast.bench.machine import judge, look, processors
from hupfast.bench.measure import measure
from hupfast.bench.plan import MODES, Cell, make_plan
from hupfast.bench.predict import predict
from hupfast.errors import Cancelled, MediumError, SourceError, TargetError, UsageError

MIB = 2**20
CELLS = (
    Cell("write", MIB, 4),
    Cell("write", 65536, 1),
    Cell("write", MIB, 4, "io_uring"),
    Cell("write", MIB, 2, flush_every=4 * MIB),
    Cell("read", MIB, 4),
    Cell("zero", 4 * MIB, 1),
    Cell("discard", 4 * MIB, 1),
)


def tiny(**changes: object):
    """A plan of a second."""
    plan = replace(
        make_plan("quick", memory=32 * MIB),
        cells=CELLS,
        rounds=2,
        warm_up=0.1,
        run=0.1,
        run_bytes=8 * MIB,
        sustained=0.1,
        stage=0.005,
        image_bytes=8 * MIB,
    )
    return replace(plan, **changes)


def check_whole(document):
    """All that the plan names is there, or why it is not; and it is a document."""
    assert parse(json.dumps(document.as_dict()), "x") == document
    skipped = {one.what for one in document.skipped}
    assert skipped <= {"io_uring", "discard"}
    found = {(run.operation, run.block, run.depth, run.method, run.flush_every) for run in document.runs}
    for cell in CELLS:
        there = (cell.operation, cell.block, cell.depth, cell.method, cell.flush_every) in found
        assert there != (cell.method in skipped or cell.operation in skipped)
    for run in document.runs:
        assert len(run.rounds) == 2
        assert all(one.bytes >= run.block and one.seconds > 0 for one in run.rounds)
        assert all(len(one.latencies_us) == one.bytes // run.block for one in run.rounds)
        assert run.rate.median > 0
        assert bool(run.rounds[0].flushes) == (run.operation != "read")
    assert document.pipeline is not None
    assert document.pipeline.report["verified"]
    assert {stage.name for stage in document.stages} == {"decompress", "sha256", "xxh3"}


def test_folder(tmp_path):
    """A folder is measured with a file that is gone afterwards; the long write has its points."""
    document = measure(str(tmp_path), tiny(), size=16 * MIB)
    check_whole(document)
    assert document.sustained is not None
    assert document.sustained.points[0] == (0.0, 0)
    assert document.storage.filesystem
    assert os.listdir(tmp_path) == []


def test_flushes_come_when_they_are_due(tmp_path):
    """A run with flushes in between has whole intervals, and one at least, even where its time is over before."""
    cell = Cell("write", MIB, 1, flush_every=16 * MIB)
    document = measure(str(tmp_path), tiny(cells=(Cell("write", MIB, 1), cell), run=0.001), size=8 * MIB)
    flushed = next(run for run in document.runs if run.flush_every)
    assert all(one.bytes % (16 * MIB) == 0 and one.bytes for one in flushed.rounds)
    assert all(one.flushes == one.bytes // (16 * MIB) for one in flushed.rounds)
    for one in flushed.rounds:
        assert one.flush_max_seconds is not None
        assert one.flush_seconds / one.flushes <= one.flush_max_seconds <= one.flush_seconds


def test_device(device):
    """A loop device is measured, whatever its sectors are."""
    document = measure(str(device), tiny(sustained=0.0))
    check_whole(document)
    assert document.storage.kind == "loop"
    assert document.storage.sector in (512, 4096)
    assert document.sustained is None


def test_image(image, tmp_path):
    """The whole of writing is measured with an image of the user's, and its packed size is the file's."""
    document = measure(str(tmp_path), tiny(), size=16 * MIB, image=str(image.chunked))
    assert document.pipeline is not None
    assert (document.pipeline.image, document.pipeline.image_size) == (image.chunked.name, len(image.bytes))
    assert document.pipeline.packed_size == image.chunked.stat().st_size


def test_wrong_image(image, tmp_path):
    """An image that does not fit, or is not there, is refused before anything is measured."""
    with pytest.raises(TargetError, match="set --size"):
        measure(str(tmp_path), tiny(), size=8 * MIB, image=str(image.chunked))
    with pytest.raises(SourceError):
        measure(str(tmp_path), tiny(), size=8 * MIB, image=str(tmp_path / "none"))


def test_without_ring(tmp_path, monkeypatch):
    """Where there is no io_uring, it is asked for once, left out, and said so."""
    asked, real = count(), module.move

    def move(target, operation, **options):
        if options.get("method") == "io_uring":
            next(asked)
            raise NotHere("forbidden here")
        return real(target, operation, **options)

    monkeypatch.setattr(module, "move", move)
    document = measure(str(tmp_path), tiny(), size=8 * MIB)
    assert ("io_uring", "forbidden here") in [(one.what, one.why) for one in document.skipped]
    assert next(asked) == 1
    assert all(run.method == "threads" for run in document.runs)


@pytest.mark.parametrize(("before", "number"), [(0, errno.EINVAL), (1, errno.EIO), (2, errno.EAGAIN)])
def test_a_ring_that_fails(tmp_path, monkeypatch, before, number):
    """An io_uring that fails, sooner or later, is left out with what it said; all else is measured."""
    done, real = count(), module.move

    def move(target, operation, **options):
        if options.get("method") == "io_uring" and next(done) >= before:
            raise SystemFault("io_uring_enter failed", errno=number)
        return real(target, operation, **options)

    monkeypatch.setattr(module, "move", move)
    document = measure(str(tmp_path), tiny(), size=8 * MIB)
    check_whole(document)
    assert ("io_uring", "io_uring_enter failed") in [(one.what, one.why) for one in document.skipped]
    assert next(done) == before + 1


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("threads", SystemFault("no memory")),
        ("io_uring", MediumError("writing failed")),
        ("io_uring", Cancelled("interrupted")),
    ],
)
def test_what_fails_otherwise(tmp_path, monkeypatch, method, error):
    """A medium that fails ends the measurement, by whichever method; so does the system in a run that must be."""
    real = module.move

    def move(target, operation, **options):
        if options.get("method") == method:
            raise error
        return real(target, operation, **options)

    monkeypatch.setattr(module, "move", move)
    with pytest.raises(type(error), match=str(error)):
        measure(str(tmp_path), tiny(), size=8 * MIB)


def test_what_goes_once_only(tmp_path, monkeypatch):
    """What a medium did in one round and refused in the next is left out, and has no figures."""
    done, real = count(), module.move

    def move(target, operation, **options):
        if operation == "discard" and next(done):
            raise NotHere("no more")
        return real(target, operation, **options)

    monkeypatch.setattr(module, "move", move)
    document = measure(str(tmp_path), tiny(), size=8 * MIB)
    assert ("discard", "no more") in [(one.what, one.why) for one in document.skipped]
    assert "discard" not in {run.operation for run in document.runs}


def test_rounds_are_shuffled(tmp_path, monkeypatch):
    """Each round takes the runs in another order; zeroing comes when all else is done, on data."""
    told: list[str] = []
    measure(str(tmp_path), tiny(rounds=4), size=8 * MIB, tell=told.append)
    runs = [text for text in told if ", round " in text and text.split()[0] in ("write", "read", "zero", "discard")]
    orders = [tuple(text.split(",")[0] for text in runs if text.endswith(f"round {n} of 4")) for n in (1, 2, 3, 4)]
    assert len(set(orders)) > 1
    assert len({tuple(sorted(order)) for order in orders}) == 1
    last_data = max(i for i, text in enumerate(runs) if text.startswith(("write", "read")))
    assert all(i > last_data for i, text in enumerate(runs) if text.startswith(("zero", "discard")))


def test_runs_are_all_over_the_target(tmp_path, monkeypatch):
    """Runs begin at many places, so that no place of the medium is in all of them, and stay where data is."""
    places, real = [], module.move

    def move(target, operation, **options):
        if "offset" not in options:
            return real(target, operation, **options)
        places.append((options["offset"] // MIB, options["length"] // MIB))
        return real(target, operation, **options)

    monkeypatch.setattr(module, "move", move)
    measure(str(tmp_path), tiny(cells=(Cell("write", MIB, 4),), rounds=12, image=0.0, sustained=0.0), size=16 * MIB)
    assert {offset for offset, _ in places} == {0, 4, 8, 12}
    assert all(4 <= length <= 8 and offset + length <= 16 for offset, length in places)


def made_up(monkeypatch, step):
    """Let a medium be made up that takes a tenth of a second for whatever is asked for; steps of a long write too."""
    calls = []

    def move(target, operation, **options):
        calls.append(options)
        total = options["length"] if options["total"] is None else options["total"]
        count = total // options["block"]
        starts = [0.1 * number / count for number in range(count)]
        return Moved(total, 0.1, 0.0, 1, 0.0, True, 512, starts, [0.1 / count] * count)

    monkeypatch.setattr(module, "move", move)
    monkeypatch.setattr(module, "_LONG_STEP_BYTES", step)
    return calls


LONG = {"cells": (Cell("write", MIB, 4),), "rounds": 1, "image": 0.0, "sustained": 0.5, "until_knee": True}


def test_a_long_write_goes_on(tmp_path, monkeypatch):
    """Each step of a long write begins where the one before has ended, and none ends at the end of what is used."""
    calls = made_up(monkeypatch, 6 * MIB)
    document = measure(str(tmp_path), tiny(**LONG), size=16 * MIB)
    steps = [call for call in calls if "first" in call]
    assert [step["first"] // MIB for step in steps] == [0, 6, 12, 2, 8]
    assert all((step["length"], step["total"]) == (16 * MIB, 6 * MIB) for step in steps)
    assert document.sustained is not None
    assert document.sustained.points[-1] == (pytest.approx(0.5), 30 * MIB)
    assert document.settings.size == 16 * MIB


def test_a_long_write_over_little(tmp_path, monkeypatch):
    """A part that is smaller than a step is gone over several times in each."""
    calls = made_up(monkeypatch, 6 * MIB)
    measure(str(tmp_path), tiny(**LONG), size=4 * MIB)
    steps = [call for call in calls if "first" in call]
    assert [step["first"] // MIB for step in steps] == [0, 2, 0, 2, 0]
    assert {step["total"] for step in steps} == {6 * MIB}


@pytest.mark.parametrize("mode", MODES)
def test_plans(mode):
    """Every mode has what must be there, fits the memory, and names each run only once."""
    plan = make_plan(mode, memory=8 * MIB)
    assert {cell.operation for cell in plan.cells} == {"write", "read", "zero", "discard"}
    assert "io_uring" in {cell.method for cell in plan.cells}
    assert all(cell.block * cell.depth <= 8 * MIB for cell in plan.cells)
    assert len(set(plan.cells)) == len(plan.cells)


def test_full_plan():
    """The full plan has all block sizes and depths, by writing and reading, and all flush intervals."""
    cells = make_plan("full", memory=64 * MIB).cells
    for operation in ("write", "read"):
        plain = {
            (c.block, c.depth) for c in cells if (c.operation, c.method, c.flush_every) == (operation, "threads", 0)
        }
        assert plain == {(65536 << step, depth) for step in range(7) for depth in (1, 2, 4, 8, 16)}
    assert {c.flush_every // MIB for c in cells} == {0, 1, 4, 16, 64}


def test_what_takes_more_memory_is_said(tmp_path):
    """Blocks and depths that --in-flight forbids are named in the document, as are the settings that did so."""
    plan = make_plan("full", memory=32 * MIB)
    assert plan.left_out == (("4096K x 16", "more than 32M in flight, which --in-flight allows"),)
    document = measure(str(tmp_path), tiny(left_out=plan.left_out, in_flight=plan.in_flight), size=8 * MIB)
    assert document.skipped[0].what == "4096K x 16"
    assert (document.settings.in_flight, document.settings.seconds) == (32 * MIB, 0.1)
    assert document.settings.memory == 16 * MIB


@pytest.mark.parametrize("mode", MODES)
def test_the_image_does_not_grow_with_the_target(tmp_path, monkeypatch, mode):
    """However fast a medium is and however much of it is used, the image that each round writes is no larger."""
    sizes, real = [], module.make_image
    made_up(monkeypatch, 6 * MIB)
    monkeypatch.setattr(module, "make_image", lambda size, level: sizes.append(size) or real(4 * MIB, level))
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 2**34)
    plan = replace(make_plan(mode, memory=16 * MIB, rounds=1, seconds=0.0), stage=0.005, levels=(3,))
    measure(str(tmp_path / "file"), plan)
    assert 128 * MIB <= sizes[0] <= 256 * MIB


@pytest.mark.parametrize(
    ("mode", "in_flight", "usual"),
    [
        ("full", 16 * MIB, (MIB, 4)),
        ("full", 3 * MIB, (MIB, 2)),
        ("full", 300 * 1024, (262144, 1)),
        ("default", 2 * MIB, (MIB, 1)),
        ("default", 65536, (65536, 1)),
        ("quick", MIB, (MIB, 1)),
    ],
)
def test_the_long_write_keeps_to_in_flight(tmp_path, monkeypatch, mode, in_flight, usual):
    """The long write and warming up have no more in flight than is allowed, and are one of the measured settings."""
    calls = made_up(monkeypatch, 6 * MIB)
    plan = replace(make_plan(mode, memory=in_flight, rounds=1, seconds=0.5), image=0.0, stage=0.005, levels=(3,))
    document = measure(str(tmp_path), plan, size=8 * MIB)
    assert document.sustained is not None
    assert (document.sustained.block, document.sustained.depth) == usual
    assert usual in {(run.block, run.depth) for run in document.runs if run.operation == "write"}
    assert all(call["block"] * call["depth"] <= in_flight for call in calls)


@pytest.mark.parametrize("mode", MODES)
def test_a_warm_up_ends(mode):
    """Without a long write, what comes first has an end, whatever --size is."""
    assert 0 < make_plan(mode, memory=8 * MIB, seconds=0.0).warm_up <= 5


def test_plan_without_memory():
    """A budget that no write fits is wrong usage."""
    with pytest.raises(UsageError):
        make_plan("quick", memory=1000)


def test_made_image(tmp_path):
    """The made image is one that the writer takes, as often as it is asked for, and is what it says."""
    made = make_image(11 * MIB, 1)
    for _ in range(2):
        (tmp_path / "out").unlink(missing_ok=True)
        report = write_image(made.again(), tmp_path / "out", create=True)
        assert (report.format, report.image_size, report.bytes_in) == ("chunked", made.image_size, made.packed_size)
    data = (tmp_path / "out").read_bytes()
    zero = sum(not any(data[at : at + MIB]) for at in range(0, len(data), MIB))
    assert made.zero_share == zero / 11


def test_prediction_on_a_card_that_stalls(tmp_path, monkeypatch):
    """A long write over all of a card has its erase stalls, and so has the prediction, whatever the short runs met."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    from benchmarks.stalls import stalling_card, stalling_missing

    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    if reason := stalling_missing():
        pytest.skip(reason)
    cells = (Cell("write", MIB, 4), Cell("write", MIB, 8), Cell("read", MIB, 4), Cell("zero", 4 * MIB, 1))
    plan = tiny(cells=cells, rounds=3, run=0.1, run_bytes=64 * MIB, sustained=6.0, image=0.0)  # two times over all
    with stalling_card(tmp_path, 64 * MIB, 40e6) as medium:
        check_prediction(medium, plan)


def test_prediction_on_a_card(tmp_path, monkeypatch):
    """On a simulated card of a known rate, that rate is found, and an image takes as long as was predicted."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])  # the benchmarks are not installed
    from benchmarks.device import card, card_missing

    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    if reason := card_missing():
        pytest.skip(reason)
    rate = 20_000_000  # it has a quarter of a second in store, which must be little beside the long write
    cells = (Cell("write", MIB, 4), Cell("read", MIB, 4), Cell("zero", 4 * MIB, 1))
    plan = tiny(cells=cells, rounds=1, run=1.2, run_bytes=64 * MIB, sustained=4.0, image=0.0)
    with card(tmp_path, 96 * MIB, rate, "data") as medium:
        document = check_prediction(medium, plan)
    assert document.verdict.limit == "medium"
    assert document.verdict.rates.write == pytest.approx(rate, rel=0.1)


def check_prediction(medium, plan):
    """
    Measure, predict the time of an image as large as the medium, and write it; both parts must be within a tenth.

    Once more when they are not, and the processor was not there for it: throttled, or busy with something else.
    """
    document, noise, parts = try_prediction(medium, plan)
    told = [(noise.busy_elsewhere, *parts)]
    if not all(map(_is_right, parts)) and (noise.throttled or noise.busy_elsewhere > 0.1):
        document, noise, parts = try_prediction(medium, plan)
        told.append((noise.busy_elsewhere, *parts))
    assert all(map(_is_right, parts)), told
    return document


def try_prediction(medium, plan):
    """The document, the worst noise of measuring and of writing, and of each part: name, seconds predicted, taken."""
    document = measure(str(medium.path), plan)
    made = make_image(medium.size, 3)
    guess = predict(document, made.image_size, made.packed_size, made.zero_share, level=3)
    before = look(Path("/"))
    report = write_image(made, medium.path, block=document.verdict.block, depth=document.verdict.depth)
    writing = judge(before, look(Path("/")), processors(), {})
    noise = max(document.noise, writing, key=lambda one: (one.throttled, one.busy_elsewhere))
    return (
        document,
        noise,
        (
            ("write", guess.write_seconds, report.write_seconds + report.flush_seconds),
            ("verify", guess.verify_seconds, report.verify_seconds),
        ),
    )


def _is_right(part):
    return part[1] == pytest.approx(part[2], rel=0.1)
