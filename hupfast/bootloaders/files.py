"""What every bootloader that is told by a file needs: read it whole, replace it whole, and read it back."""

from pathlib import Path

from hupfast.durable import write_atomic
from hupfast.errors import HupfastError, MismatchError
from hupfast.system import read_chunks, read_small


def read_file(path: Path) -> bytes:
    """The bytes of a bootloader's file. Raises: HupfastError when it is missing: there is nothing to switch."""
    if path.is_symlink():
        # A rename would replace the link, and the bootloader would go on reading the file behind it.
        raise HupfastError(f"the bootloader's file {path} is a symbolic link; name the file itself in the profile")
    data = read_small(path)
    if data is None:
        raise HupfastError(
            f"the bootloader's file {path} is missing; is the boot partition mounted, and is it this board?"
        )
    return data


def replace_file(path: Path, data: bytes) -> None:
    """
    Replace a bootloader's file: beside, flush, rename, flush, then read back past the cache and compare.

    Raises: HupfastError, MediumError, MismatchError.
    """
    write_atomic(path, data)
    if b"".join(read_chunks(path, past_cache=True)) != data:
        raise MismatchError(f"the bootloader's file {path} does not hold what was written into it")
