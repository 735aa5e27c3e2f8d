"""
The headers of the one kind of tar that a bundle is: POSIX ustar, regular files only.

```
offset size                      all numbers are octal text, ended by a NUL or a blank
     0  100  name                NUL-padded; the whole path is prefix "/" name
   100    8  mode
   124   12  size                bytes of the member; from 8 GiB on big endian binary with the first bit set
   148    8  checksum            sum of all 512 bytes, these eight taken as blanks
   156    1  type                "0" or NUL: regular file
   257    8  "ustar" NUL "00"    or "ustar" blank blank NUL (GNU tar, no prefix then)
   345  155  prefix
```
A header is one 512-byte block, the member's bytes follow, padded to whole blocks; two zero blocks end it all.
Own code, and not the standard library's tarfile, because a bundle is read from streams that must not be read
one byte too far, and because everything else that a tar can hold (links, devices, sparse and extended
headers) is refused, not interpreted.
"""

from dataclasses import dataclass

from hupfast.errors import DataError

BLOCK = 512
END = bytes(2 * BLOCK)
"""What stands after the last member."""

_OCTAL_LIMIT = 8**11
_SIZE_LIMIT = 1 << 62


@dataclass(frozen=True)
class Header:
    """One member: its name as written, and its size in bytes."""

    name: str
    size: int


def padded(size: int) -> int:
    """`size` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def check_padding(data: bytes, name: str) -> None:
    """The bytes behind a member, up to the next block: no signature covers them. Raises: DataError when not zero."""
    if any(data):
        raise DataError(f"the bundle has bytes behind {name} that do not belong to it; get the bundle again")


def make_header(name: str, size: int) -> bytes:
    """
    The block of a regular file, mode 0644, owner 0, time 0. Raises: DataError when the name does not fit.
    """
    prefix, short = _split(name)
    size_field = b"%011o\0" % size if size < _OCTAL_LIMIT else b"\x80" + size.to_bytes(11, "big")
    block = bytearray(BLOCK)
    block[0 : len(short)] = short
    block[100:124] = b"0000644\0" + 2 * b"0000000\0"
    block[124:136] = size_field
    block[136:148] = b"00000000000\0"
    block[156:157] = b"0"
    block[257:265] = b"ustar\00000"
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b"%06o\0 " % _checksum(block)
    return bytes(block)


def parse_header(block: bytes) -> Header | None:
    """The member that a 512-byte block announces; None for a zero block. Raises: DataError."""
    if len(block) != BLOCK:
        raise DataError(f"a tar header has {len(block)} bytes instead of {BLOCK}: the bundle is cut short")
    if not any(block):
        return None
    magic = block[257:265]
    if magic not in (b"ustar\00000", b"ustar  \0"):
        raise DataError("this is no bundle: there is no tar header where one must be")
    if block[148:156] != b"%06o\0 " % _checksum(block):  # as every tar writes it: no other spelling of the same number
        raise DataError("a tar header of the bundle is damaged: its checksum is wrong")
    raw = _text(block[0:100])
    if magic == b"ustar\00000" and block[345]:
        raw = _text(block[345:500]) + b"/" + raw
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"a member of the bundle has the name {raw!r}, which is not UTF-8") from None
    if block[156:157] not in (b"0", b"\0"):
        raise DataError(
            f"the member {name!r} of the bundle is no regular file (tar type {block[156:157]!r});"
            " make bundles with `hupfast bundle create`"
        )
    return Header(name, _number(block[124:136]))


def _checksum(block: bytes | bytearray) -> int:
    return sum(block) - sum(block[148:156]) + 8 * 0x20


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") - (1 << (8 * len(field) - 1))
    else:
        text = field.rstrip(b" \0").lstrip(b" ")
        if not text or any(digit not in b"01234567" for digit in text):
            raise DataError(f"a tar header of the bundle is damaged: {field!r} is no number")
        value = int(text, 8)
    if not 0 <= value < _SIZE_LIMIT:
        raise DataError(f"a tar header of the bundle is damaged: {value} is no size")
    return value


def _text(field: bytes) -> bytes:
    text, _, rest = field.partition(b"\0")
    if any(rest):
        raise DataError(f"a tar header of the bundle is damaged: {field!r} has bytes behind its end")
    return text


def _split(name: str) -> tuple[bytes, bytes]:
    raw = name.encode()
    if len(raw) <= 100:
        return b"", raw
    cut = raw.find(b"/", len(raw) - 101)
    if cut < 1 or cut > 155 or cut == len(raw) - 1:
        raise DataError(
            f"the name {name!r} is too long for a bundle: at most 100 bytes, or 255 with a / in the right place"
        )
    return raw[:cut], raw[cut + 1 :]
