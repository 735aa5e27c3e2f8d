"""
The manifest of a bundle: who it is for, what is in it, in which order.

```
{"format": 1, "name": "demo-os", "version": "2.1.0", "boards": ["virtual"],
 "created": "2026-01-31T12:00:00Z",                                        optional text, for people only
 "expires": "2027-01-31T12:00:00Z",                                        optional; UTC, in exactly this form
 "minimum_versions": {"hupfast": "0.1", "system": "1.0"},                  optional, both keys optional
 "members": [{"kind": "boot", "name": "boot/kernel", "size": 1234, "sha256": "<64 hex>"},  ... in tar order
             {"kind": "image", "name": "rootfs.img.zst", "size": 99, "image_size": 4194304,
              "chunk_size": 1048576, "table_sha256": "<64 hex>"}],         the image comes last, there is one
 "raw": [{"kind": "raw", "name": "raw/MLO", "size": 99, "sha256": "<64 hex>"}],   optional; between boot and image
 "hooks": []}
```
`table_sha256` names the chunk table at the front of the image, and the table names every chunk. What a key of
format 1 is not known here makes the bundle unusable rather than half understood; so "raw" is a key of its own, and
a hupfast that does not know it refuses the bundle. A raw member is a bootloader, or a part of one, for a place of
the disk outside of any partition (raw.py): at most 16 MiB, all together 64 MiB.
Pure: bytes in, values out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hupfast.errors import DataError
from hupfast.jsontext import parse_json
from hupfast.policy import seconds_of

FORMAT = 1
SIZE_LIMIT = 1 << 20
"""Bytes of the largest manifest that is read."""

RAW_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""The name of a raw member behind "raw/", and of the range that it goes to."""

_MEMBER_LIMIT = 4096
_RAW_COUNT_LIMIT = 64
_RAW_SIZE_LIMIT = 16 << 20
_RAW_TOTAL_LIMIT = 64 << 20
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_HEX = re.compile(r"[0-9a-f]{64}")
_FORBIDDEN = frozenset('\\:*?"<>|')
_RESERVED = (".hupfast-new", ".hupfast-old")
_SHORT = re.compile(r"(?=[^.]{1,8}(\.|$))[^.]*~[0-9]+(\.[^.]{1,3})?")
"""A name such as CONFIG~1.JSO: FAT makes them by itself, as second names of files whose own name is longer."""


@dataclass(frozen=True)
class BootMember:
    """A boot file. name: path in the tar, "boot/..."; sha256: of its bytes."""

    name: str
    size: int
    sha256: bytes

    @property
    def path(self) -> str:
        """Where it belongs, seen from the place of the boot files: the name without "boot/"."""
        return self.name.removeprefix("boot/")


@dataclass(frozen=True)
class RawMember(BootMember):
    """A bootloader for a place of the disk, read like a boot file. name: "raw/..."."""

    @property
    def path(self) -> str:
        """The name of its range in the board's profile: the name without "raw/"."""
        return self.name.removeprefix("raw/")


