"""
The public keys that a board trusts: `<root>/etc/hupfast/keys/*.pem`, or the one file of --key.

Each file is one Ed25519 public key in PEM, as `hupfast keygen` and `openssl pkey -pubout` write it. Files with another
ending are not looked at. To change the key: put the new one beside the old one, sign with both for a while, then
remove the old file. A file that is not what it must be is refused, never passed over: whoever put it there thinks that
it counts.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import DataError, Refused, UsageError
from hupfast.system import explained, read_small, under

DIRECTORY = "/etc/hupfast/keys"
_SIZE_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Key:
    """A public key of Ed25519. id: 64 hex digits, see signatures.py. path: where it was read."""

    public: bytes
    id: str
    path: Path

    def verify(self, data: bytes, signature: bytes) -> None:
        """Whether its owner has signed `data`. signature: 64 bytes. Raises: DigestError."""
        from hupfast.engine import verify_signature

        verify_signature(self.public, data, signature)


def read_key(path: Path) -> Key:
    """
    The public key in a file. Raises: UsageError when there is no such file, Refused when it is no Ed25519 public key.
    """
    if path.is_dir():
        raise UsageError(f"the key {path} is a folder; name the file in it")
    data = read_small(path, _SIZE_LIMIT)
    if data is None:
        raise UsageError(f"the key {path} does not exist")
    return parse_key(data, path)


def parse_key(pem: bytes, path: Path) -> Key:
    """The public key in the bytes of `path`. Raises: Refused when it is no Ed25519 public key."""
    from hupfast import engine

    try:
        public, name = engine.parse_key(pem)
    except DataError as error:
        raise Refused(f"the key {path} cannot be used: {error}") from None
    return Key(public, name.hex(), path)


def load_keys(directory: Path) -> tuple[Key, ...]:
    """
    All keys of a directory, by the names of their files; none when there is no such directory.

    Raises: Refused for a file that ends in .pem and is no Ed25519 public key, HupfastError when one cannot be read.
    """
    with explained(f"cannot read the keys in {directory}"):
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            return ()
    return tuple(_installed(directory / name) for name in names if name.endswith(".pem"))


def _installed(path: Path) -> Key:
    try:
        return read_key(path)
    except UsageError:
        raise Refused(
            f"the key {path} cannot be used: it is a folder, or a link to a file that does not exist"
        ) from None


def trusted_keys(root: Path, key: Path | None, *, allow_unsigned: bool) -> Sequence[Key]:
    """
    The keys that count: only `key`, the file of --key, when it is given, else those that the system has.

    Raises: UsageError when that file does not exist, and when it is given although no signature is asked for;
    Refused.
    """
    if key is None:
        return load_keys(under(root, DIRECTORY))
    if allow_unsigned:
        raise UsageError(
            f"--key {key} asks for a signature of this key, and --allow-unsigned for none: give one of the two"
        )
    return (read_key(key),)
