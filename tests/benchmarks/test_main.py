"""benchmarks/__main__.py: choices, exit statuses, and one small run of everything."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import arguments, main, status, wanted
from benchmarks.bundles import Bundles
from benchmarks.contenders import Contender, contenders
from benchmarks.device import card_missing
from benchmarks.images import Images
from benchmarks.machine import BenchmarkError, missing
from benchmarks.peers import peers
from benchmarks.rounds import report_of
from benchmarks.streams import Served, streams
from benchmarks.targets import Goal, Verdict
from benchmarks.web import web_missing

GOAL = Goal("a target", "hupfast-zst", 1.0, lambda _: (1.0, ""))
MET, MISSED, UNMEASURED = Verdict(GOAL, 0.9), Verdict(GOAL, 1.1), Verdict(GOAL, None, reason="no tool")


@pytest.fixture
def everybody(tmp_path: Path) -> list[Contender]:
    """All contenders, for an image that is not there."""
    images = Images(
        size=0,
        nonzero=0,
        raw=tmp_path,
        zst=tmp_path,
        whole_sha256="",
        bmap=None,
        mapped=(),
        mapped_sha256="",
    )
    others = peers(images, Bundles(tmp_path, {"rauc": "no squashfs"}))
    everybody = contenders(images, None, "not built", others, no_groups="no cgroup")
    return everybody + streams(images, Served(None, None, None, ""), "not built")


@pytest.mark.parametrize(
    ("verdicts", "quick", "failed", "expected"),
    [
        ([MET], False, False, 0),
        ([MET, MISSED, UNMEASURED], False, False, 3),
        ([MET, UNMEASURED], False, False, 4),
        ([MISSED, UNMEASURED], True, False, 0),
        ([MET], False, True, 3),
        ([], True, True, 3),
    ],
)
def test_exit_status(verdicts: list[Verdict], quick: bool, failed: bool, expected: int) -> None:
    """0 met, 3 missed or a run that failed, 4 not measured; a quick run judges nothing but failures."""
    assert status(verdicts, quick=quick, failed=failed) == expected


def test_only_keeps_what_all_are_compared_with(everybody: list[Contender]) -> None:
    """By the start of the name, and the baseline and the probes always."""
    names = {each.name for each in wanted(everybody, "hupfast-zst, python", limits=False)}

    always = {"zstd-null", "direct-read", "direct-write"}

    assert names == always | {"hupfast-zst", "hupfast-zst-verify", "python"}


def test_only_keeps_what_one_is_held_against(everybody: list[Contender]) -> None:
    """Who reads from a server is compared with who reads from a file."""
    names = {each.name for each in wanted(everybody, "hupfast-update-https")}

    assert names == {"zstd-null", "direct-read", "direct-write", "hupfast-update-https", "hupfast-update-file"}


def test_only_with_a_wrong_name(everybody: list[Contender]) -> None:
    """Measuring nobody is a mistake, and the names are told."""
    with pytest.raises(BenchmarkError, match="bmaptool-nobmap"):
        wanted(everybody, "dd_direct")


def test_absent_contenders_say_why(everybody: list[Contender]) -> None:
    """No hupfast is one reason, no memory group another."""
    reasons = {each.name: each.absent for each in everybody}

    assert reasons["hupfast-zst"] == "not built"
    assert reasons["hupfast-update-http"] == "not built"
    assert reasons["rauc"] == reasons["rauc@32"] == "no squashfs"
    assert reasons["dd-direct@32"] in {"no cgroup", missing("zstd")}


@pytest.mark.parametrize("argv", [["--rounds", "-1"], ["--size", "8"], ["--card-rate", "0"]])
def test_nonsense_is_refused(argv: list[str]) -> None:
    """With the exit status of wrong usage."""
    with pytest.raises(SystemExit, match="2"):
        arguments(argv)


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ('{"ok": true, "report": {"written": 5}}', {"written": 5}),
        ('{"ok": true, "written": 5}', {"ok": True, "written": 5}),
        ("5\n", {}),
        ("100% done\n", {}),
    ],
)
def test_reports_of_programs(text: str, report: dict[str, object]) -> None:
    """hupfast's JSON, wherever the report is in it; anything else is no report."""
    assert report_of(text) == report


def test_without_root_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One sentence, and the exit status of a benchmark that could not run."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert main(["--dir", str(tmp_path)]) == 1
    assert "need root" in capsys.readouterr().err


def _everybody(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The (device, contender) pairs of a whole run."""
    ways = ("file", "http", "https")
    stream = [f"hupfast-{way}{ending}" for ending in ("", "-verify") for way in ways]
    board = [f"hupfast-update-{way}" for way in ways]
    yield from (("stream", name) for name in stream)
    yield from (("board", name) for name in board)
    yield from ((device, name) for device in ("fast", "card") for name in names if name not in {*stream, *board})


def test_a_quick_run_of_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everybody who exists writes the right bytes onto both devices, and nothing is left behind."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    if os.environ.get("HUPFAST_SANITIZED"):
        pytest.skip("a sanitizer in every process makes this slow, and tests nothing more")
    for reason in (missing("losetup", "zstd", "mkfs.ext4"), card_missing(), web_missing()):
        if reason:
            pytest.skip(reason)
    program = Path(sys.executable).with_name("hupfast")
    if not program.exists():
        pytest.skip(f"{program} is not there")
    if not Path("/dev/loop-control").exists():
        pytest.skip("/dev/loop-control is missing")

    ended = main(["--quick", "--no-limits", "--dir", str(tmp_path), "--hupfast", str(program)])

    result = json.loads((tmp_path / "latest.json").read_text())
    ran = {(sample["device"], sample["contender"]) for sample in result["samples"]}
    failed = [(sample["contender"], sample["failure"]) for sample in result["samples"] if sample["failure"]]
    absent = {name for name, about in result["contenders"].items() if about["absent"]}
    assert failed == []
    assert ended == 0
    assert ran == {(device, name) for device, name in _everybody(result["contenders"]) if name not in absent}
    assert [each["failure"] for each in result["fetches"]] == [""] * 7
    assert not [name for name in absent if name.startswith("hupfast-") and name != "hupfast-bmap"]
    assert not list(tmp_path.glob("run-*"))
    assert "hupfast ordinary .zst" in capsys.readouterr().out
    shutil.rmtree(tmp_path)
