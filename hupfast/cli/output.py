"""
What the commands share: how sizes are read, how progress and results are shown, how the user is asked.

Results go to standard output; progress, questions and errors go to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hupfast.errors import Refused

if TYPE_CHECKING:
    from hupfast.run import Progress
    from hupfast.source import Source

    _IntType = click.ParamType[int]
else:
    _IntType = click.ParamType

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_FACTORS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


class Size(_IntType):
    """A number of bytes: 65536, 64K, 16M, 1G, 2T (powers of 1024; KiB and the like may be written out)."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        number = text.rstrip("KMGTiBkmgtb ")
        unit = text[len(number) :].strip().upper().removesuffix("IB")
        if not (number.isascii() and number.isdigit() and len(number) < 16) or unit not in _FACTORS:
            self.fail(f"{text!r} is no size: write bytes, or a number with K, M, G or T", param, ctx)
        size = int(number) << _FACTORS[unit]
        if size >= 1 << 62:
            self.fail(f"{text!r} is more than any machine has", param, ctx)
        return size


def as_size(size: int) -> str:
    """A number of bytes as Size reads it: 1M, 96K, 1000."""
    for unit in "TGMK":
        if size and size % (1 << _FACTORS[unit]) == 0:
            return f"{size >> _FACTORS[unit]}{unit}"
    return str(size)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show errors only.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask before data is destroyed.")


@contextmanager
def progress(
    quiet: bool, source: Source | None = None, names: Mapping[str, str] | None = None
) -> Iterator[Callable[[Progress], None] | None]:
    """
    The function to show progress with: a bar on a terminal, lines elsewhere, None when quiet.

    source: the image that is read; how much of it was gives the percentage while its raw size is unknown.
    names: what to call phases of Progress, where not by their own name.
    """
    if quiet or sys.stderr is None:
        yield None
        return
    from hupfast.cli.bar import Bar, Lines, Meter

    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    shown = (Bar if terminal else Lines)(sys.stderr, Meter(source, names))
    try:
        yield shown
    finally:
        shown.close()


def say(text: str) -> None:
    """A line of the result, for people."""
    _print(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def print_json(document: object) -> None:
    """The one document of --json, on one line of standard output."""
    import json

    _print(json.dumps(document))


def print_parts(parts: Iterable[bytes]) -> None:
    """The one document of --json, with the end of its line, where it is too long to be in memory as a whole."""
    for part in parts if sys.stdout is not None else ():
        click.echo(part, nl=False)


def _print(line: str) -> None:
    if sys.stdout is not None:  # closed by who started us; click before 8.2 stumbles over that
        click.echo(line)


def ask(question: str, *, yes: bool, stdin_is_data: bool = False) -> None:
    """
    Let the user agree to lose data; `yes` is that agreement. Call it when nothing else is left to be refused.

    question: what will be lost, as "Overwrite all of /dev/sdb?". stdin_is_data: standard input is the image.
    Raises Refused when the user does not agree, and when there is no terminal to ask on.
    """
    if yes:
        return
    if stdin_is_data:
        raise Refused("standard input is the image, so that nobody can be asked there: say --yes; nothing was done")
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused("there is no terminal to ask for your agreement on: say --yes; nothing was done")
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("you did not agree; nothing was done")


def human(size: float) -> str:
    """A size in three digits and a unit: 512 B, 1.50 KiB, 98.7 MiB, 123 GiB."""
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            break
        size /= 1024
    digits = 0 if unit == "B" or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{size:.{digits}f} {unit}"
