"""`hupfast demo`: two updates of a virtual board, told step by step."""

from __future__ import annotations

import time
from pathlib import Path

import click

from hupfast.cli.output import progress, say


@click.command(short_help="Update a virtual board in a folder, without root.")
@click.option("--dir", "folder", metavar="DIR", help="Empty or new folder to work in.  [default: in /var/tmp]")
@click.option("--keep", is_flag=True, help="Leave the board and the bundles there, to play with.")
@click.option(
    "--size",
    type=click.IntRange(64, 65536),
    default=512,
    show_default=True,
    metavar="MB",
    help="Size of the root filesystem in MiB.",
)
def demo(folder: str | None, keep: bool, size: int) -> None:
    """
    Update a virtual board from version 0.1 to 1.0, and let an update to 2.0 fall back.

    The root filesystem is a real one, of files of this machine. Each step is told with the command that does
    the same; what it claims is checked. Five times the size is needed on disk, and no root.
    """
    from hupfast.demo import Demo, Talk, demo_folder

    started = time.monotonic()
    with demo_folder(None if folder is None else Path(folder), keep=keep) as place:
        talk = Talk(say=_say, command=_command, told=_told, bar=lambda: progress(quiet=False))
        run = Demo(place, size << 20, talk)
        run.run()
        say(f"\nAll of it holds: {len(run.checks)} checks passed in {time.monotonic() - started:.0f} s.")
        if keep:
            say(f"The board is in {run.board}; try: hupfast status --root {run.board}")


def _say(text: str) -> None:
    say(f"\n{text}")


def _command(text: str) -> None:
    say(f"  $ {text}")


def _told(text: str) -> None:
    say(f"    {text}")
