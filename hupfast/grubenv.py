"""
GRUB's environment block, as grub-editenv makes it and GRUB's load_env and save_env read and write it.

```
# GRUB Environment Block\\n      newer versions: # WARNING: ...\\n below it
name=value\\n                   "\\\\" and "\\n" in a value have a "\\\\" before them
#################...            to the end; 1024 bytes as a rule
```
The size never changes: GRUB's save_env writes over the blocks that the file has. At boot it looks up which
these are, so a file that was replaced by rename is as good as one written in place. (Source: GRUB,
grub-core/lib/envblk.c and its manual, "The GRUB environment block".)
"""

from collections.abc import Mapping

HEADER = b"# GRUB Environment Block\n"
SIZE = 1024
"""What grub-editenv makes."""


def parse(block: bytes) -> dict[str, str]:
    """The variables in their order. Raises: ValueError with the reason when it is no such block."""
    if not block.startswith(HEADER):
        raise ValueError("it does not begin with the line '# GRUB Environment Block'")
    variables: dict[str, str] = {}
    position = len(HEADER)
    while position < len(block):
        end = _line_end(block, position)
        line = block[position:end]
        position = end + 1
        if line.startswith(b"#") or not line:
            continue
        name, equals, value = line.partition(b"=")
        if not equals or not name:
            raise ValueError(f"the line {line[:40]!r}")
        variables[name.decode("utf-8", "surrogateescape")] = _unescaped(value)
    return variables


def change(block: bytes, changes: Mapping[str, str]) -> bytes:
    """
    The block with variables set; the others stay as they are. Raises: ValueError when it does not fit, or the
    block makes no sense.
    """
    variables = {**parse(block), **changes}
    lines = b"".join(
        name.encode("utf-8", "surrogateescape") + b"=" + _escaped(value) + b"\n" for name, value in variables.items()
    )
    head = block[: _head_end(block)]
    room = len(block) - len(head) - len(lines)
    if room < 0:
        raise ValueError(f"it has {len(block)} bytes, {-room} too few for all variables")
    return head + lines + b"#" * room


def _head_end(block: bytes) -> int:
    """Behind the header, and the lines of comment that newer versions of GRUB have below it."""
    end = len(HEADER)
    while block.startswith(b"# ", end) and b"\n" in block[end:]:
        end = block.index(b"\n", end) + 1
    return end


def _line_end(block: bytes, position: int) -> int:
    """Where the line ends; a line end with a backslash before it belongs to the value."""
    while position < len(block) and block[position] != 0x0A:
        position += 2 if block[position] == 0x5C else 1
    return min(position, len(block))


def _escaped(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape").replace(b"\\", b"\\\\").replace(b"\n", b"\\\n")


def _unescaped(value: bytes) -> str:
    plain = bytearray()
    position = 0
    while position < len(value):
        if value[position] == 0x5C and position + 1 < len(value):
            position += 1
        plain.append(value[position])
        position += 1
    return plain.decode("utf-8", "surrogateescape")
