"""How addresses are reached: one value that goes from the command line to whatever opens a connection."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field


def chance() -> float:
    """A random number from 0 to 1. The module `random` would cost more memory than it is worth here."""
    return int.from_bytes(os.urandom(4), "little") / 2**32


@dataclass(frozen=True)
class Transport:
    """
    How addresses are reached.

    ca_file: certificates (PEM) of those who may vouch for a server; None: those of the system.
    auth_file: a file with what to log in with (auth.py); None: the environment's HUPFAST_AUTH, if it is there.
    limit_rate: bytes a second that may come in or go out at most; 0: as many as there are.
    connect_timeout: seconds that each step of connecting may take: to reach one of the server's addresses, to hear from
        the proxy, to get one message of TLS.
    stall_timeout: seconds without a byte after which a connection is given up, and seconds for all of an answer that
        comes before the bytes of its body.
    retries: failures in a row, without a byte that is new between them, that are borne.
    tell: called with one sentence before each wait for another try.
    clock, sleep, chance: time and luck, for tests.
    """

    ca_file: str | None = None
    auth_file: str | None = None
    limit_rate: int = 0
    connect_timeout: float = 20.0
    stall_timeout: float = 30.0
    retries: int = 8
    tell: Callable[[str], None] | None = field(default=None, compare=False)
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False, repr=False)
    chance: Callable[[], float] = field(default=chance, compare=False, repr=False)
