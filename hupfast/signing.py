"""
Making keys and signatures, on the machine that builds: no board needs this module.

A private key is a PKCS#8 PEM file, with or without a passphrase; `hupfast keygen` and `openssl genpkey -algorithm
ed25519` make the same. A key that is elsewhere (a token, another machine) signs what `export_manifest` writes, and
`attach` puts its signature in. Whoever signs a bundle vouches for its manifest, and with it for every member.

Signing changes manifest.sig only, the second member of the tar: what is behind it is copied piece by piece into a
file beside, which is then renamed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.bundle import MANIFEST, SIGNATURE, Front, open_bundle
from hupfast.bundling import check_place
from hupfast.durable import write_atomic, write_chunks
from hupfast.errors import DataError, DigestError, HupfastError, Refused, UsageError
from hupfast.keys import Key, parse_key, read_key
from hupfast.signatures import Signature, make_signature, parse_signatures, serialize_signatures, with_signature
from hupfast.system import BLOCK, explained, read_small
from hupfast.tar import BLOCK as TAR_BLOCK
from hupfast.tar import make_header, padded

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_RAW_SIZE = 64


@dataclass(frozen=True)
class KeyPair:
    """The two files of a key. id: see signatures.py."""

    private: Path
    public: Path
    id: str


def make_key(name: Path, passphrase: bytes | None = None) -> KeyPair:
    """
    Make NAME.key, which stays secret (mode 0600), and NAME.pem, which belongs on boards.

    Raises: Refused when one of them exists, UsageError when there is no such folder, HupfastError.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = name.with_name(name.name + ".key"), name.with_name(name.name + ".pem")
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
    """The first line of a file, as OpenSSL's -passin file: reads it; None for no file. Raises: UsageError."""
    if path is None:
        return None
    data = read_small(path, 4096)
    if data is None:
        raise UsageError(f"the passphrase file {path} does not exist")
    line = data.split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise UsageError(f"the passphrase file {path} has an empty first line; put the passphrase there")
    return line


def sign(bundle: Path, key: Path, passphrase: bytes | None = None, out: Path | None = None, *, force: bool) -> str:
    """
    Sign a bundle with a private key, in place or into `out`; an older signature of the same key is replaced.

    Returns the key id. Raises: UsageError for what is no private key or a wrong passphrase, DataError for what is no
    bundle, Refused when `out` exists (without force), HupfastError.
    """
    _need_cryptography()
    private = _load_private(key, passphrase)
    public = parse_key(_public_pem(private), key)
    front = read_front(bundle)
    _put(bundle, out, front, public, private.sign(front.manifest), force=force)
    return public.id


def export_manifest(bundle: Path, out: Path, *, force: bool) -> None:
    """Write the exact bytes that are to be signed. Raises: DataError for what is no bundle, Refused, HupfastError."""
    front = read_front(bundle)
    check_place(out, force=force)
    write_atomic(out, front.manifest)


def attach(bundle: Path, signature: Path, key: Path, out: Path | None = None, *, force: bool) -> str:
    """
    Put in a signature that was made elsewhere: a file of its 64 bytes, checked with the public key first.

    Returns the key id. Raises: DigestError when it is not one of this key over this bundle, and what sign() raises.
    """
    public = read_key(key)
    raw = read_small(signature, 4096)
    if raw is None:
        raise UsageError(f"the signature {signature} does not exist")
    if len(raw) != _RAW_SIZE:
        raise DataError(f"the signature {signature} has {len(raw)} bytes; it must be the {_RAW_SIZE} bytes of Ed25519")
    _put(bundle, out, read_front(bundle), public, raw, force=force)
    return public.id


def read_front(bundle: Path) -> Front:
    """The front of a bundle file that a board would understand. Raises: DataError, SourceError, UsageError."""
    if not bundle.is_file():
        raise UsageError(f"the bundle {bundle} is no file; a bundle is signed as a file, and uploaded then")
    with open_bundle(bundle) as opened:
        opened.accept()
        return opened.front


def _put(bundle: Path, out: Path | None, front: Front, key: Key, raw: bytes, *, force: bool) -> None:
    signature = make_signature(key.id, raw)
    try:
        key.verify(front.manifest, raw)
    except DigestError:
        raise DigestError(f"the signature is not one of the key {key.path} over the manifest of {bundle}") from None
    present: tuple[Signature, ...] = parse_signatures(front.signature) if front.signature is not None else ()
    text = serialize_signatures(with_signature(present, signature))
    if out is None or (out.exists() and os.path.samefile(out, bundle)):
        out = Path(os.path.realpath(bundle))
    else:
        check_place(out, force=force)
    write_chunks(out, _signed(bundle, front, text))


def _signed(bundle: Path, front: Front, signatures: bytes) -> Iterator[bytes]:
    """The bytes of the bundle with these signatures."""
    for name, data in ((MANIFEST, front.manifest), (SIGNATURE, signatures)):
        yield make_header(name, len(data)) + data + bytes(padded(len(data)) - len(data))
    members = TAR_BLOCK + padded(len(front.manifest))
    if front.signature is not None:
        members += TAR_BLOCK + padded(len(front.signature))
    with explained(f"cannot read {bundle}"), bundle.open("rb", buffering=0) as file:
        file.seek(members)
        while piece := file.read(BLOCK):
            yield piece


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

    data = read_small(path, 64 * 1024)
    if data is None:
        raise UsageError(f"the private key {path} does not exist")
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
