"""
Whether a bundle may be used: decided on the bytes of its front, before the manifest is even parsed.

One good signature of a trusted key is enough. A signature that names a trusted key and is not one of it means that
the bundle was changed or damaged: that is an error even where unsigned bundles are allowed, and even beside a good
one. --allow-unsigned lets everything else through; the user says with it that they trust where the bundle comes from.
"""

from collections.abc import Sequence

from hupfast.bundle import SIGNATURE, Front
from hupfast.errors import DigestError, Refused
from hupfast.keys import DIRECTORY, Key
from hupfast.signatures import ED25519, parse_signatures

_WAY_OUT = "if you trust where it comes from, say so with --allow-unsigned"


def check_trust(front: Front, keys: Sequence[Key], *, allow_unsigned: bool) -> Key | None:
    """
    Let a bundle through or not: returns the first of `keys` that has signed it, None when unsigned ones are allowed.

    Raises: DigestError (5) when the signature of one of `keys` is wrong, DataError (5) when manifest.sig is malformed,
    Refused (4) when nobody trusted has signed.
    """
    trusted = {key.id: key for key in reversed(keys)}
    signatures = () if front.signature is None else parse_signatures(front.signature)
    signers = []
    for signature in signatures:
        key = trusted.get(signature.key_id)
        if key is None or signature.algorithm != ED25519:
            continue
        try:
            key.verify(front.manifest, bytes.fromhex(signature.value))
        except DigestError:
            raise DigestError(
                f"the signature of the key {key.id} ({key.path}) in {SIGNATURE} is wrong: manifest or signature were"
                " changed or damaged; get the bundle again"
            ) from None
        signers.append(key)
    if signers or allow_unsigned:
        return signers[0] if signers else None
    if not signatures:
        raise Refused(f"the bundle is not signed; {_WAY_OUT}")
    told = ", ".join(signature.key_id for signature in signatures)
    if not keys:
        raise Refused(
            f"the bundle is signed by the key {told}, and this system has no key to check it with: put public keys"
            f" in {DIRECTORY}/NAME.pem; {_WAY_OUT}"
        )
    raise Refused(
        f"the bundle is signed by the key {told}, which is not trusted here (trusted: {', '.join(sorted(trusted))});"
        f" public keys belong in {DIRECTORY}/NAME.pem; {_WAY_OUT}"
    )
