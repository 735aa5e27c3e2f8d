"""
Logging in at a registry: by itself (basic), or with a token that another server gives (bearer).

```
GET /v2/os/blobs/...           401, WWW-Authenticate: Bearer realm="https://auth.example.org/token",
                                                             service="registry", scope="repository:os:pull"
GET https://auth.example.org/token?service=registry&scope=repository%3Aos%3Apull     Authorization: Basic ...
                               200, {"token": "...", "expires_in": 300}              or "access_token"
GET /v2/os/blobs/...           Authorization: Bearer ...
```
Without a user and password the token is asked for without them: that is how public repositories are read. A token that
the user brought (`bearer TOKEN`) is used as it is.

Who may see the password: the registry that the user named, and where that one, over TLS, sends us for tokens, over TLS
too. A registry without TLS could be anybody, so it may only name the same host.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hupfast.errors import DataError, Refused, SourceError, UsageError
from hupfast.jsontext import parse_json
from hupfast.oci.challenge import Challenge, parse_challenges
from hupfast.source.address import parse, public_name
from hupfast.source.auth import VARIABLE, credentials
from hupfast.source.http import HttpClient
from hupfast.source.retry import Attempts

if TYPE_CHECKING:
    from http.client import HTTPMessage

    from hupfast.oci.reference import Reference
    from hupfast.source.transport import Transport

_LIMIT = 64 << 10
_LIFE = 60.0
"""Seconds that a token lasts of which nothing is said."""

_EARLY = 5.0
"""Seconds before its end from which a token is not used again."""


class Authorizer:
    """What HttpClient asks when a registry says 401. Remembers tokens as long as they last."""

    def __init__(self, reference: Reference, transport: Transport) -> None:
        """Raises: UsageError when the user's own words for logging in cannot be read."""
        self._reference = reference
        self._transport = transport
        self._secret = credentials(transport) or ""
        self._tokens: dict[tuple[str, str, str], tuple[str, float]] = {}
        self._given = ""
        self._home = parse(reference.api).origin

    def __call__(self, url: str, headers: HTTPMessage) -> str | None:
        """
        The Authorization for a request that was answered with 401; None when there is no other than was tried.

        Raises: SourceError when no token can be had, Refused when the password may not be sent there.
        """
        if parse(url).origin != self._home:  # where a redirect has led to: neither password nor token are for that
            return None
        challenges = parse_challenges(", ".join(headers.get_all("WWW-Authenticate") or ()))
        bearer = next((item for item in challenges if item.scheme == "bearer" and "realm" in item.parameters), None)
        if bearer is None or self._secret.startswith("Bearer "):
            return None
        self._given = "Bearer " + self._token(bearer)
        return self._given

    def _token(self, challenge: Challenge) -> str:
        parameters = challenge.parameters
        realm, service, scope = (parameters.get(name, "") for name in ("realm", "service", "scope"))
        key = (realm, service, scope)
        now = self._transport.clock()
        token, end = self._tokens.get(key, ("", 0.0))
        if not token or now >= end or f"Bearer {token}" == self._given:
            token, life = self._fetch(realm, service, scope)
            self._tokens[key] = (token, now + life - _EARLY)
        return token

    def _fetch(self, realm: str, service: str, scope: str) -> tuple[str, float]:
        self._check_realm(realm)
        query = urllib.parse.urlencode(
            [(name, value) for name, value in (("service", service), ("scope", scope)) if value]
        )
        url = parse(realm).url
        url += ("&" if "?" in url else "?") + query
        headers = {"Authorization": self._secret} if self._secret else {}
        with HttpClient(self._transport) as client:

            def ask() -> bytes:
                with client.open("GET", url, headers) as response:
                    if response.status in (400, 401, 403):  # some say 400 to a wrong password
                        raise SourceError(self._refused(realm, response.status))
                    return response.expect(200).read_all(_LIMIT)

            return _parse(Attempts(self._transport).run(ask), public_name(realm))

    def _refused(self, realm: str, status: int) -> str:
        to = "to the user and password of" if self._secret else "to who does not log in: do so with"
        return (
            f"{public_name(realm)}, which gives tokens for the registry {self._reference.host}, answered {status} {to}"
            f" --auth-file or {VARIABLE}"
        )

    def _check_realm(self, realm: str) -> None:
        """Whether tokens may be asked for there."""
        host = self._reference.host
        try:
            address = parse(realm)
        except UsageError:
            raise SourceError(
                f"the registry {host} sends us for a token to {public_name(realm)!r}, which is no address"
            ) from None
        if self._reference.scheme == "https":
            if address.scheme != "https":
                raise Refused(f"the registry {host} sends us for a token to {public_name(realm)}, which is not https")
        elif self._secret and address.host != urllib.parse.urlsplit(f"//{host}").hostname:
            raise Refused(
                f"the registry {host}, which is used without TLS, sends us for a token to another host,"
                f" {public_name(realm)}: your password is not sent there; use the registry over https"
            )


def _parse(data: bytes, realm: str) -> tuple[str, float]:
    """A token, and the seconds that it lasts."""
    try:
        document = parse_json(data, "a token", _LIMIT)
    except DataError:
        document = None
    found: Mapping[str, object] = document if isinstance(document, dict) else {}
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        raise SourceError(f"{realm} was asked for a token, and answered something else; tell who runs it")
    life = found.get("expires_in")
    return token, float(life) if type(life) is int and 0 < life < 10**9 else _LIFE
