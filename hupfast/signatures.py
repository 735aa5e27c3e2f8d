"""
`manifest.sig`: who has signed the exact bytes of manifest.json.

```
ed25519 8d39ba50...60d5 6291d657...c40a     one line for each signature, each ended by a line feed
   |          |             value: for ed25519 the 64 bytes of RFC 8032 as 128 hex digits
   |          key id: SHA-256 of the public key's DER SubjectPublicKeyInfo, 64 hex digits
   algorithm: 1 to 32 of a-z, 0-9 and -
```
ASCII, one blank between the parts, hex digits in lower case, 1 to 16 lines, 64 KiB at most, no key twice. Lines of an
algorithm that is not known here stay, and are not used: so a later one can stand beside. OpenSSL's own command line
makes the same signatures (`openssl pkeyutl -sign -rawin`), and key ids (`openssl pkey -pubin -outform DER |
sha256sum`).

Several signatures are for the change of a key: boards that trust the old one and boards that trust the new one take
the same bundle. Pure: bytes in, values out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hupfast.errors import DataError

ED25519 = "ed25519"
COUNT_LIMIT = 16
"""Signatures in one bundle."""

SIZE_LIMIT = 64 * 1024
"""Bytes of the largest manifest.sig: room for algorithms with much larger signatures."""

_LINE = re.compile(r"([a-z0-9-]{1,32}) ([0-9a-f]{64}) ([0-9A-Za-z+/=_-]+)")
_VALUE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Signature:
    """One line. key_id: 64 hex digits. value: as it is written."""

    algorithm: str
    key_id: str
    value: str


def make_signature(key_id: str, raw: bytes) -> Signature:
    """An Ed25519 signature of 64 bytes, as a line. Raises: DataError when it has another length."""
    if len(raw) != 64:
        raise DataError(f"a signature of Ed25519 has 64 bytes, and this one has {len(raw)}")
    return Signature(ED25519, key_id, raw.hex())


def parse_signatures(data: bytes) -> tuple[Signature, ...]:
    """The signatures in the exact bytes of manifest.sig. Raises: DataError with the line that is wrong."""
    _check_size(len(data))
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise DataError("manifest.sig of the bundle is no ASCII text") from None
    if not text.endswith("\n"):
        raise DataError("manifest.sig of the bundle does not end with a line feed: it is empty or cut short")
    lines = text[:-1].split("\n")
    if len(lines) > COUNT_LIMIT:
        raise DataError(f"manifest.sig of the bundle has {len(lines)} lines, and at most {COUNT_LIMIT} are allowed")
    found: list[Signature] = []
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(f"line {number} of manifest.sig is no signature: algorithm, key id and value are expected")
        signature = Signature(match[1], match[2], match[3])
        if signature.algorithm == ED25519 and not _VALUE.fullmatch(signature.value):
            raise DataError(f"line {number} of manifest.sig is no signature: its value is not 128 hex digits")
        if any(signature.key_id == other.key_id for other in found):
            raise DataError(f"line {number} of manifest.sig names the key {signature.key_id} a second time")
        found.append(signature)
    return tuple(found)


def serialize_signatures(signatures: Sequence[Signature]) -> bytes:
    """The bytes of manifest.sig. Raises: DataError when they are too many."""
    data = "".join(f"{line.algorithm} {line.key_id} {line.value}\n" for line in signatures).encode("ascii")
    _check_size(len(data))
    return data


def with_signature(signatures: Sequence[Signature], new: Signature) -> tuple[Signature, ...]:
    """The signatures with one more; an older one of the same key is replaced. Raises: DataError when it is too many."""
    kept = tuple(signature for signature in signatures if signature.key_id != new.key_id)
    if len(kept) >= COUNT_LIMIT:
        raise DataError(f"the bundle has {COUNT_LIMIT} signatures already, and more are not allowed")
    return (*kept, new)


def _check_size(size: int) -> None:
    if size > SIZE_LIMIT:
        raise DataError(f"manifest.sig of the bundle has {size} bytes, and at most {SIZE_LIMIT} are allowed")
