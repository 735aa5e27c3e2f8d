"""`hupfast bench`: measure a board. `bench TARGET` is short for `bench run TARGET`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hupfast.cli.output import Size, ask, human, json_option, print_parts, quiet_option, say, yes_option
from hupfast.errors import Cancelled, HupfastError, Refused

if TYPE_CHECKING:
    from hupfast.bench.document import Document

_ELSEWHERE = ("predict", "report", "compare")
"""Commands of bench_report.py, which a board does not need, and whose module it need not have."""


class _Bench(click.Group):
    """A group whose first word may be left out: then it is `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.list_commands(ctx), *self.get_help_option_names(ctx)):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["run", *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module

        try:
            command: click.Command = getattr(import_module("hupfast.cli.bench_report"), cmd_name)
        except ImportError:
            return None
        return command


@click.group(cls=_Bench, short_help="Measure a board, and compare boards.")
def bench() -> None:
    """
    Measure a board, and compare what was measured.

    `hupfast bench TARGET` is short for `hupfast bench run TARGET`; see `hupfast bench run --help` for its options.
    """


@bench.command(short_help="Measure a medium and a processor (the default command).")
@click.argument("target")
@click.option("--quick", "mode", flag_value="quick", help="Some seconds, for a first look; no long write.")
@click.option(
    "--full",
    "mode",
    flag_value="full",
    help="All block sizes (64K to 4M) and depths (1 to 16), and a long write past the knee of a cache; 20 minutes."
    " Overwrites a quarter of a device or file, at least 256M and up to 4G, unless --size says otherwise.",
)
@click.option(
    "--size",
    type=Size(),
    help="Bytes of TARGET to use, from its start.  [default: 256M; with --full a quarter of it if that is more, up to"
    " 4G; in a folder never more than a quarter of the free space]",
)
@click.option("--rounds", type=click.IntRange(1, 99), help="How often each run is made.  [default: 3, --full: 5]")
@click.option("--seconds", type=click.FloatRange(0, 86400), help="How long the long write lasts at most; 0: none.")
@click.option("--image", metavar="FILE", help="Image to measure the whole of writing with.  [default: one is made]")
@click.option("--in-flight", type=Size(), default="16M", show_default=True, help="Most bytes in flight at once.")
@click.option("--memory", type=Size(), default="16M", show_default=True, help="Budget of writing the image.")
@click.option("--save", is_flag=True, help="Let `hupfast write` and `update` use the best settings for this medium.")
@click.option("-o", "--output", metavar="FILE", help="Write the result to FILE, as JSON.")
@click.option("--board", metavar="NAME", help="Board profile.  [default: detected]")
@click.option("--root", metavar="DIR", default="/", show_default=True, help="System root: its /proc, /sys and /etc.")
@yes_option
@json_option
@quiet_option
def run(
    target: str,
    mode: str | None,
    size: int | None,
    rounds: int | None,
    seconds: float | None,
    image: str | None,
    in_flight: int,
    memory: int,
    save: bool,
    output: str | None,
    board: str | None,
    root: str,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Measure TARGET and this machine: what limits an update here, and the settings to write with.

    TARGET is a folder, in which a file is made and removed again; or a block device or a file, whose first bytes are
    lost. About two minutes; nothing else should run meanwhile.

    Without --quick or --full there are blocks of 64K to 4M, depths of 1, 4 and 16, and a long write of 15 seconds; then
    each stage alone. What an eMMC or UFS tells of its wear is shown too: life_time is how much of its two kinds of
    cells is used, pre_eol_info (eol_info) how many of the spare blocks are.

    -o FILE keeps all of it, every sample too, for `hupfast bench predict`, `report` and `compare`. The form of that
    document is drawn at the top of hupfast/bench/document.py; it has a version.
    """
    from hupfast.bench.measure import measure
    from hupfast.bench.place import check_place
    from hupfast.bench.plan import make_plan

    if image == "-":
        raise click.UsageError("--image is read several times, which standard input cannot be")
    plan = make_plan(mode or "default", memory=in_flight, rounds=rounds or 0, seconds=seconds)
    used, _ = check_place(target, size, plan.size)
    if output is not None:
        _check_output(output)
    profile, state = _profile(board, root)
    if save:
        _check_saving(target, root, state)
    if not os.path.isdir(target):
        ask(_question(target, used), yes=yes)
    with _telling(quiet) as tell:
        try:
            document = measure(
                target, plan, size=size, image=image, memory=memory, root=root, profile=profile, tell=tell
            )
        except KeyboardInterrupt:
            lost = "nothing is left" if os.path.isdir(target) else f"what {target} began with is lost"
            raise Cancelled(f"interrupted: there is no result, and {lost}") from None
    if output is not None:
        _write(document, output)
    silent = quiet or as_json
    if not silent:
        from hupfast.cli.bench_tables import show_document

        show_document(document)
    if save:
        _save(document, target, root, state, silent)
    if as_json:  # the last of all: an error that comes before is the only document then
        print_parts(document.chunks(ok=True, exit_code=0))


def _check_output(path: str) -> None:
    """Not after two minutes, but now."""
    folder = os.path.dirname(os.path.abspath(path))
    special = os.path.exists(path) and not os.path.isfile(path)  # a file would take its place: /dev/null's too
    if special or not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"{path} cannot be made: name a file in a folder that you may write to")


def _check_saving(target: str, root: str, state: str | None) -> None:
    from hupfast.bench.settings import check_settings
    from hupfast.bench.storage import find_medium

    if find_medium(target, root).key is None:
        raise Refused(
            f"the medium of {target} has neither CID, serial number nor model: --save could not know it again"
        )
    check_settings(root, state)


def _profile(board: str | None, root: str) -> tuple[str | None, str | None]:
    """Name and state directory of the board, where its profile is known."""
    from pathlib import Path

    from hupfast.board import load_board

    try:
        found = load_board(board, Path(root))
    except HupfastError:
        if board is not None:
            raise
        return None, None
    return found.name, found.state


def _question(target: str, used: int) -> str:
    from hupfast.target import check_target

    found = check_target(target)
    details = [human(found.size), found.model]
    if found.partitions:
        details.append(f"with {', '.join(found.partitions)}")
    return f"Overwrite the first {human(used)} of {target} ({', '.join(filter(None, details))}) to measure it?"


@contextmanager
def _telling(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What is done now: one line that changes on a terminal, elsewhere nothing; on standard error."""
    stream = sys.stderr
    if quiet or stream is None or not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda text: None
        return
    width = 0

    def tell(text: str) -> None:
        nonlocal width
        click.echo(f"\r{text[:78]:<{width}}", nl=False, err=True)
        width = min(len(text), 78)

    try:
        yield tell
    finally:
        click.echo(f"\r{'':<{width}}\r", nl=False, err=True)


def _write(document: Document, path: str) -> None:
    from pathlib import Path

    from hupfast.durable import write_chunks

    write_chunks(Path(path), document.chunks())


def _save(document: Document, target: str, root: str, state: str | None, silent: bool) -> None:
    from hupfast.bench.settings import STATE, WriteSettings, save_settings
    from hupfast.bench.storage import find_medium

    key = find_medium(target, root).key
    if key is None:
        raise Refused(f"the medium of {target} is gone: nothing was saved")
    settings = WriteSettings(document.verdict.block, document.verdict.depth, key, document.date)
    path = save_settings(settings, root, state)
    if state is not None and state != STATE:  # `hupfast write` knows no board, and looks here
        save_settings(settings, root)
    if not silent:
        say(f"saved in {path}: hupfast write takes these settings for this medium")
