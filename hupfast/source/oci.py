"""
A bundle in an OCI registry, read in place: the bytes of its .hup file, at any offset, without such a file.

The tar around the members is made here (hupfast.oci.artifact); what is in them comes from the registry's blobs, by
ranges. What is believed of the registry is only where bytes are, see there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hupfast.errors import DataError
from hupfast.oci.artifact import VirtualTar, parse_artifact
from hupfast.oci.reference import parse_reference
from hupfast.oci.registry import Registry
from hupfast.source.base import Source
from hupfast.source.remote import HttpSource

if TYPE_CHECKING:
    from hupfast.run import Pulled
    from hupfast.source.base import Take
    from hupfast.source.transport import Transport

_SCRATCH = 64 * 1024


class OciSource(Source):
    """
    What an oci:// address names, as the bytes of a bundle.

    digest: of the OCI manifest, "sha256:...": the name of exactly these bytes, whatever becomes of the tag.
    tar: where what is. fetched: bytes that came from the registry until now.
    """

    seekable = True
    remote = True

    def __init__(self, location: str, *, transport: Transport | None = None, memory: int = 0) -> None:
        """
        Read the OCI manifest.

        Raises: UsageError for a wrong address, SourceError when the registry cannot be read, DataError when what is
        there is no bundle.
        """
        reference = parse_reference(location)
        self._registry = Registry(reference, transport)
        try:
            data, self.digest = self._registry.manifest()
            try:
                self.tar = VirtualTar(parse_artifact(data))
            except DataError as error:
                raise DataError(f"{location}: {error}") from None
        except BaseException:
            self._registry.close()
            raise
        super().__init__(location, self.tar.size)
        self.memory = memory
        self._position = 0
        self._blob: tuple[int, HttpSource] | None = None
        self._fetched = len(data)

    @property
    def fetched(self) -> int:
        """Bytes that came from the registry until now."""
        return self._fetched + (self._blob[1].fetched if self._blob else 0)

    def __enter__(self) -> OciSource:
        return self

    def close(self) -> None:
        """Close the connections."""
        self._close_blob()
        self._registry.close()

    def _moved(self) -> None:
        self._position = self.taken + len(self._peeked)

    def _read(self, buffer: memoryview) -> int:
        if not buffer:
            return 0
        found = self.tar.at(self._position)
        if isinstance(found, tuple):
            got = self._read_blob(*found, buffer)
        else:
            got = min(len(buffer), len(found))
            buffer[:got] = found[:got]
        self._position += got
        return got

    def _pull(self, take: Take, size: int) -> Pulled | None:
        found = self.tar.at(self._position)
        if not isinstance(found, tuple):
            return None
        blob, left = self._at(*found)
        pulled = blob.pull(take, min(size, left))
        self._position += 0 if pulled is None else pulled.moved
        return pulled

    def _read_blob(self, index: int, offset: int, buffer: memoryview) -> int:
        layer = self.tar.layers[index]
        blob, left = self._at(index, offset)
        got = blob.readinto(buffer[:left])
        if not got:
            raise DataError(f"{self.name}: the blob of {layer.name} ends after {offset} of {layer.size} bytes")
        return got

    def _at(self, index: int, offset: int) -> tuple[HttpSource, int]:
        """The blob of a layer, with its next byte at `offset`, and how many bytes are wanted of it from there on."""
        layer = self.tar.layers[index]
        end = layer.size if self._end is None else min(layer.size, self._end - self.tar.data(index))
        blob = self._blob[1] if self._blob is not None and self._blob[0] == index else None
        if blob is None or not (blob.seekable or blob.taken <= offset):
            self._close_blob()
            blob = HttpSource(
                self._registry.blob_url(layer.digest),
                client=self._registry.client,
                size=layer.size,
                first=(offset, end),
            )
            self._blob = index, blob
        if blob.seekable:
            blob.seek(offset, end)
        elif blob.taken < offset:  # a registry without ranges
            scratch = memoryview(bytearray(min(_SCRATCH, offset - blob.taken)))
            while blob.taken < offset and blob.readinto(scratch[: offset - blob.taken]):
                pass
        return blob, end - offset

    def _close_blob(self) -> None:
        if self._blob is not None:
            self._fetched += self._blob[1].fetched
            self._blob[1].close()
            self._blob = None
