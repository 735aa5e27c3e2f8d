"""`hupfast bench predict`, `report` and `compare`: what is made of measurements, on a machine that is no board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hupfast.cli.output import Size, human, json_option, print_json, quiet_option, say

if TYPE_CHECKING:
    from hupfast.bench.compare import Difference

    _FloatType = click.ParamType[float]
else:
    _FloatType = click.ParamType

_MISSING_SHOWN = 10


@click.command(short_help="Make a page with drawings of one or more boards.")
@click.argument("documents", nargs=-1, required=True, metavar="A.json [B.json ...]")
@click.option("-o", "--output", required=True, metavar="PAGE.html", help="The page to write.")
@click.option("-f", "--force", is_flag=True, help="Replace PAGE.html if it exists.")
@json_option
@quiet_option
def report(documents: tuple[str, ...], output: str, force: bool, as_json: bool, quiet: bool) -> None:
    """
    Make one page of HTML from the documents of `hupfast bench --json`: verdicts, drawings, tables, facts.

    The page needs nothing but a browser. The drawings need matplotlib: pip install 'hupfast[report]'. Several
    documents are put side by side on one scale.
    """
    from pathlib import Path

    from hupfast.bench.document import load
    from hupfast.bench.report import report_page, write_page
    from hupfast.errors import Refused

    page = Path(output)
    if page.exists() and not force:
        raise Refused(f"{output} exists: say --force to replace it")
    write_page(report_page([load(name) for name in documents], documents), page)
    if as_json:
        print_json({"ok": True, "exit_code": 0, "output": output, "documents": list(documents)})
    elif not quiet:
        say(f"{output}: {len(documents)} {'board' if len(documents) == 1 else 'boards'}")


class _Percent(_FloatType):
    """A share, as 5% or 5."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share: 0.05 for 5%."""
        if isinstance(value, float):
            return value
        text = str(value).strip().removesuffix("%").strip()
        try:
            share = float(text) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share < 1:  # nan is not
            self.fail(f"{str(value)!r} is no share: write 5% or 2.5%, from 0% to below 100%", param, ctx)
        return share


@click.command(short_help="Tell how long an image will take.")
@click.argument("document")
@click.argument("image_size", type=Size(), metavar="SIZE")
@click.option("--packed", type=Size(), help="Size of the file.  [default: as the made image packs]")
@click.option("--zeroes", type=_Percent(), default="0%", show_default=True, help="Share of SIZE that is zeroes.")
@click.option("--level", type=int, default=9, show_default=True, help="Level of zstd that it is packed with.")
@json_option
def predict(document: str, image_size: int, packed: int | None, zeroes: float, level: int, as_json: bool) -> None:
    """
    Tell how long an image of SIZE bytes (unpacked) will take on the board that DOCUMENT was measured on.

    DOCUMENT is of `hupfast bench --json`. Erase stalls and full caches are counted when it has a long write, which
    --quick makes none of. A raw image is as large as its file: --packed SIZE.
    """
    from hupfast.bench.document import load
    from hupfast.bench.predict import predict as predict_image
    from hupfast.bench.verdict import usual_ratio

    measured = load(document)
    size = int(image_size / usual_ratio(measured.stages, level)) if packed is None else packed
    found = predict_image(measured, image_size, size, zeroes, level)
    if as_json:
        sizes = {"image_size": image_size, "packed_size": size}
        seconds = {"write_seconds": found.write_seconds, "verify_seconds": found.verify_seconds}
        print_json({"ok": True, "exit_code": 0, **sizes, **seconds, "seconds": found.seconds})
        return
    parts = f"{found.write_seconds:.1f} s to write and {found.verify_seconds:.1f} s to read back"
    say(f"{human(image_size)} from {human(size)}: {found.seconds:.1f} s, {parts}")
    if measured.sustained is None:
        say("No long write was measured: what stalls and full caches add is not in it.")


@click.command(short_help="Show what is slower or faster by more than the noise.")
@click.argument("old", metavar="OLD.json")
@click.argument("new", metavar="NEW.json")
@click.option(
    "--threshold", type=_Percent(), default="5%", show_default=True, help="Take no notice of differences up to this."
)
@json_option
def compare(old: str, new: str, threshold: float, as_json: bool) -> int:
    """
    Compare two documents of `hupfast bench --json`, and show what differs by more than the noise of their rounds.

    A change of the disk, the kernel or the settings is said, and so is what only one of the two has. Exit code 0 when
    nothing is slower, 1 when something is, 2 when they have nothing in common, 5 when a file is no document of
    `hupfast bench`, or one of another version.
    """
    from hupfast.bench.compare import compare as compare_documents
    from hupfast.bench.document import load
    from hupfast.errors import UsageError

    documents = load(old), load(new)
    found = compare_documents(*documents, threshold)
    if not found.differences:
        raise UsageError(f"{old} and {new} have nothing that was measured in the same way: measure both alike")
    code = 1 if found.changed("slower") else 0
    if as_json:
        print_json({"ok": not code, "exit_code": code, "old": old, "new": new, **found.as_dict()})
        return code
    for remark in found.remarks:
        say(f"remark      {_printable(remark)}")
    for change in ("slower", "faster"):
        _show(change, found.changed(change))
    same = len(found.changed("same"))
    say("")
    say(f"{same} of {len(found.differences)} measurements differ by no more than the noise or {threshold * 100:g}%.")
    _show_missing(old, found.only_old)
    _show_missing(new, found.only_new)
    return code


def _show(change: str, differences: Sequence[Difference]) -> None:
    """A table of what changed in one direction."""
    from hupfast.cli.bench_tables import show_table

    rows = []
    for one in differences:
        factor, unit = (1e6, "MB/s") if one.unit == "B/s" else (1.0, "s")
        cells = [f"{middle.median / factor:.2f} ±{middle.relative:.0%}" for middle in (one.old, one.new)]
        rows.append((_printable(one.label), [*cells, unit, f"{(one.ratio - 1) * 100:+.1f}%"]))
    show_table(f"{change} ({len(rows)})", ["old", "new", "", "speed"], rows)


def _show_missing(name: str, labels: Sequence[str]) -> None:
    if not labels:
        return
    say(f"Only in {name}:")
    for label in labels[:_MISSING_SHOWN]:
        say(f"  {_printable(label)}")
    if len(labels) > _MISSING_SHOWN:
        say(f"  and {len(labels) - _MISSING_SHOWN} more; --json has them all")


def _printable(text: str) -> str:
    """A text that came from a machine, without what would command the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
