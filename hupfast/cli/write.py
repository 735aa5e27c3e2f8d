"""`hupfast write` and `hupfast verify`: one image, one block device or file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hupfast.cli.output import (
    Size,
    as_size,
    ask,
    human,
    json_option,
    print_json,
    progress,
    quiet_option,
    say,
    yes_option,
)
from hupfast.cli.transport import background_option, limit_write_option, trace_option, transport_of, transport_options
from hupfast.errors import Cancelled, DataError

if TYPE_CHECKING:
    from hupfast.source import Source
    from hupfast.source.transport import Transport
    from hupfast.target import Target
    from hupfast.writer import Report

_memory_option = click.option(
    "--memory", type=Size(), default="16M", show_default=True, help="Budget for buffers and decoders."
)
_bmap_option = click.option("--bmap", metavar="FILE", help="Block map: only the blocks that it lists count.")


def _check_hex(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (len(value) == 64 and set(value.lower()) <= set("0123456789abcdef")):
        raise click.BadParameter("a SHA-256 is 64 hexadecimal digits")
    return value


def _check_block(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    if value is not None and not (65536 <= value <= 4 << 20 and value & (value - 1) == 0):
        raise click.BadParameter("a block is a power of two from 64K to 4M")
    return value


_image_argument = click.argument("image")
_target_argument = click.argument("target")


@click.command(short_help="Write an image to a block device or file.")
@_image_argument
@_target_argument
@_bmap_option
@click.option(
    "--sha256", metavar="HEX", callback=_check_hex, help="The SHA-256 that IMAGE, as it is stored, must have."
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Read the target back, and compare.")
@click.option("--skip-unchanged", is_flag=True, help="Read first, and leave alone what is there already.")
@limit_write_option
@click.option(
    "--block",
    type=Size(),
    callback=_check_block,
    help="Bytes of one write.  [default: as measured by bench, or 1M; with --background 256K]",
)
@click.option(
    "--depth",
    type=click.IntRange(1, 32),
    help="Writes in flight.  [default: as measured by bench, or 4; with --background 1]",
)
@background_option
@trace_option
@_memory_option
@transport_options
@yes_option
@json_option
@quiet_option
def write(
    image: str,
    target: str,
    bmap: str | None,
    sha256: str | None,
    verify: bool,
    skip_unchanged: bool,
    limit_write: int,
    block: int | None,
    depth: int | None,
    background: bool,
    trace: str | None,
    memory: int,
    ca_file: str | None,
    auth_file: str | None,
    limit_rate: int,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Overwrite TARGET with IMAGE.

    IMAGE is a file, an http:// or https:// address, or - for standard input: raw, zstd, gzip, xz or bzip2.
    TARGET is a block device or a file; a file that does not exist is made.
    """
    from hupfast.examine import prepare
    from hupfast.writer import write_image

    transport = transport_of(ca_file, auth_file, limit_rate, quiet=quiet)
    with _open(image, memory, transport) as source:
        # All that can be refused is refused before the question.
        found = prepare(source, target, memory - source.memory, bmap=bmap, create=True).target
        if found.exists:
            ask(_question(found), yes=yes, stdin_is_data=image == "-")
        if block is None and depth is None and not background:  # which has its own
            block, depth = _measured(target, quiet)
        with progress(quiet, source) as show:
            try:
                report = write_image(
                    source,
                    target,
                    memory=memory,
                    verify=verify,
                    bmap=bmap,
                    sha256=sha256,
                    skip_unchanged=skip_unchanged,
                    block=block or 0,
                    depth=depth or 0,
                    rate=limit_write,
                    background=background,
                    trace=trace,
                    create=True,
                    progress=show,
                )
            except KeyboardInterrupt:
                state = "may hold a part of the image only" if found.exists else "was not made"
                raise Cancelled(f"interrupted: {target} {state}; run the same command again") from None
    _tell(report, source.name, target, "wrote", as_json, quiet)


@click.command(short_help="Compare a block device or file with an image.")
@_image_argument
@_target_argument
@_bmap_option
@_memory_option
@transport_options
@json_option
@quiet_option
def verify(
    image: str,
    target: str,
    bmap: str | None,
    memory: int,
    ca_file: str | None,
    auth_file: str | None,
    limit_rate: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Compare TARGET with IMAGE past every cache, and name the first bytes that differ.

    Nothing is written, and TARGET may be in use. IMAGE is what `hupfast write` takes.
    """
    from hupfast.writer import verify_image

    transport = transport_of(ca_file, auth_file, limit_rate, quiet=quiet)
    with _open(image, memory, transport) as source, progress(quiet, source, {"write": "compare"}) as show:
        report = verify_image(source, target, memory=memory, bmap=bmap, progress=show)
    _tell(report, source.name, target, "compared", as_json, quiet)


def _open(image: str, memory: int, transport: Transport) -> Source:
    from hupfast.source import open_source

    source = open_source(image, memory=memory, transport=transport)
    try:
        if not source.peek(1):  # what a failed download leaves behind, or a failed program in a pipe
            raise DataError(f"{source.name} is empty: there is no image in it")
        if source.peek(262)[257:] == b"ustar":
            raise DataError(f"{source.name} is a tar archive, no image; if it is a bundle, use hupfast update")
    except BaseException:
        source.close()
        raise
    return source


def _measured(target: str, quiet: bool) -> tuple[int, int] | tuple[None, None]:
    """Block and depth that `hupfast bench --save` has noted for this medium."""
    from hupfast.bench.settings import saved_settings

    found = saved_settings(target)
    if found is None:
        return None, None
    if not quiet:
        block = as_size(found.block)
        click.echo(f"settings measured for this medium: block {block}, depth {found.depth}", err=True)
    return found.block, found.depth


def _question(target: Target) -> str:
    details = [human(target.size), target.model]
    if target.partitions:
        details.append(f"with {', '.join(target.partitions)}")
    what = "all of " if target.is_block else ""
    return f"Overwrite {what}{target.path} ({', '.join(filter(None, details))})?"


def _tell(report: Report, image: str, target: str, done: str, as_json: bool, quiet: bool) -> None:
    if as_json:
        print_json({"ok": True, "exit_code": 0, "image": image, "target": target, **report.as_dict()})
        return
    if quiet:
        return
    rate = human(report.image_size / max(report.seconds, 1e-3))
    line = f"{done} {human(report.image_size)} in {report.seconds:.1f} s ({rate}/s)"
    if done == "wrote":
        line += ", read back and compared" if report.verified else ", not read back"
        parts = [(report.zeroed, "zeroes"), (report.unchanged, "there already")]
        line += "".join(f", {human(size)} {what}" for size, what in parts if size)
    if report.unmapped:
        line += f", {human(report.unmapped)} not in the block map"
    say(line)
