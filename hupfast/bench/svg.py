"""
A drawing of matplotlib becomes a part of a page: one SVG element, as text, without anything that reaches out of it.

matplotlib writes a whole document: with a style sheet that would hold for all of the page, the same ids in every
drawing, and colours that fit one background. Here the style sheet and the metadata go, ids get a prefix, and the
colours of INKS become the page's own variables, so that a drawing follows its page into the dark.

A colour is drawn as `ink("grid")`, a hex number that stands for a name, and comes out as `var(--grid)`.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import matplotlib

from hupfast.bench.html import Html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INKS = ("ink", "faint", "grid", "paper", "warn", *(f"d{n}" for n in range(6)), *(f"c{n}" for n in range(6)))
"""Names of colours: text, lesser text, grid, background, warnings, six depths (an order), six kinds (no order)."""

STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and takes the page's font
    "svg.hashsalt": "hupfast",  # the same drawing has the same ids
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
}

_HEX = re.compile(r"#0a0a([0-9a-f]{2})")
_LONG = re.compile(r"-?[0-9]+\.[0-9]{3,}")
_URL = re.compile(r"url\(#")
_FONT = re.compile(r"font-family: [^;]*;? ?")
_FONTS = re.compile(r"font: ([0-9.]+px) [^;]*")


def ink(name: str) -> str:
    """The colour to draw with, of INKS."""
    return f"#0a0a{INKS.index(name):02x}"


def style() -> dict[Any, Any]:
    """Settings of matplotlib for every drawing of ours."""
    text = {name: ink("ink") for name in ("text.color", "axes.titlecolor")}
    lesser = {name: ink("faint") for name in ("axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")}
    return {**STYLE, **text, **lesser, "grid.color": ink("grid"), "grid.linewidth": 0.7}


def inline(figure: Figure, name: str, title: str) -> Html:
    """
    The drawing as an SVG element.

    name: of this drawing, not used again in the page; its ids begin with it. title: what a screen reader says.
    """
    text = StringIO()
    with matplotlib.rc_context(style()):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _adapted(key, value, name) for key, value in element.attrib.items()}
        element.tail = None
        if element.text is not None and not element.text.strip():
            element.text = None
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib.update({"role": "img", "aria-label": title, "class": "plot"})
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _local(tag: str) -> str:
    """A name without its namespace: inside of HTML there is none."""
    return tag.rpartition("}")[2]


def _adapted(key: str, value: str, name: str) -> str:
    key = _local(key)
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key in ("d", "x", "y", "transform"):  # in points: what is less than a hundredth of one cannot be seen
        return " ".join(_LONG.sub(lambda found: f"{float(found[0]):.2f}", value).split())
    value = _URL.sub(f"url(#{name}-", value)
    value = _FONT.sub("", _FONTS.sub(r"font-size: \1", value))
    return _HEX.sub(lambda found: f"var(--{INKS[int(found[1], 16)]})", value)
