"""
Text files of variables, as U-Boot reads them with `env import -t` (uEnv.txt and its like).

```
# comment
name=value            one a line; a zero byte ends the text, what is behind it is padding
```
A change touches the lines of its variables and nothing else: comments, order, line ends and padding stay byte
for byte. A variable that is there twice is refused: which one counts would be a guess.
"""

from collections.abc import Mapping


def parse(data: bytes) -> dict[str, str]:
    """The variables in their order. Raises: ValueError for a variable that is there twice."""
    variables: dict[str, str] = {}
    for line in data.partition(b"\0")[0].split(b"\n"):
        name, equals, value = line.rstrip(b"\r").decode("latin-1").partition("=")
        if not equals or name.lstrip().startswith("#"):
            continue
        if name.strip() in variables:
            raise ValueError(f"it has the variable {name.strip()} twice")
        variables[name.strip()] = value
    return variables


def change(data: bytes, changes: Mapping[str, str | None]) -> bytes:
    """
    The text with variables set, or without those that are None. New ones come at the end.

    Raises: ValueError as parse.
    """
    parse(data)
    text, zero, padding = data.partition(b"\0")
    left = dict(changes)
    lines = []
    for line in text.split(b"\n"):
        name = line.partition(b"=")[0].strip().decode("latin-1")
        if b"=" in line and name in left:
            value = left.pop(name)
            if value is not None:
                end = b"\r" if line.endswith(b"\r") else b""
                lines.append(line.partition(b"=")[0] + b"=" + value.encode("latin-1") + end)
        else:
            lines.append(line)
    end = b"\r" if text.split(b"\n")[0].endswith(b"\r") else b""
    new = [f"{name}={value}".encode("latin-1") + end for name, value in left.items() if value is not None]
    if new:
        lines = [*lines[:-1], *new, b""] if lines[-1] == b"" else [*lines, *new, b""]
    return b"\n".join(lines) + zero + padding
