"""
What an update was asked for, kept on the state partition while it is under way: `request.json`.

```
{"format": 1, "attempts": 0,
 "source": "/mnt/usb/os.hup" | "https://...", "board": null | "name", "key": null | "/etc/hupfast/key.pem",
 "allow_unsigned": false, "allow_downgrade": false, "memory": 16777216, "reboot": true,
 "ca_file": null, "auth_file": null, "limit_rate": 0, "limit_write": 0, "background": false, "durable": 0}
```
It is there from the first write to the end of the update, so it is there after a power cut, and `hupfast update
--resume` goes on with it (systemd/hupfast-resume.service does at boot). A source that cannot be opened again
(standard input, an open file) leaves no request. It names the file with what to log in with, and never holds that:
what was in the environment only (HUPFAST_AUTH) is not there after a reboot. An update that ends with an error has
ended, but for one whose source failed: the network may be there after the next boot.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hupfast.durable import make_directory, remove_durably, write_atomic
from hupfast.errors import NothingToDo, Refused
from hupfast.source.transport import Transport
from hupfast.system import read_small

NAME = "request.json"
MAX_ATTEMPTS = 5
"""Times that an update is gone on with by itself: one that takes the board down each time must end."""

_FORMAT = 1


@dataclass(frozen=True)
class Request:
    """
    The arguments of hupfast.update, of those that matter for going on.

    attempts: to go on, without getting farther. durable: bytes of the image that were there at the last one.
    """

    source: str
    board: str | None
    key: str | None
    allow_unsigned: bool
    allow_downgrade: bool
    memory: int
    reboot: bool
    attempts: int = 0
    ca_file: str | None = None
    auth_file: str | None = None
    limit_rate: int = 0
    limit_write: int = 0
    background: bool = False
    durable: int = 0

    @property
    def transport(self) -> Transport:
        """How its source is reached."""
        return Transport(self.ca_file, self.auth_file, self.limit_rate)


def repeatable(source: object) -> str | None:
    """The source in a form that means the same from any directory, or None when it cannot be opened again."""
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str) or source == "-":
        return None
    return source if "://" in source else os.path.abspath(source)


def save_request(directory: Path, request: Request | None) -> None:
    """Keep a request durably; None drops the one that is there. Raises: HupfastError, MediumError."""
    if request is None:
        remove_durably(directory / NAME)
        return
    make_directory(directory)
    write_atomic(directory / NAME, json.dumps({"format": _FORMAT, **asdict(request)}, indent=1).encode() + b"\n")


def next_attempt(directory: Path, durable: int) -> Request:
    """
    The request to go on with, its attempt counted durably.

    durable: bytes of the image that are there by the journal; an update that gets farther each time may go on for ever.

    Raises: NothingToDo when there is none, Refused when it makes no sense or was tried too often (then it is dropped).
    """
    try:
        request = _load(directory)
    except ValueError as error:
        raise Refused(
            f"{directory / NAME} cannot be understood ({error}); run `hupfast update SOURCE` as before"
        ) from None
    if request is None:
        raise NothingToDo("no update was cut off, so there is none to go on with")
    if durable > request.durable:
        request = replace(request, attempts=0, durable=durable)
    if request.attempts >= MAX_ATTEMPTS:
        save_request(directory, None)
        raise Refused(
            f"the update from {request.source} was gone on with {MAX_ATTEMPTS} times and was cut off each time;"
            " look for the cause in the log, then run `hupfast update SOURCE` as before"
        )
    request = replace(request, attempts=request.attempts + 1)
    save_request(directory, request)
    return request


def _load(directory: Path) -> Request | None:
    """Raises: ValueError with the reason when the file makes no sense."""
    data = read_small(directory / NAME)
    if data is None:
        return None
    try:
        document = json.loads(data)
        if document.pop("format") != _FORMAT:
            raise ValueError("unknown format")
        request = Request(**document)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    numbers = (request.attempts, request.memory, request.limit_rate, request.limit_write, request.durable)
    if any(type(number) is not int for number in numbers) or type(request.source) is not str:
        raise ValueError("a value of the wrong type")
    return request
