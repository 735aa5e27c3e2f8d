"""The options that say how addresses are reached, and how hard line and medium are used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hupfast.cli.output import Size

if TYPE_CHECKING:
    from hupfast.source.transport import Transport

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--ca-file", metavar="FILE", help="Trust the servers that these certificates (PEM) vouch for."),
    click.option(
        "--auth-file",
        metavar="FILE",
        help="How to log in: a line `bearer TOKEN` or `basic USER:PASSWORD` [default: the environment's HUPFAST_AUTH].",
    ),
    click.option("--limit-rate", metavar="RATE", type=Size(), default=0, help="Bytes a second to download at most."),
)


trace_option = click.option("--trace", metavar="FILE", help="Write a timeline for Perfetto or chrome://tracing.")
"""Where the time goes, to be looked at."""

background_option = click.option("--background", is_flag=True, help="Let everything else on the machine go first.")
"""The application comes first."""

limit_write_option = click.option(
    "--limit-write", metavar="RATE", type=Size(), default=0, help="Bytes a second to write and read back at most."
)
"""How hard the medium is used."""


def transport_options(command: _F) -> _F:
    """Give a command --ca-file, --auth-file and --limit-rate, whose values transport_of takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def transport_of(ca_file: str | None, auth_file: str | None, limit_rate: int, *, quiet: bool = False) -> Transport:
    """What the options say. Unless quiet, a line on standard error tells when something is tried again."""
    from hupfast.source.transport import Transport

    return Transport(ca_file=ca_file, auth_file=auth_file, limit_rate=limit_rate, tell=None if quiet else _tell_retry)


def _tell_retry(sentence: str) -> None:
    line = f"hupfast: {sentence}"
    if sys.stderr is not None:  # closed by who started us
        click.echo(f"\r{line:<79}" if sys.stderr.isatty() else line, err=True)  # over the bar, where there is one
