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
_LINE = 300

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
    except ValueError:  # which quotes what may be a part of a password
        raise UsageError(f"{public_name(url)} is not an address: its host or port cannot be understood") from None
    if parts.scheme not in PORTS:
        raise UsageError(f"{public_name(url)} is not an address of http or https")
    if "@" in parts.fragment:
        raise UsageError(f"{public_name(url)} is not an address: it has an @ behind a #; use %23 for the #")
    if not parts.hostname:
        raise UsageError(f"{public_name(url)} is not an address: it names no server")
    if port == 0 or not is_host(parts.hostname):
        what = "port" if port == 0 else "name"
        raise UsageError(f"{public_name(url)} is not an address: no server can have this {what}")
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
    try:
        url = urllib.parse.urljoin(address.url, location)
    except ValueError as error:
        raise SourceError(f"{address.name} sends us to what is no address ({one_line(error)})") from None
    url = urllib.parse.quote(url, encoding="latin-1", errors="replace", safe=string.punctuation)
    allowed = ("https",) if address.scheme == "https" else ("https", "http")
    if url.partition("://")[0].lower() not in allowed:
        raise SourceError(f"{address.name} redirects to {public_name(url)}, which is not {allowed[-1]}://")
    try:
        return parse(url)
    except UsageError as error:
        raise SourceError(f"{address.name} redirects to what cannot be followed: {error}") from None


def is_host(name: str) -> bool:
    """Whether a server can have this name: parts of 1 to 63 characters, 253 in all, or an address in numbers."""
    parts = name.removesuffix(".").split(".")
    return ":" in name or (len(name) <= 253 and all(0 < len(part) <= 63 for part in parts))


def public_name(url: str) -> str:
    """
    The address without what may be secret in it: user, password and query.

    A password may have `/`, `?`, `#` and `@` in it that nobody has escaped, so nothing in front of the last `@` is
    shown, and nothing at all where that may stand in a query.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _is_scheme(scheme):
        scheme, rest = "...", ""
    hidden, at, shown = rest.rpartition("@")
    if "?" in hidden or "#" in hidden:
        return f"{scheme}://..."
    shown, question, _ = shown.partition("#")[0].partition("?")
    return one_line(f"{scheme}://{'...@' if at else ''}{shown}{'?...' if question else ''}", limit=None)


def public_source(named: str) -> str:
    """What the user named as a source, for messages: a path as it is, an address by its public_name."""
    return public_name(named) if "://" in named else named


def _is_scheme(text: str) -> bool:
    return text.isascii() and text.replace("+", "").isalnum()


def one_line(reason: object, limit: int | None = _LINE) -> str:
    """
    What a library or a server says as one line: several lines, and what would steer a terminal, become blanks.

    limit: characters that are kept; None: all.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in str(reason))
    return " ".join(text.split())[:limit]
