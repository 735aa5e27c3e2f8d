"""
Time every stage of this tree and of another commit, in turns, and say what is slower now:

    python -m benchmarks.compare [BASE] [--rounds N] [--threshold PERCENT] [-k EXPRESSION]

BASE is HEAD when files of this tree have been changed, else the commit before it. It is built from a copy of its files,
this tree in the same way, each into an environment of its own below build/benchmarks, and both run the suites of *this*
tree: file by file, each in a process of its own, BASE first in one round and second in the next. A stage that BASE does
not know how to run is told, and is no failure. What seems slower is timed again, in as many rounds, and has to be so in
all of them together. What is noise: see ratios.py.

Exit status: 0 nothing is slower; 1 something is, or a suite has failed with this tree; 2 nothing could be compared.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree

from benchmarks import install, machine, ratios
from benchmarks.machine import BenchmarkError, run
from benchmarks.rounds import to_stderr

TREE = install.TREE
KEPT = TREE / "build" / "benchmarks"
SUITES = TREE / "benchmarks"

QUIET = 0.5
"""Load average above which somebody else is using the machine."""

_FEWEST = 3  # rounds that have a low end

_PASSED, _FAILED, _NOTHING = 0, 1, 5  # exit statuses of pytest


@dataclass
class Side:
    """
    One of the two versions. python: of the environment that it is installed in.

    sessions: of each round, all files together. failed: why, by the names of tests (or of files). skipped: reasons.
    """

    name: str
    python: Path
    sessions: list[dict[str, ratios.Timing]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="Time every stage of this tree and of another commit."
    )
    add = parser.add_argument
    add("base", metavar="BASE", nargs="?", default="", help="a commit (HEAD, or HEAD~1 when nothing has been changed)")
    add("--rounds", type=int, default=8, metavar="N", help="of both (8)")
    add("--threshold", type=float, default=5, metavar="PERCENT", help="differences up to this do not count (5)")
    add("-k", dest="only", default="", metavar="EXPRESSION", help="only these tests, as pytest's -k chooses them")
    options = parser.parse_args(argv)
    if options.rounds < _FEWEST or options.threshold < 0:
        parser.error(f"there are at least {_FEWEST} rounds, and the threshold is not negative")
    return options


def _git(*words: str) -> str:
    return run(["git", "-C", TREE, *words]).strip()


def base_commit(name: str) -> str:
    """The hash of the commit to compare with. name: as the user said it, or empty."""
    if not name:
        name = "HEAD" if _git("status", "--porcelain", "--untracked-files=no") else "HEAD~1"
    try:
        return _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except BenchmarkError as error:
        raise BenchmarkError(f"there is no commit {name} in {TREE}: name another one as BASE") from error


def built(commit: str) -> Path:
    """The python of an environment with a commit's hupfast, which is kept."""
    folder = KEPT / f"base-{commit[:12]}-{sys.implementation.cache_tag}"
    ready, tree = folder / "ready", folder / "tree"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        tree.mkdir(parents=True)
        _git("archive", f"--output={folder / 'tree.tar'}", commit)
        run(["tar", "-xf", folder / "tree.tar", "-C", tree])
        install.environment(tree, folder)
        shutil.rmtree(tree)
        ready.touch()
    return folder / "env" / "bin" / "python"


def time_tests(side: Side, tests: Sequence[str], folder: Path) -> ratios.Session:
    """
    Run tests with one version. tests: as on a command line of pytest. folder: for what pytest writes.

    Raises: BenchmarkError when pytest itself does not run.
    """
    result, outcomes = folder / "result.json", folder / "outcomes.xml"
    for path in (result, outcomes):
        path.unlink(missing_ok=True)
    # -P: hupfast/ in this tree has no engine, and must not be found in front of the installed one.
    argv = [str(side.python), "-P", "-m", "pytest", *tests, "-q", "--tb=short", "-p", "no:cacheprovider"]
    argv += ["--continue-on-collection-errors", f"--junit-xml={outcomes}", f"--benchmark-json={result}"]
    argv += ["--benchmark-quiet", "--benchmark-disable-gc", "--benchmark-max-time=0.3"]
    argv += ["-W", "ignore:Not saving anything"]  # when all of a file skip or fail
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    status, said = _run_pytest(argv, env)
    if status not in (_PASSED, _FAILED, _NOTHING) or not outcomes.exists():
        last = (said.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"pytest {' '.join(tests)} ended with {status} with {side.name}: {last[:300]}")
    note_outcomes(outcomes, side)
    if not result.exists() or not result.stat().st_size:
        return {}
    document = json.loads(result.read_text())
    check_measured(document, side)
    return ratios.session(document)