@dataclass(frozen=True)
class ImageMember:
    """The root filesystem, a chunked image. size: bytes in the tar; image_size: bytes that are written."""

    name: str
    size: int
    image_size: int
    chunk_size: int
    table_sha256: bytes


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself."""

    name: str
    version: str
    boards: tuple[str, ...]
    boot: tuple[BootMember, ...]
    image: ImageMember
    created: str = ""
    minimum_versions: Mapping[str, str] = field(default_factory=dict)
    raw: tuple[RawMember, ...] = ()
    expires: str = ""

    @property
    def members(self) -> tuple[BootMember | ImageMember, ...]:
        """All members in the order of the tar."""
        return (*self.boot, *self.raw, self.image)


def check_word(value: object, what: str) -> str:
    """
    A name or version: 1 to 64 letters, digits and . _ + ~ -, a letter or digit first. Raises: DataError.
    """
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise DataError(
            f"{what} is {value!r:.100}: it must be 1 to 64 letters, digits and . _ + ~ -, and begin with a letter or"
            " digit"
        )
    return value


def check_member_name(name: object) -> str:
    """
    A name that stays inside its place on every filesystem, FAT included. Raises: DataError.

    No absolute path, no "." or "..", no empty part, no control character, nothing that FAT forbids.
    """
    if not isinstance(name, str) or not 0 < len(name.encode("utf-8", "replace")) <= 255:
        raise DataError(f"the member name {name!r:.300} is not a text of 1 to 255 bytes")
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise DataError(f"the member name {name!r} is absolute or leaves its place")
        if any(letter in _FORBIDDEN or not letter.isprintable() for letter in part):
            raise DataError(f"the member name {name!r} has a character that a boot partition cannot hold")
        if part != part.strip(" ") or part.endswith(".") or part.casefold().endswith(_RESERVED):
            raise DataError(f"the member name {name!r} has a part that a boot partition cannot hold")
        if _SHORT.fullmatch(part):
            raise DataError(f"the member name {name!r} has a part that may be the short name of another file on FAT")
    return name


def check_raw_member(name: str, size: int) -> None:
    """A name and size that a raw member can have. Raises: DataError."""
    if not re.fullmatch(f"raw/{RAW_NAME}", name):
        raise DataError(
            f"the raw member {name!r} is not raw/ and 1 to 64 letters, digits and . _ -, a letter or digit first"
        )
    if not 0 < size <= _RAW_SIZE_LIMIT:
        raise DataError(f"the raw member {name!r} has {size} bytes: it must have 1 to {_RAW_SIZE_LIMIT}")


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in the exact bytes of manifest.json. Raises: DataError with the key that is wrong."""
    document = _Object(parse_json(data, "the manifest", SIZE_LIMIT), "the manifest")
    if document.number("format", 0) != FORMAT:
        raise DataError(f"the manifest's format is not {FORMAT}: this bundle needs another version of hupfast")
    if document.take("hooks", []) != []:
        raise DataError("the manifest asks for hooks, which this version of hupfast does not run")
    boards = document.texts("boards")
    members = document.take("members")
    if not isinstance(members, list) or not 0 < len(members) <= _MEMBER_LIMIT:
        raise DataError(f"the manifest's members are not a list of 1 to {_MEMBER_LIMIT}")
    boot = tuple(_boot_member(member, index) for index, member in enumerate(members[:-1]))
    manifest = Manifest(
        name=check_word(document.take("name"), "the manifest's name"),
        version=check_word(document.take("version"), "the manifest's version"),
        boards=tuple(check_word(board, "a board of the manifest") for board in boards),
        boot=boot,
        image=_image_member(members[-1]),
        created=document.text("created", ""),
        minimum_versions=_minimum_versions(document.take("minimum_versions", {})),
        raw=_raw_members(document.take("raw", [])),
        expires=document.text("expires", ""),
    )
    document.finish()
    if manifest.expires:
        seconds_of(manifest.expires)
    if sum(member.size for member in manifest.members) >= 1 << 62:
        raise DataError("the members of the bundle are larger together than any file can be")
    check_distinct([member.name for member in manifest.members])
    return manifest


