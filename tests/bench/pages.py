"""Reading a page of `hupfast bench report` back: its tables, its text, and where the points of its drawings are."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree

_NUMBERS = re.compile(r"-?[0-9.]+")


@dataclass
class Table:
    """Cells of a table, as text; the first row is its head."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)


class Page(HTMLParser):
    """The page as a browser's parser sees it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[Table] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("th", "td"):
            self.tables[-1].rows[-1].append("")
        if tag == "meta":
            self._inside.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag, f"</{tag}> closes what is not open"

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.text += data
        if self._inside and self._inside[-1] in ("th", "td"):
            self.tables[-1].rows[-1][-1] += data
        elif self._inside and self._inside[-1] == "caption":
            self.tables[-1].caption += data

    def table(self, caption: str) -> Table:
        """The one table whose caption begins so."""
        (found,) = [table for table in self.tables if table.caption.startswith(caption)]
        return found


class Drawing:
    """One drawing of a page. Values are told by the ticks of the axes, as a reader would."""

    def __init__(self, page: str, name: str) -> None:
        self.name = name
        for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
            if f'id="{name}-figure_1"' in text:
                self.root = ElementTree.fromstring(text)
                return
        raise AssertionError(f"there is no drawing {name}")

    def find(self, key: str) -> ElementTree.Element:
        """What has this id."""
        (found,) = [item for item in self.root.iter() if item.get("id") == f"{self.name}-{key}"]
        return found

    def ticks(self, axis: str) -> dict[str, float]:
        """Labels of the ticks of x or y, and where they are."""
        found = {}
        for item in self.root.iter():
            if re.fullmatch(rf"{self.name}-{axis}tick_[0-9]+", item.get("id", "")):
                mark = next(one for one in item.iter() if one.tag == "use")
                label = " ".join(text for one in item.iter("text") for text in one.itertext())
                found[label] = float(mark.get(axis, ""))
        return found

    def points(self, key: str) -> list[tuple[float, float]]:
        """The corners of a line or a bar, where they are drawn."""
        path = next(item for item in self.find(key).iter() if item.tag == "path")
        numbers = [float(number) for number in _NUMBERS.findall(path.get("d", ""))]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def value(self, axis: str, at: float) -> float:
        """What a place on a linear axis stands for."""
        ticks = [(float(label.replace("\N{MINUS SIGN}", "-")), place) for label, place in self.ticks(axis).items()]
        (low, first), (high, last) = ticks[0], ticks[-1]
        return low + (at - first) / (last - first) * (high - low)
