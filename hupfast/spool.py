"""
Boot files of a bundle that streams in wait here, on the state partition, until the image behind them is
written.

A bundle in a local file needs no waiting place: its members are read when they are needed.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hupfast.bundle import Bundle
from hupfast.durable import make_directory, write_chunks
from hupfast.errors import DigestError
from hupfast.manifest import BootMember
from hupfast.system import digest, explained, read_chunks


def fetch_boot_files(
    bundle: Bundle, members: Sequence[BootMember], spool: Path
) -> Callable[[BootMember], Iterator[bytes]]:
    """
    Check every boot file of `members` whole, and return what gives its bytes later on.

    spool: directory for those of a stream. Raises: DigestError, DataError, SourceError, HupfastError.
    """
    if not bundle.is_stream:
        for member in members:
            for _ in bundle.boot_file(member):
                pass
        return bundle.boot_file
    empty_spool(spool)
    make_directory(spool)
    for member in members:
        write_chunks(spool / member.sha256.hex(), bundle.boot_file(member))

    def from_spool(member: BootMember) -> Iterator[bytes]:
        path = spool / member.sha256.hex()
        if digest(read_chunks(path)) != member.sha256:
            raise DigestError(f"{path}, the boot file {member.name} in waiting, has changed since it was fetched")
        return read_chunks(path)

    return from_spool


def empty_spool(spool: Path) -> None:
    """Remove what waits. Raises: HupfastError."""
    with explained(f"cannot clean up {spool}"):
        if spool.is_dir():
            for path in spool.iterdir():
                path.unlink()
