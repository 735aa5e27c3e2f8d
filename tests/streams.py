"""What tests of streamed updates share: a bundle behind an address, a board to put it on, and who asked for what."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hupfast.errors import HupfastError
from hupfast.source.transport import Transport
from servers import Request

PATH = "/os.hup"
OLD = b"old " * (3 << 18)
"""A slot that holds none of the chunks."""

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def hasty(**how: Any) -> Transport:
    """A transport that does not wait before it tries again."""
    return Transport(**{"sleep": lambda _: None, "retries": 3, **how})


def asked(requests: Iterable[Request], size: int) -> list[tuple[int, int]]:
    """Start and end of the ranges that were asked for, of a file of `size` bytes."""
    found = []
    for request in requests:
        match = _RANGE.fullmatch(request.headers.get("Range", "bytes=0-"))
        assert match is not None
        found.append((int(match[1]), int(match[2]) + 1 if match[2] else size))
    return found


def overlap(ranges: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """Bytes from `start` to `end` that were asked for."""
    return sum(max(min(end, until) - max(start, begin), 0) for begin, until in ranges)


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def command(board: Any, *arguments: object, piped: bytes = b"", **environment: str) -> Done:
    """The real `hupfast`, in a process of its own, with a pipe as its standard input; never with a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "hupfast", *map(str, arguments), "--root", board.root],
        input=piped,
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )
    found = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in found.err
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a board, but for the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def ending(call: Callable[[], Any]) -> int:
    """The exit code that an update ends in."""
    try:
        return int(call().exit_code)
    except HupfastError as error:
        return error.exit_code
