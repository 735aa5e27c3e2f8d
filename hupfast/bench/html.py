"""HTML in pieces. What is not Html is text and is escaped: no name that a disk gives itself becomes markup."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str) -> Html:
    """An element. `class_` is the attribute class, `aria_label` is aria-label. Children: text, or Html."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items() if value
    )
    return Html(f"<{name}{shown}>{joined(children)}</{name}>")


def joined(children: Sequence[str]) -> Html:
    """Pieces one after another."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A table that scrolls by itself where the page is narrow. The first cell of a row names the row."""
    heads = [element("th", cell, scope="col") for cell in head]
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    inside = element(
        "table", element("caption", caption), element("thead", element("tr", *heads)), element("tbody", *body)
    )
    return element("div", inside, class_="scroll", tabindex="0", role="region", aria_label=caption)


def facts(pairs: Sequence[tuple[str, str]]) -> Html:
    """Names and what they are; those that are nothing are left out."""
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs if value))
