"""
What an http:// or https:// address consists of.

    https://board.example:8443/images/a.zst?token=x#front
    scheme  host          port target               (the fragment is for nobody but the reader)

User and password before the host are refused: they would be in the list of processes, in the shell's history
and in logs.
"""

from __future__ import annotations

import string
import urllib.parse
from typing import NamedTuple

from hupfast.errors import SourceError, UsageError

PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host, port: who gets a password that was meant for him."""


class Address(NamedTuple):
    """An address, taken apart. target: path and query. name: for messages, without what may be secret."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> Origin:
        """Who answers there."""
        return self.scheme, self.host, self.port

    @property
    def place(self) -> str:
        """Host, and port where it is not the usual one, as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it, in one."""
        return f"{self.scheme}://{self.place}{self.target}"

    @property
    def name(self) -> str:
        """All of it but the query."""
        return public_name(self.url)


def parse(url: str) -> Address:
    """Take an address apart. Raises UsageError when it is none, or has a password in it."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{public_name(url)} is not an address: {error}") from None
    if parts.scheme not in PORTS:
        raise UsageError(f"{public_name(url)} is not an address of http or https")
    if not parts.hostname:
        raise UsageError(f"{public_name(url)} is not an address: it names no server")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{public_name(url)} was given with a user or password in it, where every list of processes shows them: "
            "write `basic USER:PASSWORD` to a file and name it with --auth-file"
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    strange = next((c for c in parts.hostname + target if not "!" <= c <= "~"), None)
    if strange is not None:
        raise UsageError(f"{public_name(url)} is not an address: it has {strange!r} in it; use %XX for such characters")
    return Address(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port, target)


def redirected(address: Address, location: str) -> Address:
    """
    Where a server at `address` sends us to. Raises SourceError when that is no address to go to.

    The way from https must not lead to anything else: it would no longer be protected.
    """
    # Servers send spaces and letters of all kinds here; http.client has read them as Latin-1.
    url = urllib.parse.quote(urllib.parse.urljoin(address.url, location), encoding="latin-1", safe=string.punctuation)
    allowed = ("https",) if address.scheme == "https" else ("https", "http")
    if url.partition("://")[0].lower() not in allowed:
        raise SourceError(f"{address.name} redirects to {public_name(url)}, which is not {allowed[-1]}://")
    try:
        return parse(url)
    except UsageError as error:
        raise SourceError(f"{address.name} redirects to what cannot be followed: {error}") from None


def public_name(url: str) -> str:
    """The address without what may be secret in it: user, password and query."""
    scheme, _, rest = url.partition("://")
    rest = rest.partition("#")[0]
    path, question, _ = rest.partition("?")
    host, slash, path = path.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{'?...' if question else ''}"


def one_line(reason: object) -> str:
    """What a library or a server says, which may be several lines, as one."""
    return " ".join(str(reason).split())
