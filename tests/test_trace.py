"""Where the time of a run goes: sums and timelines that agree with what was done."""

import json
from collections import defaultdict
from itertools import pairwise
from subprocess import PIPE, Popen

import pytest

from hupfast import write_image
from hupfast.errors import Refused
from hupfast.feed import feed, wait
from hupfast.run import Run
from hupfast.source import open_source
from hupfast.stages import Event
from hupfast.trace import check_trace, write_trace

KINDS = ["raw", "zst", "chunked"]


@pytest.fixture(params=KINDS)
def kind(request, image):
    return getattr(image, request.param)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.write_bytes(b"old " * (4 << 20))
    return path


def test_the_stages_of_a_report(image, kind, target):
    """Each stage has had every byte, and no thread was busy for longer than the run took."""
    report = write_image(kind, target)
    size = len(image.bytes)
    assert set(report.stages) == {"read", "decode", "write", "flush", "verify"}
    assert report.stages["read"].bytes == report.bytes_in == kind.stat().st_size
    for name in ("decode", "write", "verify"):
        assert report.stages[name].bytes == size
    assert report.stages["flush"].bytes >= report.zeroed
    for stage in report.stages.values():
        assert stage.busy > 0
        assert stage.busy + stage.input_wait + stage.output_wait <= stage.threads * report.seconds * 1.05
        assert stage.pieces >= 1
    assert report.stages["decode"].threads == report.workers
    assert report.stages["write"].threads == report.stages["verify"].threads == report.depth


def test_reading_a_pipe(image, kind, target):
    """What was peeked at, and what C reads behind it, are one stage with one thread at a time."""
    with Popen(["cat", kind], stdout=PIPE) as process:
        report = write_image(process.stdout.fileno(), target)
    stage = report.stages["read"]
    assert (stage.bytes, stage.threads) == (kind.stat().st_size, 1)


def test_who_waits_for_whom(image, target):
    """With a slow medium, the decoders wait for their output, and the medium's threads for their turn."""
    report = write_image(image.chunked, target, rate=16 << 20, memory=4 << 20, verify=False)
    assert report.stages["decode"].output_wait > 2 * report.stages["decode"].busy
    assert report.stages["write"].output_wait > report.stages["write"].input_wait


def test_a_timeline_file(image, kind, target, tmp_path):
    """A document of the Trace Event Format, whose spans cover the image once, and do not overlap on a thread."""
    report = write_image(kind, target, trace=tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text())
    events = [event for event in document["traceEvents"] if event["ph"] == "X"]
    names = {event["tid"]: event["args"]["name"] for event in document["traceEvents"] if event["ph"] == "M"}
    assert document["otherData"] == {"events_lost": 0}
    assert set(names.values()) >= {"read", "write", "verify"}
    assert all(event["ts"] >= 0 and event["ts"] + event["dur"] <= report.seconds * 1.05e6 for event in events)
    for stage in ("write", "verify"):
        covered = sorted((e["args"]["offset"], e["args"]["bytes"]) for e in events if e["name"] == stage)
        at = 0
        for offset, size in covered:
            assert offset == at
            at += size
        assert at == len(image.bytes)
    by_thread = defaultdict(list)
    for event in events:
        if event["name"] in ("write", "verify") or event["cat"] == "write":
            by_thread[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in by_thread.values():
        spans.sort()
        assert all(first[1] <= second[0] + 1 for first, second in pairwise(spans))


def test_events_that_do_not_fit(image, target):
    """The first ones are kept, and all are counted."""
    with Run("write", target, read_back=True, events=10) as run, open_source(image.chunked) as source:
        feed(run, source, None)
        wait(run, None)
        events, seen = run.events()
    assert len(events) == 10
    assert seen > 100


def test_no_events_unless_wanted(image, target):
    """They cost memory, so that none are kept by themselves."""
    with Run("write", target) as run, open_source(image.chunked) as source:
        feed(run, source, None)
        wait(run, None)
        assert run.events() == ([], 0)


def test_what_was_lost_is_told(tmp_path):
    """And a thread has the name of what it did first."""
    events = [Event("decode", "busy", 7, 0.5, 0.25, 0, 9), Event("flush", "busy", 7, 1.0, 0.5, 0, 0)]
    write_trace(tmp_path / "x", events, 5)
    document = json.loads((tmp_path / "x").read_text())
    assert document["otherData"] == {"events_lost": 3}
    assert document["traceEvents"][0]["args"] == {"name": "decode"}
    assert [(e["ts"], e["dur"]) for e in document["traceEvents"][1:]] == [(500_000, 250_000), (1_000_000, 500_000)]


@pytest.mark.parametrize("path", ["/no/such/folder/x", "/", "\0"])
def test_a_trace_that_cannot_be_written(image, target, path):
    """It is refused before a byte of the target changes."""
    before = target.read_bytes()
    with pytest.raises(Refused, match="trace"):
        write_image(image.chunked, target, trace=path)
    assert target.read_bytes() == before
    with pytest.raises(Refused):
        check_trace(path)
