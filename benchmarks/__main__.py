"""
Measure hupfast beside its peers:

    python -m benchmarks [--quick] [--rounds N] [--no-card] [--no-fast] [--no-streams] [--only NAME,...]

Exit status: 0 every target is met; 1 the benchmark could not be run; 2 wrong usage; 3 a target is missed;
4 none is missed, but some could not be measured, and the table says why. `--quick` judges nothing: 0, or 3
when a run of hupfast failed or left wrong bytes.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks import bundles, cgroup, device, fetched, images, install, machine, peers, report, rounds, web
from benchmarks.board import board
from benchmarks.contenders import BASELINE, PROBE_READ, PROBE_WRITE, Contender, contenders
from benchmarks.machine import BenchmarkError
from benchmarks.stats import summaries
from benchmarks.streams import BOARD, STREAM, Served, bundle, streams
from benchmarks.targets import Judge, Verdict

DIRECTORY = install.TREE / "build" / "bench"
QUIET = 0.5
"""Load average above which somebody else is using the machine."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure hupfast beside its peers.")
    add = parser.add_argument
    add("--quick", action="store_true", help="a 16 MiB image, one round, nothing judged: does it all work?")
    add("--size", type=int, metavar="MIB", help="of the image (1024; with --quick 16)")
    add("--rounds", type=int, metavar="N", help="on the fast device (5; with --quick 1)")
    add("--card-rounds", type=int, metavar="N", help="on the card (3; with --quick 1)")
    add("--stream-rounds", type=int, metavar="N", help="from a file and over http (11; with --quick 1)")
    add("--only", metavar="NAME,...", help="only contenders whose name starts with one of these")
    add(
        "--card",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure on the simulated card too",
    )
    add("--fast", action=argparse.BooleanOptionalAction, default=True, help="measure on the fast device")
    add("--streams", action=argparse.BooleanOptionalAction, default=True, help="measure what comes over http")
    add("--limits", action=argparse.BooleanOptionalAction, default=True, help="also in small memory groups")
    add("--card-rate", type=float, default=40, metavar="MB", help="megabytes a second of the card (40)")
    add(
        "--card-zeroes",
        choices=["data", "free"],
        default="data",
        help="zeroing the card takes as long as writing data (data), or no time (free)",
    )
    add("--dir", type=Path, default=DIRECTORY, help="for images, devices and results (build/bench)")
    add("--hupfast", type=Path, metavar="PROGRAM", help="measure this one, instead of a wheel of this tree")
    options = parser.parse_args(argv)
    options.size = options.size or (16 if options.quick else 1024)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.card_rounds = options.card_rounds or (1 if options.quick else 3)
    options.stream_rounds = options.stream_rounds or (1 if options.quick else 11)
    counts = (options.rounds, options.card_rounds, options.stream_rounds)
    if min(options.size - 15, *counts, options.card_rate) <= 0:
        parser.error("the size is at least 16 MiB, rounds and rate are above 0")
    return options


def wanted(everybody: Sequence[Contender], only: str | None, *, limits: bool = True) -> list[Contender]:
    """Those that --only and --no-limits leave. What everybody is compared with is always there."""
    everybody = [each for each in everybody if limits or each.limit is None]
    if not only:
        return everybody
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    always = {BASELINE, PROBE_READ, PROBE_WRITE}
    chosen = [each for each in everybody if each.name in always or each.name.startswith(names)]
    if not any(each.name.startswith(names) for each in everybody):
        raise BenchmarkError(f"--only {only} names nobody of: {', '.join(each.name for each in everybody)}")
    needed = {each.against for each in chosen}
    return [each for each in everybody if each in chosen or each.name in needed]


def program(options: argparse.Namespace) -> tuple[Path | None, str]:
    """The hupfast to measure, or None and why there is none."""
    if options.hupfast:
        return options.hupfast.resolve(), ""
    try:
        return install.program(options.dir), ""
    except (BenchmarkError, ValueError) as error:
        rounds.to_stderr(f"warning: {error}")
        return None, "hupfast does not build here, see the warning above"


@contextmanager
def _working_folder(parent: Path) -> Iterator[Path]:
    """A folder of this run alone, for the files behind the devices."""
    folder = parent / f"run-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty when a device could not be taken down, and that is told already
            folder.rmdir()


