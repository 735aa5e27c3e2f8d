"""
Block maps (.bmap), versions 1.3, 1.4 and 2.0: which blocks of an image hold data, with their checksums.

    <bmap version="2.0">
        <ImageSize> 821752 </ImageSize>                        bytes
        <BlockSize> 4096 </BlockSize>                          bytes
        <BlocksCount> 201 </BlocksCount>                       ImageSize / BlockSize, rounded up
        <MappedBlocksCount> 117 </MappedBlocksCount>           blocks in all ranges
        <ChecksumType> sha256 </ChecksumType>                  1.3 has no such element: there it is sha1
        <BmapFileChecksum> 9aa7... </BmapFileChecksum>         1.3: BmapFileSHA1
        <BlockMap>
            <Range chksum="a2c5..."> 0-1 </Range>              first and last block; 1.3: sha1="..."
            <Range> 5 </Range>                                 one block; a checksum may be missing
        </BlockMap>
    </bmap>

The file has a checksum of itself, made with "0" in the place of its digits. It is checked before any
number in the file is used. A checksum of a range is that of its bytes, cut at the end of the image.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hupfast.errors import DataError, DigestError, SourceError
from hupfast.run import Range

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

SIZE_LIMIT = 16 * 2**20
"""Bytes of the largest file that is read: some 100,000 ranges."""

_VERSIONS = ("1.3", "1.4", "2.0")
_DIGEST_SIZES = {"sha1": 20, "sha256": 32}


@dataclass(frozen=True)
class Bmap:
    """
    A block map. image_size and block_size: bytes. ranges: what is to be written, in order, not overlapping.

    checksum_type: "sha1" or "sha256", of the file itself and of the ranges that have a checksum.
    """

    version: str
    image_size: int
    block_size: int
    checksum_type: str
    ranges: tuple[Range, ...]

    @property
    def mapped_size(self) -> int:
        """Bytes that are to be written."""
        return sum(item.length for item in self.ranges)


def load(path: str | os.PathLike[str]) -> Bmap:
    """
    Read a block map file.

    Raises SourceError when it cannot be read, DataError with the line when it is malformed, DigestError when
    its own checksum does not fit.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot read the block map {name}: {reason}") from error
    return parse(data, name)


def parse(data: bytes, name: str) -> Bmap:
    """The block map in the bytes of a .bmap file. Pure; `name` is for messages. Raises as load does."""
    if len(data) > SIZE_LIMIT:
        raise DataError(f"{name} is larger than {SIZE_LIMIT >> 20} MiB, and so no block map")
    document = _Document(name)
    document.read(data)
    version = document.version
    if version not in _VERSIONS:
        raise DataError(f"{name} is a block map of version {version}; {', '.join(_VERSIONS)} are understood")
    kind = "sha1" if version == "1.3" else document.text("ChecksumType")
    if kind not in _DIGEST_SIZES:
        raise DataError(f"{name} has checksums of the type {kind}; {' and '.join(_DIGEST_SIZES)} are understood")
    _check_file(data, document.text("BmapFileSHA1" if version == "1.3" else "BmapFileChecksum"), kind, name)

    image_size, block_size = document.number("ImageSize"), document.number("BlockSize")
    if block_size == 0:
        raise document.error("BlockSize is 0", "BlockSize")
    ranges = document.ranges(image_size, block_size, "sha1" if version == "1.3" else "chksum", kind)
    return Bmap(version, image_size, block_size, kind, ranges)


def _check_file(data: bytes, checksum: str, kind: str, name: str) -> None:
    import hashlib

    blanked = data.replace(checksum.encode(), b"0" * len(checksum), 1)
    if not checksum or hashlib.new(kind, blanked).hexdigest() != checksum.lower():
        raise DigestError(f"{name} is damaged or was edited: its own checksum does not fit; get it again")


class _Document:
    """The XML of a block map, taken apart into texts; nothing of it is understood yet."""

    def __init__(self, name: str) -> None:
        self.version = ""
        self._name = name
        self._path: list[str] = []
        self._texts: dict[str, list[str]] = {}
        self._lines: dict[str, int] = {}
        self._ranges: list[tuple[int, dict[str, str], list[str]]] = []
        self._parser: XMLParserType

    def read(self, data: bytes) -> None:
        from xml.parsers import expat

        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise DataError(f"{self._name} is no block map: line {error.lineno}: {what}") from None

    def text(self, element: str) -> str:
        """What stands in an element of the top level."""
        if element not in self._texts:
            raise DataError(f"{self._name} is no whole block map: it has no {element}")
        return "".join(self._texts[element]).strip()

    def number(self, element: str) -> int:
        return self._number(self.text(element), self._lines[element])

    def ranges(self, image_size: int, block_size: int, attribute: str, kind: str) -> tuple[Range, ...]:
        """The ranges in bytes, checked against each other and against the counts."""
        self.text("BlockMap")  # a file without one is not a map of nothing
        found = []
        next_block = mapped = 0
        blocks = -(-image_size // block_size)
        for line, attributes, texts in self._ranges:
            first_text, dash, last_text = "".join(texts).strip().partition("-")
            first = self._number(first_text, line)
            last = self._number(last_text, line) if dash else first
            if not next_block <= first <= last < blocks:
                raise self._wrong(line, f"blocks {first} to {last} overlap, are out of order or outside the image")
            next_block = last + 1
            mapped += next_block - first
            start, end = first * block_size, min(next_block * block_size, image_size)
            found.append(Range(start, end - start, self._digest(attributes.get(attribute), kind, line)))
        for element, count in (("BlocksCount", blocks), ("MappedBlocksCount", mapped)):
            if element in self._texts and self.number(element) != count:
                raise self.error(f"{element} is {self.text(element)}, and there are {count}", element)
        return tuple(found)

    def error(self, what: str, element: str) -> DataError:
        return self._wrong(self._lines[element], what)

    def _number(self, text: str, line: int) -> int:
        if not (text.isascii() and text.strip().isdigit() and len(text) < 20):
            raise self._wrong(line, f"{text[:40]!r} is no number")
        return int(text)

    def _digest(self, text: str | None, kind: str, line: int) -> bytes | None:
        if text is None:
            return None
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        if len(digest) != _DIGEST_SIZES[kind]:
            raise self._wrong(line, f"{text[:80]!r} is no {kind} checksum")
        return digest

    def _wrong(self, line: int, what: str) -> DataError:
        return DataError(f"{self._name} is no block map: line {line}: {what}")

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        if not self._path:
            if element != "bmap":
                raise self._wrong(line, f"it begins with {element[:40]!r}, not with 'bmap'")
            self.version = attributes.get("version", "")
        elif self._path == ["bmap"]:
            if element in self._lines:
                raise self._wrong(line, f"a second {element[:40]!r}")
            self._lines[element], self._texts[element] = line, []
        elif self._path == ["bmap", "BlockMap"] and element == "Range":
            self._ranges.append((line, attributes, []))
        self._path.append(element)

    def _end(self, element: str) -> None:
        self._path.pop()

    def _characters(self, text: str) -> None:
        if len(self._path) == 2:
            self._texts[self._path[1]].append(text)
        elif self._path == ["bmap", "BlockMap", "Range"]:
            self._ranges[-1][2].append(text)

    def _refuse_doctype(self, *declaration: object) -> None:
        # Entities are declared there: some that grow without end, some that read other files.
        raise self._wrong(self._parser.CurrentLineNumber, "it declares a document type")
