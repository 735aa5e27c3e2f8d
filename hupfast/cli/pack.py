"""`hupfast pack`: an image becomes a chunked image."""

from __future__ import annotations

import click

from hupfast.cli.output import Size, as_size, human, json_option, print_json, progress, quiet_option, say
from hupfast.image import CHUNK_SIZE, LEVEL


@click.command(short_help="Make a chunked image, which is written fastest.")
@click.argument("image")
@click.argument("out")
@click.option("--level", type=int, default=LEVEL, show_default=True, help="zstd level, 1 to 22.")
@click.option(
    "--chunk-size",
    type=Size(),
    default=as_size(CHUNK_SIZE),
    show_default=True,
    help="Raw bytes of a chunk, a power of two from 64K to 64M.",
)
@click.option("--threads", type=int, help="Compress on so many threads.  [default: one per processor]")
@click.option("-f", "--force", is_flag=True, help="Replace OUT if it exists.")
@json_option
@quiet_option
def pack(
    image: str,
    out: str,
    level: int,
    chunk_size: int,
    threads: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Pack IMAGE into OUT, a .zst file with a table of its chunks.

    IMAGE is a file, an http:// or https:// address, or - for standard input: raw, zstd, gzip, xz or bzip2.
    OUT is what `hupfast write` writes fastest, and every zstd tool decodes it. The same image gives the
    same OUT.
    """
    from hupfast.image import UNPACK_MEMORY
    from hupfast.image import pack as pack_image
    from hupfast.run import Progress
    from hupfast.source import open_source

    with open_source(image, memory=UNPACK_MEMORY) as source, progress(quiet, source) as show:

        def forward(done: int, total: int | None) -> None:
            if show is not None:
                show(Progress("pack", done, total, source.origin.taken))

        report = pack_image(
            source, out, level=level, chunk_size=chunk_size, threads=threads, force=force, progress=forward
        )
        if show is not None:
            show(Progress("done", report.image_size, report.image_size, source.origin.taken))
    if as_json:
        print_json({"ok": True, "exit_code": 0, "image": source.name, "out": out, **report.as_dict()})
    elif not quiet:
        share = 100 * report.packed_size / report.image_size
        say(
            f"packed {human(report.image_size)} into {human(report.packed_size)} ({share:.1f}%) in "
            f"{report.seconds:.1f} s: {report.chunk_count} chunks of {human(report.chunk_size)}, "
            f"{report.zero_chunks} of them zeroes"
        )