def _terminated(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that the devices are taken down


def measure(options: argparse.Namespace, runner: rounds.Rounds, chosen: Sequence[Contender]) -> dict[str, str]:
    """All runs on all devices. Returns, for each device that could not be had, why."""
    able = [each for each in chosen if not each.absent and not each.where]
    free = [each for each in able if each.limit is None]
    size, without = options.size << 20, {}
    with _working_folder(options.dir) as folder:
        if options.fast:
            with device.fast(folder, size) as fast:
                runner.run(fast, able, options.rounds)
                runner.run(fast, free, 1, cold=True)
        absent = device.card_missing() if options.card else None
        if absent:
            without["card"] = absent
        elif options.card:
            with device.card(folder, size, int(options.card_rate * 1e6), options.card_zeroes) as card:
                runner.run(card, free, options.card_rounds)
    return without


def serve(options: argparse.Namespace, built: images.Images, hupfast: Path | None, stack: ExitStack) -> Served:
    """A web server with a bundle of the image, for as long as the stack lasts."""
    if not options.streams or hupfast is None or built.chunked3 is None:
        return Served(None, None, hupfast, "")
    why = web.web_missing()
    if why:
        return Served(None, None, hupfast, why)
    made = bundle(built.chunked3, built.chunked3.with_suffix(".hup"), "2.0", hupfast)
    server = stack.enter_context(web.serve(options.dir, options.dir / f"web-{os.getpid()}"))
    return Served(server, made, hupfast, "")


def measure_streams(
    options: argparse.Namespace, runner: rounds.Rounds, chosen: Sequence[Contender], served: Served
) -> list[fetched.Fetch]:
    """All runs that read from a web server, and those from a file beside them. Returns what updates fetched."""
    size, whole = options.size << 20, runner.images.whole_sha256
    able = [each for each in chosen if each.where and not each.absent]
    with _working_folder(options.dir) as folder:
        if any(each.where == STREAM for each in able):
            with device.fast(folder, size, STREAM) as fast:
                _both(runner, fast, able, options.stream_rounds)
        if any(each.where == BOARD for each in able):
            with board(folder, size) as virtual:
                _both(runner, virtual, able, options.rounds)
        if options.only or not (served.server and served.bundle and served.program):
            return []
        with board(folder, size) as virtual:
            fetches = fetched.Fetches(virtual, served.program, served.server, rounds.to_stderr)
            fetched.measure(fetches, served.bundle, whole, runner.images.raw.parent, size)
            return fetches.results


def _both(runner: rounds.Rounds, target: device.Target, able: Sequence[Contender], count: int) -> None:
    """The timed rounds and the cold one, of those that are in this target's table."""
    mine = [each for each in able if each.where == target.name]
    runner.run(target, mine, count)
    runner.run(target, mine, 1, cold=True)


def status(verdicts: Sequence[Verdict], *, quick: bool, failed: bool) -> int:
    """The exit status, see the top of this file."""
    states = {verdict.state for verdict in verdicts}
    if failed or (not quick and "missed" in states):
        return 3
    return 4 if not quick and "not measured" in states else 0


def bench(options: argparse.Namespace) -> int:
    """The whole of it. Returns the exit status."""
    if os.geteuid() != 0:
        raise BenchmarkError("loop devices and memory groups need root: run it with sudo")
    absent = machine.missing("losetup", "zstd", "mkfs.ext4")
    if absent:
        raise BenchmarkError(absent)
    options.dir.mkdir(parents=True, exist_ok=True)
    say = rounds.to_stderr
    facts, groups = machine.facts(), cgroup.find()
    hierarchy = groups if isinstance(groups, cgroup.Hierarchy) else None
    if machine.load() > QUIET:
        say(f"warning: the load average is {machine.load():.2f}: somebody else is using this machine")
    say(f"building the {options.size} MiB image (kept in {options.dir})")
    built = images.build(options.dir, options.size << 20)
    hupfast, why = program(options)
    if hupfast:
        try:
            built = install.pack(built, hupfast)
        except BenchmarkError as error:
            say(f"warning: {error}")
    with ExitStack() as stack:
        served = serve(options, built, hupfast, stack)
        others = peers.peers(built, bundles.build(built))
        everybody = contenders(built, hupfast, why, others, no_groups=None if hierarchy else str(groups))
        if options.streams:
            everybody += streams(built, served, why)
        chosen = wanted(everybody, options.only, limits=options.limits)
        runner = rounds.Rounds(built, hierarchy, say)
        without = measure(options, runner, chosen)
        fetches = measure_streams(options, runner, chosen, served) if options.streams else []

    table = summaries(runner.samples)
    names = {each.name for each in chosen}
    reasons = {each.name: each.absent for each in everybody if each.absent}
    judge = Judge(
        table,
        size=built.size,
        zeroes=options.card_zeroes,
        absent=reasons,
        devices=without,
        excluded={each.name for each in everybody} - names,
        fetches=fetches,
        no_fetches=why or served.absent,
    )
    verdicts = judge.verdicts(
        fast=options.fast, card=options.card, streams=options.streams, fetched=options.streams and not options.only
    )
    facts["memory_counted_by"] = f"cgroup v{hierarchy.version}" if hierarchy else f"polling /proc: {groups}"
    facts["peers"] = peers.versions()
    result = report.document(
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        machine=facts,
        images=built.facts(),
        options={name: str(value) for name, value in vars(options).items()},
        contenders=chosen,
        summaries=table,
        samples=runner.samples,
        verdicts=verdicts,
        fetches=fetches,
    )
    print(report.text(result, chosen, table, verdicts, without, fetches, judged=not options.quick))
    print(f"\nsaved as {report.save(options.dir, result)}")
    failed = any(each.failure and name.startswith("hupfast-") for (_, name), each in table.items())
    failed = failed or any(each.failure for each in fetches)
    return status(verdicts, quick=options.quick, failed=failed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit status."""
    options = arguments(argv)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return bench(options)
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("benchmarks: interrupted, nothing was saved", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
