"""
Boot files of a bundle that does not lie on this machine wait here, on the state partition, until the image behind
them is written: by then, the network may be gone.

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

    spool: directory for those that must wait; what is there already, of a run that was cut off, is not fetched again.
    Raises: DigestError, DataError, SourceError, HupfastError.
    """
    if bundle.is_local:
        for member in members:
            for _ in bundle.boot_file(member):
                pass
        return bundle.boot_file
    _keep_only(spool, members)
    make_directory(spool)
    for member in members:
        path = spool / member.sha256.hex()
        if not _is_there(path, member):
            write_chunks(path, bundle.boot_file(member))

    def from_spool(member: BootMember) -> Iterator[bytes]:
        path = spool / member.sha256.hex()
        if digest(read_chunks(path)) != member.sha256:
            raise DigestError(f"{path}, the boot file {member.name} in waiting, has changed since it was fetched")
        return read_chunks(path)

    return from_spool


def waiting_size(members: Sequence[BootMember], spool: Path) -> int:
    """Bytes of those members that are not in the spool yet."""
    return sum(member.size for member in members if not _is_there(spool / member.sha256.hex(), member))


def _is_there(path: Path, member: BootMember) -> bool:
    return path.is_file() and path.stat().st_size == member.size and digest(read_chunks(path)) == member.sha256


def _keep_only(spool: Path, members: Sequence[BootMember]) -> None:
    wanted = {member.sha256.hex() for member in members}
    with explained(f"cannot clean up {spool}"):
        for path in spool.iterdir() if spool.is_dir() else ():
            if path.name not in wanted:
                path.unlink()


def empty_spool(spool: Path) -> None:
    """Remove what waits. Raises: HupfastError."""
    with explained(f"cannot clean up {spool}"):
        if spool.is_dir():
            for path in spool.iterdir():
                path.unlink()
