"""
What to log in with, from a file (--auth-file) or the environment (HUPFAST_AUTH): one line, in one of two forms.

    bearer TOKEN
    basic USER:PASSWORD

The file wins. It must not be readable by everybody. What it says goes to the server of the address that the user
named, and to no other that this one redirects to.
"""

from __future__ import annotations

import os
import stat

from hupfast.errors import UsageError
from hupfast.source.transport import Transport

VARIABLE = "HUPFAST_AUTH"
_LIMIT = 2**16
_FORMS = "one line, `bearer TOKEN` or `basic USER:PASSWORD`, is understood there"


def credentials(transport: Transport) -> str | None:
    """The value of the header Authorization, or None. Raises UsageError for a file or text that will not do."""
    if transport.auth_file is not None:
        return authorization(_read(transport.auth_file), transport.auth_file)
    text = os.environ.get(VARIABLE)
    return authorization(text, f"the environment's {VARIABLE}") if text else None


def authorization(text: str, where: str) -> str:
    """The header's value for a line of the form above. Raises UsageError, which never shows the line."""
    scheme, _, secret = text.strip("\r\n \t").partition(" ")
    secret = secret.strip()
    plain = secret.isprintable() and secret != ""
    if scheme.lower() == "bearer" and plain and secret.isascii() and " " not in secret:
        return f"Bearer {secret}"
    if scheme.lower() == "basic" and plain and ":" in secret:
        return basic(secret)
    raise UsageError(f"{where} does not say how to log in: {_FORMS}")


def basic(pair: str) -> str:
    """The header's value for USER:PASSWORD."""
    from binascii import b2a_base64

    return "Basic " + b2a_base64(pair.encode("utf-8", "surrogateescape"), newline=False).decode("ascii")


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LIMIT)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"the file of --auth-file, {path}, cannot be read: {reason}") from None
    if stat.S_ISREG(mode) and mode & 0o006:
        raise UsageError(f"everybody can read or change {path}, which holds a password: chmod 600 it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text: {_FORMS}") from None
