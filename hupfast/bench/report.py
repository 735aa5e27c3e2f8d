"""
Documents of `hupfast bench` become one page of HTML that needs nothing else: no network, no script, no other file.

First what a board's verdict is and what is to be doubted of it, then drawings, then the tables behind them, the facts
of board and medium, and the command that repeats it. The same documents give the same page.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.bench.document import Document
from hupfast.bench.health import health_words
from hupfast.bench.html import Html, element, facts, joined
from hupfast.bench.units import argument, size_label
from hupfast.errors import HupfastError

if TYPE_CHECKING:
    from hupfast.bench.panels import Panel

_CLOSED = (
    "default-src 'none'; style-src 'unsafe-inline'"  # a page that could load something would not be self-contained
)
_BUSY = 0.1  # share of the processors that other programs had, from which on it is worth a remark


def report_page(documents: Sequence[Document], files: Sequence[str]) -> str:
    """
    The page of one or more documents.

    files: the name of the file of each, to say how the page was made.
    Raises: HupfastError when matplotlib is missing.
    """
    _need_matplotlib()
    from hupfast.bench import sidebyside

    names = [board_name(document) for document in documents]
    body: list[str] = [element("h1", names[0] if len(documents) == 1 else f"{len(documents)} boards side by side")]
    if len(documents) == 1:
        body += _board(documents[0], "a", scale_note=False)
    else:
        body += _comparison(documents, names)
        for index, (document, name) in enumerate(zip(documents, names, strict=True)):
            letter = sidebyside.letter(index)
            body.append(element("h2", f"{letter}: {name}", id=f"board-{letter}"))
            body += _board(document, f"b{index}", scale_note=True)
    body.append(element("h2", "Make this again"))
    body.append(element("pre", element("code", _commands(documents, files))))
    return _page(" / ".join(names), joined(body))


def write_page(page: str, out: Path) -> None:
    """Put it into a file, whole or not at all; a pipe or a device stays one. Raises: HupfastError."""
    from hupfast.durable import write_chunks
    from hupfast.system import explained

    data = page.encode("utf-8", "backslashreplace")  # JSON may hold halves of a character
    if out.exists() and not out.is_file():
        with explained(f"cannot write {out}"):
            out.write_bytes(data)
    else:
        write_chunks(out, iter([data]))


def board_name(document: Document) -> str:
    """The board and its medium, in a few words."""
    board = document.board.model or document.board.profile or "unknown board"
    medium = document.storage.model or document.storage.path
    return f"{board}, {medium}"


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise HupfastError(
            "the drawings need matplotlib, which is not installed here: pip install 'hupfast[report]'"
        ) from None


def _page(title: str, body: Html) -> str:
    style = Path(__file__).with_name("style.css").read_text("utf-8")
    head = joined(
        [
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{_CLOSED}">'),
            element("title", f"hupfast bench: {title}"),
            element("style", Html(style)),
        ]
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _comparison(documents: Sequence[Document], names: Sequence[str]) -> list[Html]:
    from hupfast.bench import sidebyside

    items = []
    for index, (document, name) in enumerate(zip(documents, names, strict=True)):
        letter = sidebyside.letter(index)
        mark = element("span", f"{letter}: ", class_="key", style=f"color: var(--{sidebyside.color(index)})")
        link = element("a", name, href=f"#board-{letter}")
        items.append(
            element(
                "li",
                mark,
                link,
                element("p", f"Limited by {document.verdict.sentence}", class_="verdict"),
                _warnings(document),
            )
        )
    found = [element("ul", *items, class_="boards"), sidebyside.summary(documents, names)]
    found.append(_panels(sidebyside.overview(documents)))
    for title, panels in sidebyside.throughput(documents):
        found += [element("h3", title), _panels(panels)]
    return found


def _board(document: Document, name: str, *, scale_note: bool) -> list[Html]:
    """All of one board. name: what the ids of its drawings begin with."""
    from hupfast.bench import panels, stagepanels
    from hupfast.bench.tables import tables

    verdict = document.verdict
    found = [
        element("p", f"Limited by {verdict.sentence}", class_="verdict"),
        element(
            "p",
            f"Settings to use: blocks of {size_label(verdict.block)}, {verdict.depth} in flight, which takes "
            f"{size_label(verdict.memory)} of memory.",
        ),
        _warnings(document),
    ]
    note = "The scales of this board's own drawings fit this board." if scale_note else ""
    whole = [stagepanels.waterfall, stagepanels.stage_times, stagepanels.decompression]
    medium = [panels.throughput, panels.flushes, panels.sustained]
    groups = (("Where the time goes", whole), ("Throughput", medium), ("Latency and stalls", [panels.latencies]))
    for title, makers in groups:
        drawings = [panel for make in makers for panel in make(name, document)]
        if drawings:
            found += [element("h3", title), element("p", note, class_="lesser") if note else Html(), _panels(drawings)]
            note = ""
    found.append(element("h3", "The numbers"))
    found.append(element("p", "Medians of the rounds, ± their spread (median absolute deviation).", class_="lesser"))
    found += tables(document)
    found += [element("h3", "Board and medium"), _facts(document)]
    return found


def _panels(panels: Sequence[Panel]) -> Html:
    figures = [
        element("figure", panel.drawing, element("figcaption", panel.caption) if panel.caption else Html())
        for panel in panels
    ]
    return element("div", *figures, class_="panels")


def _warnings(document: Document) -> Html:
    """What makes the numbers doubtful, in plain sight; nothing when nothing does."""
    noise = document.noise
    told = []
    if noise.throttled:
        told.append("This board was throttled while it was measured: cool it, then measure again.")
    if noise.busy_elsewhere >= _BUSY and not noise.remarks:
        told.append(f"Other programs had {noise.busy_elsewhere:.0%} of the processors.")
    told += noise.remarks
    told += [f"Not measured: {skipped.what}: {skipped.why}" for skipped in document.skipped]
    return element("ul", *(element("li", line) for line in told), class_="warnings") if told else Html()


def _facts(document: Document) -> Html:
    board, storage, noise = document.board, document.storage, document.noise
    span = " to "
    return facts(
        [
            ("board", board.model or ""),
            ("profile", board.profile or ""),
            ("kernel", board.kernel),
            ("processor", f"{board.cpus} x {board.cpu}"),
            ("memory", f"{board.memory / 2**20:.0f} MiB"),
            ("measured", document.date),
            ("by", document.hupfast),
            ("medium", storage.model or ""),
            ("kind", storage.kind),
            ("path", storage.path),
            ("serial", storage.serial or ""),
            ("CID", storage.cid or ""),
            ("size", size_words(storage.size)),
            ("sector", f"{storage.sector} bytes"),
            ("filesystem", storage.filesystem or ""),
            ("page cache", "bypassed (O_DIRECT)" if storage.direct else "could not be bypassed"),
            *((f"health: {name}", health_words(name, value)) for name, value in storage.health.items()),
            ("rounds", f"{document.settings.rounds}, on {size_words(document.settings.size)}"),
            ("load", f"{noise.load:.2f}, {noise.busy_elsewhere:.0%} busy elsewhere"),
            ("temperature", span.join(f"{value:.0f} °C" for value in noise.temperature or ())),
            ("frequency", span.join(f"{value / 1e6:.0f} MHz" for value in noise.frequency or ())),
        ]
    )


def size_words(size: int) -> str:
    """A capacity as it is printed on a medium, and in bytes."""
    return f"{size / 1e9:.1f} GB ({size} bytes)"


def _commands(documents: Sequence[Document], files: Sequence[str]) -> str:
    """The commands that measure the same and make this page."""
    lines = []
    for document, file in zip(documents, files, strict=True):
        used = document.settings
        mode = {"quick": " --quick", "full": " --full"}.get(used.mode, "")
        how = f"{shlex.quote(document.storage.path)}{mode} --size {argument(used.size)} --rounds {used.rounds}"
        how += "" if used.seconds is None else f" --seconds {used.seconds:g}"
        how += "".join(
            f" --{name} {argument(size)}"
            for name, size in (("in-flight", used.in_flight), ("memory", used.memory))
            if size
        )
        if document.pipeline is not None and document.pipeline.image != "made":
            how += f" --image {shlex.quote(document.pipeline.image)}"
        lines.append(f"hupfast bench {how} -o {_name(file)}   # on {board_name(document)}")
    lines.append(f"hupfast bench report {' '.join(map(_name, files))} -o report.html")
    return "\n".join(" ".join(line.splitlines()) for line in lines)


def _name(file: str) -> str:
    return shlex.quote(os.path.basename(file))
