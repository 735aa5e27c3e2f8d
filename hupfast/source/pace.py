"""A limit for bytes a second: a bucket that fills with a quarter of a second's worth, and may be owed to."""

from __future__ import annotations

from hupfast.source.transport import Transport

_BURST = 4
_PIECE = 8
_PIECE_MIN = 256


class Pace:
    """Holds back who takes or gives bytes faster than `transport.limit_rate` a second; does nothing when that is 0."""

    def __init__(self, transport: Transport) -> None:
        self._rate = transport.limit_rate
        self._clock = transport.clock
        self._sleep = transport.sleep
        self._have = self._rate / _BURST
        self._told = self._clock()

    @property
    def piece(self) -> int | None:
        """Bytes to take at once at most, so that no wait is longer than 1/8 s; None: any number."""
        return max(self._rate // _PIECE, _PIECE_MIN) if self._rate else None

    def took(self, size: int) -> None:
        """`size` bytes were taken: wait until they are paid for."""
        if not self._rate:
            return
        now = self._clock()
        self._have = min(self._have + (now - self._told) * self._rate, self._rate / _BURST) - size
        self._told = now
        if self._have < 0:
            self._sleep(-self._have / self._rate)
