"""
Reading a bundle: an uncompressed tar (tar.py) whose order is fixed, so that it can be used while it streams.

```
manifest.json      what it is and what follows (manifest.py)
manifest.sig       optional: a signature over the exact bytes of manifest.json
boot/...           the boot files, in the order of the manifest
raw/...            optional: bootloaders for places of the disk, in the order of the manifest
rootfs.img.zst     the image, chunked, last
```
The bytes of the front come out first and uninterpreted (`Bundle.front`), so that whoever opens a bundle can
decide whether to trust them; only then is the manifest understood (`Bundle.accept`). A bundle in a local file
gives its members in any order, one behind an address too, at a request each when they are not read in the order of
the tar; one from a stream gives them once, in that order.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from hupfast.errors import DataError, DigestError, HupfastError, SourceError
from hupfast.manifest import SIZE_LIMIT, BootMember, ImageMember, Manifest, parse_manifest
from hupfast.source import MEMORY_DEFAULT, FileSource, PartSource, SliceSource, Source, open_source
from hupfast.tar import BLOCK, Header, check_padding, padded, parse_header

if TYPE_CHECKING:
    from hupfast.source import SourceLike
    from hupfast.source.transport import Transport

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
_SIGNATURE_LIMIT = 64 * 1024
_PIECE = 256 * 1024
_MAGIC = 8

HEAD = 64 * 1024
"""Bytes at the start of a bundle that hold the manifest and its signatures, as a rule."""


@dataclass(frozen=True)
class Front:
    """What stands before the members, as it came: nothing of it is to be believed yet."""

    manifest: bytes
    signature: bytes | None

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's bytes, in hex: the name of exactly this bundle."""
        from hupfast.engine import sha256

        return sha256(self.manifest).hex()


class Bundle:
    """
    An open bundle. A context manager; closing it closes the source.

    front: its first bytes. name: where it comes from, for messages. size: its bytes, when known. memory:
    bytes of the budget that reading it takes.
    """

    def __init__(self, source: Source) -> None:
        """Read the front. Raises: DataError when it is no bundle, SourceError when it cannot be read."""
        self.name = source.name
        self.size = source.size
        self.memory = source.memory
        self._stream = _Reader(source)
        self._manifest: Manifest | None = None
        self._offsets: dict[str, int] = {}
        self.front = self._read_front()
        self._first_member = self._stream.next_header

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._stream.source.close()

    @property
    def is_stream(self) -> bool:
        """Whether the members come once and in order only."""
        return self._stream.is_stream

    @property
    def is_local(self) -> bool:
        """Whether it is a file on this machine: its members can be read at any time, and as often as is wanted."""
        return self._stream.file is not None

    def accept(self) -> Manifest:
        """
        Understand the front, which the caller trusts now, and check what can be checked without reading on.

        Raises: DataError when the manifest is wrong, or the bundle is shorter than it says.
        """
        manifest = parse_manifest(self.front.manifest)
        self._manifest = manifest
        offset = self._first_member
        for member in manifest.members:
            self._offsets[member.name] = offset
            offset += BLOCK + padded(member.size)
        if self.size is not None and self.size < offset - padded(manifest.image.size) + manifest.image.size:
            raise DataError(f"the bundle {self.name} is cut short: {self.size} bytes of {offset}")
        if self.is_local:
            for member in manifest.members:
                self._header_of(member)
        self._stream.head = self.offset(manifest.image)
        return manifest

    def offset(self, member: BootMember | ImageMember) -> int:
        """Where the member's bytes begin, in bytes from the start of the bundle. accept() comes first."""
        return self._offsets[member.name] + BLOCK

    def boot_file(self, member: BootMember) -> Iterator[bytes]:
        """
        The bytes of a boot file or raw member, piece by piece, whole only when the iterator ends without an exception.

        Raises: DigestError at its end when they are not the ones that the manifest names; DataError,
        SourceError.
        """
        import hashlib

        self._header_of(member)
        digest = hashlib.sha256()
        behind = self.offset(member) + member.size
        for piece in self._stream.pieces(self.offset(member), member.size):
            digest.update(piece)
            yield piece
        if digest.digest() != member.sha256:
            raise DigestError(f"{member.name} in the bundle {self.name} is not the file that its manifest names")
        check_padding(self._stream.read(behind, padded(member.size) - member.size), member.name)

    def image(self) -> Source:
        """
        The image as a source for write_image, positioned at its first byte. Raises: DataError, SourceError.
        """
        member = self._accepted().image
        self._header_of(member)
        return self._stream.part(self.offset(member), member.size, f"{member.name} of {self.name}")

    def rest(self) -> Iterator[bytes]:
        """The bytes behind the image, to the end of the bundle, piece by piece. Raises: DataError, SourceError."""
        image = self._accepted().image
        return self._stream.to_end(self.offset(image) + image.size)

    def _accepted(self) -> Manifest:
        if self._manifest is None:
            raise HupfastError("the manifest of the bundle has not been accepted")
        return self._manifest

    def _read_front(self) -> Front:
        self._stream.refuse_packed()
        header = self._stream.header(0)
        if header is None or header.name != MANIFEST:
            raise DataError(f"{self.name} is no hupfast bundle: it does not begin with {MANIFEST}")
        manifest = self._stream.small(header, SIZE_LIMIT)
        header = self._stream.header(self._stream.next_header)
        if header is None or header.name != SIGNATURE:
            return Front(manifest, None)
        return Front(manifest, self._stream.small(header, _SIGNATURE_LIMIT))

    def _header_of(self, member: BootMember | ImageMember) -> None:
        self._accepted()
        header = self._stream.header(self._offsets[member.name])
        if header != Header(member.name, member.size):
            found = f"{header.name!r} with {header.size} bytes" if header else "its end"
            raise DataError(
                f"the bundle {self.name} does not hold what its manifest says: {found} is where"
                f" {member.name!r} with {member.size} bytes must be"
            )


