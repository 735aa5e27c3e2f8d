"""benchmarks/report.py: tables that line up, and sizes that can be read."""

import json
from pathlib import Path

import pytest

from benchmarks.contenders import Contender
from benchmarks.fetched import Fetch
from benchmarks.report import device_table, fetch_table, mebibytes, save, seconds, table, verdict_table
from benchmarks.stats import Spread
from benchmarks.streams import STREAM
from benchmarks.targets import Goal, Verdict


def test_columns_line_up() -> None:
    """Numbers end in the same column, whatever their length."""
    lines = table(["who", "s", ""], [["short", "1.0", "x"], ["much longer", "100.25", "remark"]]).splitlines()

    assert lines == [
        "who               s",
        "-----------  ------  ------",
        "short           1.0  x",
        "much longer  100.25  remark",
    ]


@pytest.mark.parametrize(("size", "text"), [(None, "-"), (0, "0.0"), (12.34 * 2**20, "12.3"), (1273.4 * 2**20, "1273")])
def test_mebibytes(size: float | None, text: str) -> None:
    """A tenth where it says something; unknown is not zero."""
    assert mebibytes(size) == text


def test_seconds_of_several_runs() -> None:
    """Median and bounds; one run has no bounds."""
    assert seconds(Spread(1.5, 1.25, 2), 3) == "1.50 (1.25-2.00)"
    assert seconds(Spread(1.5, 1.5, 1.5), 1) == "1.50"


def test_who_is_absent_stands_in_its_own_tables() -> None:
    """One that could not run is told of where it would have run, and nowhere else."""
    missing = [
        Contender(name, name, lambda target, pattern: [], None, absent="not installed", where=where)
        for name, where in (("peer", ""), ("streamed", STREAM))
    ]
    rows = {name: device_table(name, missing, {}, size=1, zeroes="data") for name in ("fast", STREAM)}

    assert ("peer" in rows["fast"], "streamed" in rows["fast"]) == (True, False)
    assert "peer" not in rows[STREAM]


def test_each_verdict_is_told_with_its_ratio() -> None:
    """State, value, bound, and whether the stricter bound is met too."""
    goal = Goal("chunked: wall / zstd", "x", 0.85, lambda _: (0.8, ""), wanted=0.75)
    text = verdict_table([Verdict(goal, 0.8, "0.80 s / 1.00 s"), Verdict(goal, None, reason="not there")])

    met, unmeasured = text.splitlines()[2:]

    assert met.split("  ")[0] == "chunked: wall / zstd"
    assert "0.80" in met
    assert "<= 0.85" in met
    assert "wanted 0.75: not met" in met
    assert "not measured" in unmeasured
    assert "not there" in unmeasured


def test_saved_twice(tmp_path: Path) -> None:
    """By date, and as the latest."""
    result = {"date": "2026-01-02T03:04:05Z", "samples": []}

    path = save(tmp_path, result)

    assert path.name == "results-2026-01-02T030405Z.json"
    assert json.loads(path.read_text()) == json.loads((tmp_path / "latest.json").read_text()) == result


def test_what_updates_fetched() -> None:
    """Sizes in MiB, the share of the bundle, and a failure beside it."""
    mib = 1 << 20
    rows = [
        Fetch("whole", "not cut", 100 * mib, 100 * mib, 101 * mib, 5),
        Fetch("cut", "cut off", 100 * mib, 105 * mib, 108 * mib, 9, 2 * mib, 3 * mib, 4, failure="WRONG BYTES"),
    ]

    whole, cut = (line.split() for line in fetch_table(rows).splitlines()[2:])

    assert whole == ["not", "cut", "100", "101", "1.010", "-", "-", "-", "5"]
    assert cut == ["cut", "off", "100", "106", "1.060", "-", "3.0", "2.0", "9", "WRONG", "BYTES"]
