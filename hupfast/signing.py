"""
Making keys and signatures, on the machine that builds: no board needs this module.

A private key is a PKCS#8 PEM file, with or without a passphrase; `hupfast keygen` and `openssl genpkey -algorithm
ed25519` make the same. A key that is elsewhere (a token, another machine) signs what `export_manifest` writes, and
`attach` puts its signature in. Whoever signs a bundle vouches for its manifest, and with it for every member.

Signing changes manifest.sig only, the second member of the tar: what is behind it is copied piece by piece into a
file beside, which is then renamed. The bundle is opened once, so that what is copied is what was looked at.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.bundle import MANIFEST, SIGNATURE, Front, open_bundle
from hupfast.bundling import check_place
from hupfast.durable import write_atomic, write_chunks
from hupfast.errors import DataError, DigestError, HupfastError, Refused, UsageError
from hupfast.keys import Key, parse_key, read_key
from hupfast.signatures import Signature, make_signature, parse_signatures, serialize_signatures, with_signature
from hupfast.source import FileSource
from hupfast.system import BLOCK, explained
from hupfast.tar import BLOCK as TAR_BLOCK
from hupfast.tar import make_header, padded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_RAW_SIZE = 64
_PASSPHRASE_LIMIT = 1023
"""Bytes of the longest passphrase: OpenSSL's -passin file: cuts a longer line there."""


@dataclass(frozen=True)
class KeyPair:
    """The two files of a key. id: see signatures.py."""

    private: Path
    public: Path
    id: str


def make_key(name: str | os.PathLike[str], passphrase: bytes | None = None) -> KeyPair:
    """
    Make NAME.key, which stays secret (mode 0600), and NAME.pem, which belongs on boards.

    Raises: Refused when one of them exists, UsageError when there is no such folder or `name` names no file,
    HupfastError.
    """
    text = os.fspath(name)
    if os.path.basename(text) in ("", ".", ".."):
        raise UsageError(f"{text!r} names no file to make NAME.key and NAME.pem of; give a name such as `release`")
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = Path(f"{text}.key"), Path(f"{text}.pem")
    for path in (private, public):
        if os.path.lexists(path):
            raise Refused(f"{path} exists, and a key is never replaced: give another name")
        check_place(path, force=False)
    key = Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    write_atomic(private, secret, 0o600)
    write_atomic(public, _public_pem(key))
    return KeyPair(private, public, read_key(public).id)


def read_passphrase(path: Path | None) -> bytes | None:
    """
    The first line of a file, as OpenSSL's -passin file: reads it; None for no file.

    The line ends at the line feed: a carriage return before it is part of the passphrase there, and so it is here.
    Raises: UsageError, also for a line that OpenSSL would not read to its end.
    """
    if path is None:
        return None
    line = _named_file("passphrase file", path, _PASSPHRASE_LIMIT + 1).split(b"\n", 1)[0]
    if not line:
        raise UsageError(f"the passphrase file {path} has an empty first line; put the passphrase there")
    if len(line) > _PASSPHRASE_LIMIT:
        raise UsageError(
            f"the passphrase in {path} is longer than {_PASSPHRASE_LIMIT} bytes, of which openssl reads no more"
        )
    if b"\0" in line:
        raise UsageError(f"the passphrase in {path} has a NUL in it, behind which openssl reads no more")
    return line


def _named_file(what: str, path: Path, limit: int) -> bytes:
    """At most `limit` bytes of the start of a file that the user named. Raises: UsageError, HupfastError."""
    if path.is_dir():
        raise UsageError(f"the {what} {path} is a folder; name the file")
    with explained(f"cannot read {path}"):
        try:
            with path.open("rb") as file:
                return file.read(limit)
        except FileNotFoundError:
            raise UsageError(f"the {what} {path} does not exist") from None


def sign(bundle: Path, key: Path, passphrase: bytes | None = None, out: Path | None = None, *, force: bool) -> str:
    """
    Sign a bundle with a private key, in place or into `out`; an older signature of the same key is replaced.

    Returns the key id. Raises: UsageError for what is no private key or a wrong passphrase, DataError for what is no
    bundle, Refused when `out` exists (without force), HupfastError.
    """
    _need_cryptography()
    private = _load_private(key, passphrase)
    public = parse_key(_public_pem(private), key)
    with _opened(bundle) as found:
        _put(found, out, public, private.sign(found.front.manifest), force=force)
    return public.id


