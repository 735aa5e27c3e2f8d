"""
What an oci:// address names: a registry, a repository in it, and a tag or digest there.

```
oci://HOST[:PORT]/NAME:TAG            the bundle that TAG stands for now
oci://HOST[:PORT]/NAME@sha256:HEX     exactly this one; with a tag too, the digest counts
```
A registry is asked over https; over plain http when it is on this machine (localhost, 127.0.0.1, [::1]), as every
other program does. `oci+http://` and `oci+https://` say which it is. A user name in the address is refused: it would be
on the command line, in `ps` and in logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hupfast.errors import UsageError
from hupfast.source.address import is_host, public_name

_SCHEMES = ("oci", "oci+http", "oci+https")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_NAME_LIMIT = 255


@dataclass(frozen=True)
class Reference:
    """
    An address, taken apart.

    scheme: http or https. host: with its port, if it has one. tag, digest ("sha256:..."): "" when not given, one of
    them is. text: the address as it was written.
    """

    scheme: str
    host: str
    name: str
    tag: str
    digest: str
    text: str

    @property
    def api(self) -> str:
        """Where the repository is: what its blobs and manifests are below."""
        return f"{self.scheme}://{self.host}/v2/{self.name}"

    @property
    def wanted(self) -> str:
        """What the manifest is asked for by: the digest, else the tag."""
        return self.digest or self.tag

    def pinned(self, digest: str) -> str:
        """The address of exactly this manifest, as the user would write it."""
        return f"{self.text.partition('://')[0]}://{self.host}/{self.name}@{digest}"


def is_oci(location: str) -> bool:
    """Whether an address is for this module."""
    scheme, separator, _ = location.partition("://")
    return bool(separator) and scheme.lower() in _SCHEMES


def parse_reference(text: str) -> Reference:
    """Take an address apart. Raises: UsageError."""
    shown = public_name(text)  # until it is known that there is no password in it
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise UsageError(f"{shown!r} is no address of a registry: write oci://HOST/NAME:TAG")
    host, _, path = rest.partition("/")
    if "@" in host:
        raise UsageError(
            f"{shown} has a user name in it, where others can see it;"
            " put it into a file for --auth-file, or into HUPFAST_AUTH"
        )
    found = _HOST.fullmatch(host)
    if not found or not is_host(found[1]) or (found[2] and not 0 < int(found[2]) < 65536):
        raise UsageError(f"{shown!r} names no registry: write oci://HOST[:PORT]/NAME:TAG")
    path, at, digest = path.partition("@")
    name, colon, tag = path.partition(":")
    if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
        raise UsageError(f"{shown!r} names no repository: use small letters and digits, with . _ - or / between them")
    if colon and not _TAG.fullmatch(tag):
        raise UsageError(f"{shown!r} has a tag that is none: it must be 1 to 128 letters, digits and . _ -")
    if at and not _DIGEST.fullmatch(digest):
        raise UsageError(f"{shown!r} has a digest that is none: it must be sha256: and 64 hexadecimal digits")
    if not colon and not at:
        raise UsageError(f"{shown!r} names no tag: write {shown}:TAG, or @sha256:... for exactly one bundle")
    plain = scheme.lower() == "oci+http" or (scheme.lower() == "oci" and found[1].lower() in _LOOPBACK)
    return Reference("http" if plain else "https", host.lower(), name, tag, digest, text)
