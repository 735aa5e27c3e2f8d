"""
Whether a bundle may be used: decided on the bytes of its front, before the manifest is even parsed.

This version of hupfast cannot check signatures. So a bundle is used only when the user says, with
--allow-unsigned, that they trust where it comes from.
"""

from pathlib import Path

from hupfast.bundle import Front
from hupfast.errors import Refused, UsageError


def check_key(key: Path | None) -> None:
    """
    Check the --key option before anything is opened.

    Raises: UsageError when there is no such file; Refused otherwise, since no signature can be checked with
    it.
    """
    if key is None:
        return
    if not key.is_file():
        raise UsageError(f"the key {key} does not exist, or is no file")
    raise Refused(
        f"the key {key} cannot be used: this version of hupfast does not support signed bundles;"
        " without --key, --allow-unsigned takes a bundle unchecked"
    )


def check_trust(front: Front, *, allow_unsigned: bool) -> None:
    """Let a bundle through or not. Raises: Refused."""
    if allow_unsigned:
        return
    if front.signature is None:
        raise Refused("the bundle is not signed; if you trust where it comes from, say so with --allow-unsigned")
    raise Refused(
        "the bundle is signed, and this version of hupfast cannot check signatures;"
        " if you trust where it comes from, say so with --allow-unsigned"
    )