def _run_pytest(argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Exit status, and what was said. When this program is told to stop, pytest takes its devices down first."""
    nothing, pipe, both = subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(
        argv, cwd=TREE, env=env, stdin=nothing, stdout=pipe, stderr=both, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)  # once: a session of its own hears nothing from the terminal
            process.communicate()
            raise
    return process.returncode, said


def note_outcomes(path: Path, side: Side) -> None:
    """What has failed or been skipped, and why, from a file in the format of JUnit."""
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".lstrip(".")
        for outcome in case:
            why = outcome.get("message") or "no reason is known"
            if outcome.tag == "skipped":
                side.skipped.add(why)
            elif outcome.tag in ("failure", "error"):
                errors = re.findall(r"^E +(.*)$", outcome.text or "", re.MULTILINE)
                # pytest has no better message when a file cannot be imported.
                side.failed[name] = errors[-1] if errors and why == "collection failure" else why.splitlines()[0]


def check_measured(document: Mapping[str, Any], side: Side) -> None:
    """Was it this version that was measured? Raises: BenchmarkError."""
    measured, env = Path(document["machine_info"]["hupfast"]), side.python.parent.parent
    if not measured.is_relative_to(env):
        raise BenchmarkError(f"what was measured for {side.name} is {measured}, which is not below {env}")


def measure(sides: tuple[Side, Side], rounds: int, sessions: Sequence[Sequence[str]]) -> None:
    """More rounds of both. sessions: the tests of each process; the two versions take turns after each."""
    with tempfile.TemporaryDirectory(prefix="compare-", dir=KEPT) as folder:
        for number in range(rounds):
            to_stderr(f"round {number + 1} of {rounds}")
            for side in sides:
                side.sessions.append({})
            for tests in sessions:
                for side in sides if number % 2 == 0 else sides[::-1]:
                    side.sessions[-1].update(time_tests(side, tests, Path(folder)))
            if not any(side.sessions[0] or side.failed for side in sides):
                why = "; ".join(sorted(sides[1].skipped)) or "no test was chosen"
                raise BenchmarkError(f"nothing was timed: {why}")


def measure_all(sides: tuple[Side, Side], rounds: int, only: str, threshold: float) -> None:
    """All rounds of all stages, and as many again of those that seem slower."""
    chosen = ["-k", only] if only else []
    measure(sides, rounds, [[str(file), *chosen] for file in sorted(SUITES.glob("test_*.py"))])
    again: dict[str, list[str]] = {}
    for stage in ratios.judge(sides[0].sessions, sides[1].sessions, threshold):
        if stage.change == ratios.SLOWER:
            again.setdefault(stage.name.partition("::")[0], []).append(stage.name)
    if again:
        to_stderr(f"again: {', '.join(name.partition('::')[2] for names in again.values() for name in names)}")
        measure(sides, rounds, [*again.values()])


def report(base: Side, now: Side, threshold: float) -> int:
    """Print what came out; returns the exit status."""
    stages = ratios.judge(base.sessions, now.sessions, threshold)
    print(f"BASE is {base.name}, now is {now.name}\n")
    print("\n".join(ratios.table(stages)))
    if now.skipped:
        print(f"\nskipped: {'; '.join(sorted(now.skipped))}")
    for side, what in ((base, "BASE cannot run"), (now, "failed now")):
        for name, why in sorted(side.failed.items()):
            print(f"{what}: {name}: {why}")
    slower = [stage for stage in stages if stage.change == ratios.SLOWER]
    print()
    for stage in slower:
        what = f"{stage.group}: {stage.name.rpartition('::')[2]}"
        print(f"slower: {what}, {stage.ratio:.2f} x the time of BASE in {stage.rounds} rounds")
    if not slower:
        print(f"No stage is slower by more than the noise and {threshold:.0%}.")
    return 1 if slower or now.failed else 0


def compare(options: argparse.Namespace) -> int:
    """The whole of it. Returns the exit status."""
    commit = base_commit(options.base)
    KEPT.mkdir(parents=True, exist_ok=True)
    if machine.load() > QUIET:
        to_stderr(f"warning: the load average is {machine.load():.2f}: somebody else is using this machine")
    to_stderr(f"building {commit[:12]} and this tree")
    base = Side(commit[:12], built(commit))
    now = Side("this tree", install.program(KEPT).with_name("python"))
    threshold = options.threshold / 100
    measure_all((base, now), options.rounds, options.only, threshold)
    return report(base, now, threshold)


def _terminated(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that what runs is ended, and takes its devices down


def main(argv: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit status."""
    options = arguments(argv)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return compare(options)
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks.compare: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("benchmarks.compare: interrupted", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
