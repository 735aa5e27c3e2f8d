"""
The command line: arguments in, words and an exit code out. It decides nothing.

A command lives in the module that _COMMANDS names. That module is imported when the command is called, so
that `hupfast write` on a small board does not pay for `hupfast bundle`. What a command returns is its exit
code (None: 0). What it raises becomes a line on standard error, with --json a document on standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

import click

from hupfast.errors import Cancelled, HupfastError


class _Home(NamedTuple):
    module: str
    help: str


_COMMANDS = {
    "update": _Home("update", "Install a bundle on this board's inactive slot."),
    "status": _Home("update", "Show slots, versions, and what is running or pending."),
    "confirm": _Home("update", "Make the running system permanent after its health checks."),
    "rollback": _Home("update", "Go back to the system in the other slot."),
    "write": _Home("write", "Write an image to a block device or file."),
    "verify": _Home("write", "Compare a block device or file with an image."),
    "pack": _Home("pack", "Make a chunked image, which is written fastest."),
    "bundle": _Home("bundle", "Make, sign and inspect bundles."),
    "keygen": _Home("keygen", "Make a key to sign bundles with."),
    "boards": _Home("boards", "List and show board profiles."),
    "bench": _Home("bench", "Measure a board, and compare boards."),
    "demo": _Home("demo", "Update a virtual board in a folder, without root."),
}
"""Where each command lives, and what it does."""


class _Hupfast(click.Group):
    """The commands of _COMMANDS, and one way of ending for all of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        from importlib import import_module

        module = import_module(f"hupfast.cli.{_COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, home.help) for name, home in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # click would print an empty line and lose the reason
            raise Cancelled(f"interrupted{f' by {error}' if error.args else ''}") from None

    def main(  # type: ignore[override]  # it never returns
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: object
    ) -> NoReturn:
        arguments = list(sys.argv[1:] if args is None else args)

        def call() -> object:
            return super(_Hupfast, self).main(arguments, prog_name or "hupfast", standalone_mode=False)

        sys.exit(_ended(call, as_json="--json" in arguments))


@click.group(cls=_Hupfast, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, help="Show the versions of hupfast and its engine.")
@click.pass_context
def main(ctx: click.Context, version: bool) -> None:
    """Write operating system images, and update boards that nobody can walk up to."""
    if version:
        from hupfast import engine

        click.echo(engine.version())
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    else:
        return
    ctx.exit()


def run() -> NoReturn:
    """The program `hupfast`. SIGTERM and SIGHUP end it as Ctrl-C does: cleanly."""
    import gc
    import signal

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup makes it SIG_IGN
            signal.signal(number, interrupt)
    try:
        main.main()
    finally:
        gc.freeze()  # the memory goes with the process: to look for cycles in it first takes longer than an import


def _ended(call: Callable[[], object], *, as_json: bool) -> int:
    """Run, and say how it ended: the exit code. Nothing but an exit code comes out of here."""
    try:
        code = call()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # who read our output went away (`| head`): nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("HUPFAST_DEBUG"):
            raise
        message, code = _explain(error)
        try:
            _tell(error, message, code, as_json)
        except OSError:  # nobody listens
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return code


def _explain(error: BaseException) -> tuple[str, int]:
    """One line, and an exit code."""
    if isinstance(error, HupfastError):
        return str(error), error.exit_code
    if isinstance(error, click.UsageError):
        hint = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        return error.format_message().rstrip(".") + hint, error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return "interrupted", Cancelled.exit_code
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return where + error.strerror, HupfastError.exit_code
    if isinstance(error, MemoryError):
        return "this machine has no memory left", HupfastError.exit_code
    what = f"{type(error).__name__}: {error}"
    return f"an error of hupfast itself, {what}; HUPFAST_DEBUG=1 shows more", HupfastError.exit_code


def _tell(error: BaseException, message: str, code: int, as_json: bool) -> None:
    # click 8.2 and later; before, a group without a command shows its help by itself, and exits with 0
    if isinstance(error, click.UsageError) and type(error).__name__ == "NoArgsIsHelpError":
        click.echo(error.format_message(), err=True)
        return
    message = " ".join(message.split())
    if not as_json:
        if sys.stderr is not None:  # closed by who started us
            click.echo(f"hupfast: {message}", err=True)
        return
    from hupfast.cli.output import print_json

    names = ("errno", "offset", "length", "needed")
    details = {name: value for name in names if (value := getattr(error, name, None)) is not None}
    print_json({"ok": False, "error": message, "kind": type(error).__name__, "exit_code": code, **details})