def export_manifest(bundle: Path, out: Path, *, force: bool) -> None:
    """Write the exact bytes that are to be signed. Raises: DataError for what is no bundle, Refused, HupfastError."""
    with _opened(bundle) as found:
        check_place(out, force=force)
        write_atomic(out, found.front.manifest)


def attach(bundle: Path, signature: Path, key: Path, out: Path | None = None, *, force: bool) -> str:
    """
    Put in a signature that was made elsewhere: a file of its 64 bytes, checked with the public key first.

    Returns the key id. Raises: DigestError when it is not one of this key over this bundle, and what sign() raises.
    """
    public = read_key(key)
    raw = _named_file("signature", signature, _RAW_SIZE + 1)
    if len(raw) != _RAW_SIZE:
        size = f"{len(raw)} bytes" if len(raw) < _RAW_SIZE else f"more than {_RAW_SIZE} bytes"
        raise DataError(f"the signature {signature} has {size}; it must be the {_RAW_SIZE} bytes of Ed25519")
    with _opened(bundle) as found:
        _put(found, out, public, raw, force=force)
    return public.id


@dataclass(frozen=True)
class _Opened:
    """A bundle that a board would understand. fd: the open file. members: where the first one behind the front is."""

    path: Path
    fd: int
    front: Front
    members: int


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """Open a bundle file, and look at its front and headers. Raises: DataError, SourceError, UsageError."""
    if not path.is_file():
        raise UsageError(f"the bundle {path} is no file; a bundle is signed as a file, and uploaded then")
    with explained(f"cannot read {path}"), path.open("rb", buffering=0) as file:
        fd = file.fileno()
        source = FileSource(fd, str(path), offset=0, size=os.fstat(fd).st_size, owned=False)
        with open_bundle(source) as bundle:
            first = bundle.accept().members[0]
            yield _Opened(path, fd, bundle.front, bundle.offset(first) - TAR_BLOCK)


def _put(bundle: _Opened, out: Path | None, key: Key, raw: bytes, *, force: bool) -> None:
    signature, front = make_signature(key.id, raw), bundle.front
    try:
        key.verify(front.manifest, raw)
    except DigestError:
        raise DigestError(
            f"the signature is not one of the key {key.path} over the manifest of {bundle.path}"
        ) from None
    present: tuple[Signature, ...] = parse_signatures(front.signature) if front.signature is not None else ()
    text = serialize_signatures(with_signature(present, signature))
    if out is None or (out.exists() and os.path.samefile(out, bundle.path)):
        out = Path(os.path.realpath(bundle.path))
    else:
        check_place(out, force=force)
    write_chunks(out, _signed(bundle, text), stat.S_IMODE(os.fstat(bundle.fd).st_mode), exact=True)


def _signed(bundle: _Opened, signatures: bytes) -> Iterator[bytes]:
    """The bytes of the bundle with these signatures."""
    for name, data in ((MANIFEST, bundle.front.manifest), (SIGNATURE, signatures)):
        yield make_header(name, len(data)) + data + bytes(padded(len(data)) - len(data))
    offset = bundle.members
    with explained(f"cannot read {bundle.path}"):
        while piece := os.pread(bundle.fd, BLOCK, offset):
            yield piece
            offset += len(piece)


def _need_cryptography() -> None:
    from importlib.util import find_spec

    if find_spec("cryptography") is None:
        raise HupfastError(
            "keys and signatures are made with the Python package cryptography, which is not installed: install"
            " hupfast[pack], or use openssl and `hupfast bundle sign --export` and --attach"
        )


def _load_private(path: Path, passphrase: bytes | None) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _named_file("private key", path, 64 * 1024)
    if passphrase is None and b"ENCRYPTED" in data:
        raise UsageError(f"the private key {path} has a passphrase: give a file with it as --passphrase-file")
    try:
        key = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if passphrase is not None and b"ENCRYPTED" in data:
            raise UsageError(f"the passphrase of the private key {path} is wrong, or the key is damaged") from None
        if passphrase is not None and b"PRIVATE KEY" in data:
            raise UsageError(f"the private key {path} has no passphrase: leave --passphrase-file out") from None
        raise UsageError(f"{path} is no private key in PEM ({str(error).partition('.')[0]})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"the private key {path} is not an Ed25519 one: `hupfast keygen` makes one")
    return key


def _public_pem(key: "Ed25519PrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
