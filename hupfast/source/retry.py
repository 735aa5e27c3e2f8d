"""Trying again: which failures pass, how long to wait for that, and when to give up."""

from __future__ import annotations

import email.utils
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from hupfast.errors import SourceError
from hupfast.source.transport import Transport

_BASE = 0.5
_CAP = 30.0
_RETRY_AFTER_MAX = 300.0
"""Seconds that a server may ask us to wait."""

_T = TypeVar("_T")


class Temporary(SourceError):
    """
    A failure that may be over the next time. Attempts turns it into a SourceError when it is not.

    retry_after: seconds that the server asked us to wait, or None.
    at_first_final: where nothing has answered yet, it is no failure that passes: the address is wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        errno: int | None = None,
        retry_after: float | None = None,
        at_first_final: bool = False,
    ) -> None:
        super().__init__(message, errno=errno)
        self.retry_after = retry_after
        self.at_first_final = at_first_final


class Attempts:
    """
    Counts failures in a row, and waits between them: for a random part of a time that doubles from 0.5 s to 30 s.

    Random, so that a thousand boards do not come back in the same second to a server that fell over.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._failures = 0
        self._answered = False

    def progress(self) -> None:
        """Something new has come: what failed before does not count any more."""
        self._failures = 0
        self._answered = True

    def failed(self, error: Temporary) -> None:
        """Wait for the next try. Raises SourceError when there were enough of them."""
        transport = self._transport
        self._failures += 1
        if error.at_first_final and not self._answered:
            raise SourceError(str(error), errno=error.errno) from error
        if self._failures > transport.retries:
            tries = f" ({self._failures} tries)" if self._failures > 1 else ""
            raise SourceError(f"{error}{tries}; run the same command again to go on", errno=error.errno) from error
        wait = min(_CAP, _BASE * 2 ** min(self._failures - 1, 10)) * transport.chance()
        if error.retry_after is not None:
            if error.retry_after > _RETRY_AFTER_MAX:
                raise SourceError(
                    f"{error}, and asks to be left alone for {error.retry_after:.0f} s; "
                    "run the same command again after that",
                    errno=error.errno,
                ) from error
            wait = max(wait, error.retry_after)
        if transport.tell is not None:
            transport.tell(f"{error}; trying again in {wait:.1f} s")
        transport.sleep(wait)

    def run(self, call: Callable[[], _T]) -> _T:
        """What `call` returns, once it does not raise Temporary. Raises SourceError when it never does."""
        while True:
            try:
                result = call()
            except Temporary as error:
                self.failed(error)
            else:
                self.progress()
                return result


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date. None when there is none, or nonsense."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max((date - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, OverflowError, TypeError, IndexError):  # years and hours beyond what a date can have
        return None
