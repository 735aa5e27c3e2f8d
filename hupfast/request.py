"""
What an update was asked for, kept on the state partition while it is under way: `request.json`.

```
{"format": 1, "attempts": 0,
 "source": "/mnt/usb/os.hup" | "https://...", "board": null | "name", "key": null | "/etc/hupfast/key.pem",
 "allow_unsigned": false, "allow_downgrade": false, "memory": 16777216, "reboot": true,
 "ca_file": null, "auth_file": null, "limit_rate": 0, "limit_write": 0, "background": false,
 "durable": 0, "failures": 0}
```
It is there from the first write to the end of the update, so it is there after a power cut, and `hupfast update
--resume` goes on with it (systemd/hupfast-resume.service does at boot). A source that cannot be opened again
(standard input, an open file) leaves no request. It names the file with what to log in with, and never holds that:
what was in the environment only (HUPFAST_AUTH) is not there after a reboot. An address may have a key in its query,
and is needed as it is: the file is for its owner only, and messages leave the query out. An update that fails while it
is carried out has ended, but for one whose source failed: the network may be there after the next boot.
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

MAX_FAILURES = 2000
"""Times in a row that its source fails, days at the least, until that counts as an attempt."""

_FORMAT = 1


@dataclass(frozen=True)
class Request:
    """
    The arguments of hupfast.update, of those that matter for going on.

    attempts: to go on, without getting farther. durable: bytes of the image that were there at the last one.
    failures: of the source, in a row.
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
    failures: int = 0

    @property
    def public_source(self) -> str:
        """The source, for messages."""
        if "://" not in self.source:
            return self.source
        from hupfast.source.address import public_name

        return public_name(self.source)

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
    write_atomic(directory / NAME, json.dumps({"format": _FORMAT, **asdict(request)}, indent=1).encode() + b"\n", 0o600)


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
        request = replace(request, attempts=0, failures=0)
    request = replace(request, durable=durable)
    if request.attempts >= MAX_ATTEMPTS:
        save_request(directory, None)
        raise Refused(
            f"the update from {request.public_source} was gone on with {MAX_ATTEMPTS} times and was cut off each time;"
            " look for the cause in the log, then run `hupfast update SOURCE` as before"
        )
    request = replace(request, attempts=request.attempts + 1)
    save_request(directory, request)
    return request


def source_failed(directory: Path, request: Request) -> None:
    """Note that an attempt has ended because of its source: the line is to blame, and may be better later."""
    failures = request.failures + 1
    attempts = request.attempts if failures > MAX_FAILURES else 0
    save_request(directory, replace(request, attempts=attempts, failures=failures))


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
    counts = (request.attempts, request.durable, request.failures)
    numbers = (*counts, request.memory, request.limit_rate, request.limit_write)
    if any(type(number) is not int or number < 0 for number in numbers) or type(request.source) is not str:
        raise ValueError("a value of the wrong type")
    return request
