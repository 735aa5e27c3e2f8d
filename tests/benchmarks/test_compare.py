"""benchmarks/compare.py: sessions of pytest-benchmark itself, commits of a real repository, and the exit status."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.compare import Side, base_commit, check_measured, main, measure_all, report, time_tests
from benchmarks.machine import BenchmarkError, missing
from benchmarks.ratios import Timing, judge

SUITE = """
import os, time
import pytest

@pytest.mark.benchmark(group="processor: sleep")
def test_sleep(benchmark):
    benchmark.pedantic(time.sleep, args=(float(os.environ["PAUSE"]),), rounds=3)

@pytest.mark.benchmark(group="processor: nothing")
def test_not_there(benchmark):
    benchmark(time.sleep_for_ever)

def test_skipped(benchmark):
    pytest.skip("no such device")
"""
HOOK = """
import hupfast

def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["hupfast"] = hupfast.__file__
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A file with a benchmark that sleeps for PAUSE seconds, one that fails, and one that skips."""
    if os.environ.get("HUPFAST_SANITIZED"):
        pytest.skip("hupfast is not in the environment of this Python")
    (tmp_path / "conftest.py").write_text(HOOK)
    path = tmp_path / "test_trivial.py"
    path.write_text(SUITE)
    return path


def side(name: str = "this") -> Side:
    """What runs in the environment of the tests."""
    return Side(name, Path(sys.executable))


def test_a_session_that_sleeps_longer_is_slower(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From processes of pytest to the exit status, which names the stage."""
    base, now = side("old"), side("new")
    for _ in range(3):
        for each, pause in ((base, "0.02"), (now, "0.06")):
            monkeypatch.setenv("PAUSE", pause)
            each.sessions.append(dict(time_tests(each, [str(suite), "-k", "sleep"], tmp_path)))

    assert [stage.change for stage in judge(base.sessions, now.sessions)] == ["slower"]
    assert report(base, now, 0.05) == 1
    assert "slower: processor: sleep: test_sleep, " in capsys.readouterr().out


def test_what_seems_slower_is_timed_again(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that, with both versions, in as many rounds; the rest is not."""
    for name in ("SUITES", "KEPT", "TREE"):
        monkeypatch.setattr(compare, name, tmp_path)
    base, now = side("old"), side("new")
    real = compare.time_tests

    def with_another(each: Side, tests: Sequence[str], folder: Path) -> Mapping[str, Timing]:
        """The new one sleeps longer. In sessions of a whole file there is another stage beside it."""
        monkeypatch.setenv("PAUSE", "0.03" if each is now else "0.01")
        other = {"other": Timing("processor: x", 1.0)} if "-k" in tests else {}
        return {**real(each, tests, folder), **other}

    monkeypatch.setattr(compare, "time_tests", with_another)
    measure_all((base, now), 3, "sleep", 0.05)

    assert [len(each) for each in (*base.sessions, *now.sessions)] == [2, 2, 2, 1, 1, 1] * 2
    assert [(stage.rounds, stage.change) for stage in judge(base.sessions, now.sessions)] == [
        (6, "slower"),
        (3, "same"),
    ]


def test_what_fails_and_what_skips_is_told(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With reasons; the others are timed."""
    monkeypatch.setenv("PAUSE", "0.001")
    ran = side()

    timed = time_tests(ran, [str(suite)], tmp_path)

    assert [name.rpartition("::")[2] for name in timed] == ["test_sleep"]
    [(name, why)] = ran.failed.items()
    assert name.endswith(".test_not_there")
    assert "has no attribute 'sleep_for_ever'" in why
    assert ran.skipped == {"no such device"}


def test_a_file_that_cannot_be_imported_times_nothing(suite: Path, tmp_path: Path) -> None:
    """As with a BASE that lacks a module."""
    suite.write_text("from hupfast.no_such_module import x\n")
    ran = side()

    assert time_tests(ran, [str(suite)], tmp_path) == {}
    assert "no_such_module" in " ".join(ran.failed.values())


def test_a_file_without_such_a_test_times_nothing(suite: Path, tmp_path: Path) -> None:
    """Of what -k chooses."""
    ran = side()

    assert time_tests(ran, [str(suite), "-k", "other"], tmp_path) == {}
    assert ran.failed == {}


def test_an_expression_that_is_none_is_said(suite: Path, tmp_path: Path) -> None:
    """pytest does not even start."""
    with pytest.raises(BenchmarkError, match="-k a b ended with 4"):
        time_tests(side(), [str(suite), "-k", "a b"], tmp_path)


def test_measuring_the_wrong_hupfast_is_noticed() -> None:
    """Else both sides might be the same, and nothing would ever be slower."""
    document = {"machine_info": {"hupfast": "/elsewhere/hupfast/__init__.py"}}

    with pytest.raises(BenchmarkError, match="/elsewhere"):
        check_measured(document, side())


def _timed(seconds: float) -> list[dict[str, Timing]]:
    return [{"a": Timing("processor: x", seconds)} for _ in range(4)]


def test_what_base_cannot_run_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A new stage is told, with the reason."""
    base = Side("old", Path(), [{}, {}, {}, {}], {"a": "no such function"})

    assert report(base, Side("new", Path(), _timed(1)), 0.05) == 0
    said = capsys.readouterr().out
    assert "not there in BASE" in said
    assert "BASE cannot run: a: no such function" in said


def test_a_suite_that_fails_now_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Even when nothing is slower."""
    now = Side("new", Path(), _timed(1), {"b": "wrong bytes"})

    assert report(Side("old", Path(), _timed(1)), now, 0.05) == 1
    assert "failed now: b: wrong bytes" in capsys.readouterr().out


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits."""
    if why := missing("git"):
        pytest.skip(why)
    monkeypatch.setattr(compare, "TREE", tmp_path)
    _git(tmp_path, "init", "-q")
    for text in ("old", "new"):
        (tmp_path / "file").write_text(text)
        _git(tmp_path, "add", "file")
        _git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", text)
    return tmp_path


def _git(tree: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", tree, *words], capture_output=True, text=True, check=True).stdout.strip()


def test_base_is_the_commit_before(repository: Path) -> None:
    """Of a tree as it was committed; a file that git does not know changes nothing."""
    (repository / "unknown").touch()

    assert base_commit("") == _git(repository, "rev-parse", "HEAD~1")


def test_base_of_a_changed_tree_is_its_commit(repository: Path) -> None:
    """So that one sees what the changes do."""
    (repository / "file").write_text("newer")

    assert base_commit("") == _git(repository, "rev-parse", "HEAD")


def test_a_base_that_is_not_there(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, and the exit status of what could not be compared."""
    assert main(["no-such-commit"]) == 2
    assert "there is no commit no-such-commit" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--rounds", "2"], ["--threshold", "-1"]])
def test_nonsense_is_refused(argv: list[str]) -> None:
    """With the exit status of wrong usage."""
    with pytest.raises(SystemExit, match="2"):
        main(argv)