def serialize_manifest(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: the same manifest gives the same bytes."""
    document: dict[str, object] = {
        "format": FORMAT,
        "name": manifest.name,
        "version": manifest.version,
        "boards": list(manifest.boards),
    }
    if manifest.created:
        document["created"] = manifest.created
    if manifest.expires:
        document["expires"] = manifest.expires
    if manifest.minimum_versions:
        document["minimum_versions"] = dict(sorted(manifest.minimum_versions.items()))
    document["members"] = [describe_member(member) for member in manifest.members if not isinstance(member, RawMember)]
    if manifest.raw:
        document["raw"] = [describe_member(member) for member in manifest.raw]
    document["hooks"] = []
    return json.dumps(document, indent=1).encode() + b"\n"


def describe_member(member: BootMember | ImageMember) -> dict[str, object]:
    """A member as the manifest has it."""
    if isinstance(member, ImageMember):
        return {
            "kind": "image",
            "name": member.name,
            "size": member.size,
            "image_size": member.image_size,
            "chunk_size": member.chunk_size,
            "table_sha256": member.table_sha256.hex(),
        }
    kind = "raw" if isinstance(member, RawMember) else "boot"
    return {"kind": kind, "name": member.name, "size": member.size, "sha256": member.sha256.hex()}


def check_distinct(names: Sequence[str]) -> None:
    """No two names that FAT takes for one, and no file in the place of a directory. Raises: DataError."""
    files: dict[str, str] = {}
    for name in names:
        other = files.get(name.casefold(), "")
        if other:
            raise DataError(f"the members {other!r} and {name!r} of the bundle are one file on a boot partition")
        files[name.casefold()] = name
    for name in names:
        parts = name.casefold().split("/")
        for depth in range(1, len(parts)):
            other = files.get("/".join(parts[:depth]), "")
            if other:
                raise DataError(f"the member {other!r} of the bundle is a file, and {name!r} needs it as a directory")


class _Object:
    """A JSON object whose keys are taken one by one; finish() finds those that nobody asked for."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise DataError(f"{what} is no JSON object")
        self._rest = dict(value)
        self._what = what

    def take(self, key: str, default: object = None) -> object:
        if key not in self._rest and default is None:
            raise DataError(f"{self._what} has no {key!r}")
        return self._rest.pop(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or len(value) > 256 or not value.isprintable():
            raise DataError(f"{self._what}: {key!r} is no short text")
        return value

    def texts(self, key: str) -> list[str]:
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise DataError(f"{self._what}: {key!r} is no list of texts")
        return value

    def number(self, key: str, least: int) -> int:
        value = self.take(key)
        if type(value) is not int or not least <= value < 1 << 62:
            raise DataError(f"{self._what}: {key!r} is {value!r:.100}, not a number from {least} on")
        return value

    def digest(self, key: str) -> bytes:
        value = self.take(key)
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            raise DataError(f"{self._what}: {key!r} is no SHA-256 of 64 hex digits")
        return bytes.fromhex(value)

    def finish(self) -> None:
        if self._rest:
            raise DataError(f"{self._what} has the unknown key {next(iter(self._rest))!r:.100}")


def _boot_member(value: object, index: int) -> BootMember:
    member = _Object(value, f"members[{index}] of the manifest")
    if member.take("kind") != "boot":
        raise DataError(f"members[{index}] of the manifest is no boot file, though only the last may be the image")
    name = check_member_name(member.take("name"))
    if not name.startswith("boot/"):
        raise DataError(f"the boot file {name!r} of the bundle is not in boot/")
    result = BootMember(name, member.number("size", 0), member.digest("sha256"))
    member.finish()
    return result


def _raw_members(value: object) -> tuple[RawMember, ...]:
    if not isinstance(value, list) or len(value) > _RAW_COUNT_LIMIT:
        raise DataError(f"the manifest's raw members are not a list of at most {_RAW_COUNT_LIMIT}")
    members = tuple(_raw_member(member, index) for index, member in enumerate(value))
    if sum(member.size for member in members) > _RAW_TOTAL_LIMIT:
        raise DataError(f"the raw members of the bundle are larger than {_RAW_TOTAL_LIMIT} bytes together")
    return members


def _raw_member(value: object, index: int) -> RawMember:
    member = _Object(value, f"raw[{index}] of the manifest")
    if member.take("kind") != "raw":
        raise DataError(f"raw[{index}] of the manifest is no raw member")
    result = RawMember(member.text("name"), member.number("size", 0), member.digest("sha256"))
    check_raw_member(result.name, result.size)
    member.finish()
    return result


def _image_member(value: object) -> ImageMember:
    member = _Object(value, "the last member of the manifest")
    if member.take("kind") != "image":
        raise DataError("the last member of the manifest is no image")
    name = check_member_name(member.take("name"))
    if name.startswith("boot/") or "/" in name or name.startswith("manifest."):
        raise DataError(f"the image of the bundle cannot have the name {name!r}")
    chunk_size = member.number("chunk_size", 1 << 16)
    if chunk_size > 1 << 26 or chunk_size & (chunk_size - 1):
        raise DataError(f"the manifest's chunk_size {chunk_size} is no power of two from 64 KiB to 64 MiB")
    result = ImageMember(
        name=name,
        size=member.number("size", 1),
        image_size=member.number("image_size", 1),
        chunk_size=chunk_size,
        table_sha256=member.digest("table_sha256"),
    )
    member.finish()
    return result


def _minimum_versions(value: object) -> Mapping[str, str]:
    minimum = _Object(value, "minimum_versions of the manifest")
    result = {}
    for key in ("hupfast", "system"):
        if (text := minimum.text(key, "")) != "":
            result[key] = check_word(text, f"minimum_versions.{key} of the manifest")
    minimum.finish()
    return result
