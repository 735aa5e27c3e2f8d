"""
What a registry is asked, in the words of the OCI distribution specification.

```
GET  /v2/NAME/manifests/TAG or sha256:...      the manifest
HEAD /v2/NAME/blobs/sha256:...                 200 when it is there, else 404
POST /v2/NAME/blobs/uploads/                   202, Location: where to put the blob
PUT  LOCATION?digest=sha256:...                201; the registry checks the digest
PUT  /v2/NAME/manifests/TAG                    201
```
Blobs are read by HttpSource, with ranges. What breaks off is tried again, a blob from its first byte.
"""

from __future__ import annotations

import errno
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from hupfast.engine import sha256
from hupfast.errors import DataError, DigestError, SourceError
from hupfast.jsontext import parse_json
from hupfast.oci.artifact import MANIFEST_LIMIT, MANIFEST_TYPE
from hupfast.oci.reference import Reference
from hupfast.oci.token import Authorizer
from hupfast.source.address import one_line, parse, redirected
from hupfast.source.auth import VARIABLE
from hupfast.source.http import HttpClient, HttpResponse
from hupfast.source.retry import Attempts, Temporary
from hupfast.source.transport import Transport

if TYPE_CHECKING:
    from types import TracebackType

_T = TypeVar("_T")
_ERROR_LIMIT = 64 * 1024


class Registry:
    """
    One repository of a registry. A context manager.

    client: to read blobs with; it is logged in when the registry asks for it.
    """

    def __init__(self, reference: Reference, transport: Transport | None = None) -> None:
        """Nothing is asked yet. Raises: UsageError when what to log in with cannot be read."""
        self.reference = reference
        transport = transport or Transport()
        self.client = HttpClient(transport)
        self.client.authorizer = Authorizer(reference, transport)
        self._attempts = Attempts(transport)

    def blob_url(self, digest: str) -> str:
        """Where a blob is."""
        return f"{self.reference.api}/blobs/{digest}"

    def manifest(self) -> tuple[bytes, str]:
        """
        The manifest that the reference names, and its digest.

        Raises: SourceError when it cannot be had, DigestError when it is not the one that was asked for by digest.
        """
        reference = self.reference

        def ask() -> bytes:
            url = f"{reference.api}/manifests/{reference.wanted}"
            with self.client.open("GET", url, {"Accept": MANIFEST_TYPE}) as response:
                if response.status == 404:
                    raise SourceError(f"{reference.text} is not in the registry; look for its name and tag there")
                self._expect(response, 200, "read")
                return response.read_all(MANIFEST_LIMIT)

        data = self._run(ask)
        digest = f"sha256:{sha256(data).hex()}"
        if reference.digest and digest != reference.digest:
            raise DigestError(f"{reference.text}: the registry sent another manifest, {digest}; do not trust it")
        return data, digest

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether a blob is there already. Raises: SourceError."""

        def ask() -> bool:
            with self.client.open("HEAD", self.blob_url(digest)) as response:
                if response.status == 404:
                    return False
                self._expect(response, 200, "read")
                return response.headers.get("Content-Length") in (None, str(size))

        return self._run(ask)

    def upload(self, digest: str, size: int, body: BinaryIO) -> None:
        """
        Put a blob there, in one piece.

        body: a file of its `size` bytes; read, and looked up with tell, seek and seekable. Raises: SourceError.
        """

        def send() -> None:
            with self.client.open("POST", f"{self.reference.api}/blobs/uploads/", {"Content-Length": "0"}) as response:
                self._expect(response, 202, "write")
                place = self._place(response)
            place += ("&" if "?" in place else "?") + f"digest={urllib.parse.quote(digest, safe='')}"
            body.seek(0)
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            with self.client.open("PUT", place, headers, body) as response:
                self._expect(response, 201, "write")

        self._run(send)

    def put_manifest(self, data: bytes) -> str:
        """Let the tag stand for this manifest, whose blobs are there. Returns its digest. Raises: SourceError."""

        def send() -> None:
            url = f"{self.reference.api}/manifests/{self.reference.tag}"
            with self.client.open("PUT", url, {"Content-Type": MANIFEST_TYPE}, data) as response:
                self._expect(response, 201, "write")

        self._run(send)
        return f"sha256:{sha256(data).hex()}"

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Callable[[], _T]) -> _T:
        try:
            return self._attempts.run(call)
        except SourceError as error:
            if error.errno != errno.ECONNREFUSED:
                raise
            raise SourceError(f"{error}; is there a registry at {self.reference.host}?", errno=error.errno) from error

    def _place(self, response: HttpResponse) -> str:
        """Where an upload goes: an address that may be relative. It must not lead out of TLS."""
        location = response.headers.get("Location")
        if not location:
            raise SourceError(f"the registry {self.reference.host} does not say where it takes uploads")
        try:
            return redirected(parse(response.url), location).url
        except SourceError as error:
            raise SourceError(
                f"the registry {self.reference.host} takes no uploads where it says: {error}; if a proxy stands before"
                " it, tell the registry (X-Forwarded-Proto)"
            ) from None

    def _expect(self, response: HttpResponse, status: int, verb: str) -> None:
        """Refuse any other status, in the registry's own words."""
        if response.status == status:
            return
        words = _words(response)
        error = response.refusal()
        if isinstance(error, Temporary):
            raise error
        host = self.reference.host
        said = f"the registry {host} answered {response.status} {response.reason}{f' ({words})' if words else ''}"
        if response.status in (401, 403):
            raise SourceError(
                f"you may not {verb} {self.reference.text}: {said}"
                + (response.withheld or f"; say who you are with --auth-file or in the environment's {VARIABLE}")
            )
        if response.status == 404 and "Docker-Distribution-Api-Version" not in response.headers:
            raise SourceError(f"cannot {verb} {self.reference.text}: {said}; there may be no registry at this address")
        raise SourceError(f"cannot {verb} {self.reference.text}: {said}")


def _words(response: HttpResponse) -> str:
    """What the registry says about an error: {"errors": [{"code": "DENIED", "message": "..."}]}."""
    try:
        document: Any = parse_json(response.read_all(_ERROR_LIMIT), "an error", _ERROR_LIMIT)
        found = document["errors"][0]
        text = f"{found['code']}: {found.get('message') or ''}"
    except (SourceError, DataError, LookupError, TypeError, AttributeError):
        return ""
    return one_line(text, 200).rstrip(": ")