def open_bundle(
    location: "SourceLike", *, memory: int = MEMORY_DEFAULT, transport: "Transport | None" = None
) -> Bundle:
    """
    Open a bundle: path, URL, "-" for standard input, or anything else that open_source takes. memory, transport: see
    there.

    Raises: DataError, SourceError, UsageError.
    """
    source = open_source(location, memory=memory, transport=transport, head=HEAD, decode=False)
    try:
        return Bundle(source)
    except BaseException:
        source.close()
        raise


class _Reader:
    """
    Bytes of the bundle by offset: a local file by pread, another source by seek, a stream only forward; exactly as far
    as asked.

    next_header: offset of the header that was read last, or of the one after a member read by small(). head: where the
    bytes end that will be read soon in any case, and so are asked for at once.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.file = source.fileno() if isinstance(source, FileSource) else None
        self.is_stream = self.file is None and not source.seekable
        self.next_header = 0
        self.head = HEAD
        self._start = 0
        if self.file is not None:
            self._start = os.lseek(self.file, 0, os.SEEK_CUR)
            # Or the kernel reads ahead into the image, as far as the disk is set to: many megabytes of page cache.
            os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_RANDOM)
        self._seen: tuple[int, Header | None] | None = None

    def refuse_packed(self) -> None:
        """No decoder sees a byte before the signature over it is checked. Raises: DataError, SourceError."""
        from hupfast.source.decode import is_packed

        if self.source.format != "auto" or is_packed(self.source.peek(_MAGIC)):
            raise DataError(f"{self.source.name}: a bundle is not compressed as a whole: unpack it first")

    def header(self, offset: int) -> Header | None:
        """The header at `offset`; None at the end of the archive. The last one may be asked for again."""
        if self._seen is None or self._seen[0] != offset:
            self._seen = (offset, parse_header(self.read(offset, BLOCK)))
            self.next_header = offset
        return self._seen[1]

    def small(self, header: Header, limit: int) -> bytes:
        """The whole member that `header`, the last one, announces."""
        if header.size > limit:
            raise DataError(f"{header.name} of the bundle {self.source.name} is larger than {limit} bytes")
        data = self.read(self.next_header + BLOCK, padded(header.size))
        check_padding(data[header.size :], header.name)
        self.next_header += BLOCK + padded(header.size)
        return data[: header.size]

    def read(self, offset: int, size: int) -> bytes:
        """Exactly these bytes. Raises: DataError when the bundle ends before, SourceError."""
        buffer = bytearray(size)
        view = memoryview(buffer)
        self._go_to(offset, offset + size)
        while view:
            count = self._read_some(offset, view)
            if count == 0:
                raise self._cut_short(offset)
            offset += count
            view = view[count:]
        return bytes(buffer)

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """These bytes, piece by piece; they do not stay in the page cache."""
        for position in range(offset, offset + size, _PIECE):
            yield self.read(position, min(_PIECE, offset + size - position))
        if self.file is not None:
            os.posix_fadvise(self.file, self._start + offset, size, os.POSIX_FADV_DONTNEED)

    def to_end(self, offset: int) -> Iterator[bytes]:
        """All bytes from `offset` on, piece by piece."""
        self._go_to(offset, None)
        piece = bytearray(_PIECE)
        while count := self._read_some(offset, memoryview(piece)):
            yield bytes(piece[:count])
            offset += count

    def part(self, offset: int, size: int, name: str) -> Source:
        """These bytes as a source of their own."""
        if self.file is not None:
            return SliceSource(self.file, self._start + offset, size, name)
        self._go_to(offset, offset + size)
        return PartSource(self.source, size, name)

    def _read_some(self, offset: int, view: memoryview) -> int:
        if self.file is None:
            return self.source.readinto(view)
        try:
            return os.preadv(self.file, [view], self._start + offset)
        except OSError as error:
            raise SourceError(f"cannot read {self.source.name}: {error.strerror}", errno=error.errno) from error

    def _go_to(self, offset: int, end: int | None) -> None:
        """Be where the bytes from `offset` to `end` are read next; None: all that come."""
        if self.is_stream:
            self._skip_to(offset)
        elif self.file is None:
            self.source.seek(offset, None if end is None else max(end, self.head))

    def _skip_to(self, offset: int) -> None:
        position = self.source.taken
        if offset < position:
            raise HupfastError(f"the bundle {self.source.name} is a stream, which cannot be read again")
        scratch = memoryview(bytearray(min(_PIECE, offset - position)))
        while position < offset:
            count = self.source.readinto(scratch[: offset - position])
            if count == 0:
                raise self._cut_short(position)
            position += count

    def _cut_short(self, position: int) -> HupfastError:
        """A file that is too short is bad data; a stream that ends too early may be whole the next time."""
        if self.file is not None:
            return DataError(f"the bundle {self.source.name} is cut short: it ends at byte {position}")
        return SourceError(f"{self.source.name} ended at byte {position} of the bundle; run the same command again")
