"""
The C engine, as Python sees it: cffi structs and status codes in, values and exceptions out.

`check` is the one gate that turns a status of csrc/hupfast.h into an exception of hupfast.errors. Here is also what
the engine does at one go; an image onto a target is in hupfast.run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hupfast import errors
from hupfast._engine import ffi, lib

MEMORY_DEFAULT = 16 * 2**20
"""Budget of the engine in bytes, when the user says nothing."""

PROBE_SIZE = 4096
"""Bytes from the start of an image that `probe` wants to see."""

UNKNOWN = 2**64 - 1
"""In place of a size that is not known."""

FORMATS = {lib.HUP_FORMAT_RAW: "raw", lib.HUP_FORMAT_ZSTD: "zstd", lib.HUP_FORMAT_CHUNKED: "chunked"}
"""Names of the values of hup_format."""

_EXCEPTIONS: dict[int, type[errors.HupfastError]] = {
    lib.HUP_E_SYSTEM: errors.HupfastError,
    lib.HUP_E_USAGE: errors.UsageError,
    lib.HUP_E_TARGET: errors.TargetError,
    lib.HUP_E_FORMAT: errors.DataError,
    lib.HUP_E_DIGEST: errors.DigestError,
    lib.HUP_E_SOURCE: errors.SourceError,
    lib.HUP_E_MEDIUM: errors.MediumError,
    lib.HUP_E_MISMATCH: errors.MismatchError,
    lib.HUP_E_TOO_LARGE: errors.HupfastError,
    lib.HUP_E_CANCELLED: errors.Cancelled,
    lib.HUP_E_STALE: errors.StaleError,
}

_ADVICE = {
    lib.HUP_E_MEDIUM: "the medium may be failing, full or gone",
    lib.HUP_E_MISMATCH: "write the image again, and replace the medium if this comes back",
    lib.HUP_E_TOO_LARGE: "use a larger target; what it holds now is not usable",
    lib.HUP_E_SOURCE: "run the same command again",
    lib.HUP_E_STALE: "run the same command again",
}


def check(status: int, error: Any) -> int:
    """Return a status that is not negative; raise what a negative one stands for."""
    if status >= 0:
        return status
    message = ffi.string(error.message).decode(errors="replace")
    if status == lib.HUP_E_MEMORY:
        raise errors.MemoryBudgetError(
            f"{message}; set the memory budget to {-(-error.needed // 2**20)}M", needed=error.needed
        )
    if status in _ADVICE:
        message = f"{message}; {_ADVICE[status]}"
    raise _EXCEPTIONS[status](message, errno=error.sys_errno or None, offset=error.offset, length=error.length or None)


def new_error() -> Any:
    """A hup_error to be filled."""
    return ffi.new("hup_error *")


@dataclass(frozen=True)
class ImageInfo:
    """
    What the first bytes of an image say. Sizes are bytes.

    format: "raw", "zstd" or "chunked". image_size: raw bytes, None when the start does not say.
    least_size: raw bytes that it has at least. window: zstd history. memory: the smallest budget of the engine.
    """

    format: str
    image_size: int | None
    least_size: int
    window: int
    memory: int
    chunk_size: int
    chunk_count: int


def probe(head: bytes) -> ImageInfo:
    """Understand the first PROBE_SIZE bytes of an image (all of a shorter one). DataError when they make no sense."""
    image, error = ffi.new("hup_image *"), new_error()
    check(lib.hup_image_probe(ffi.from_buffer(head), len(head), image, error), error)
    return ImageInfo(
        FORMATS[image.format],
        None if image.image_size == UNKNOWN else image.image_size,
        image.least_size,
        image.window,
        image.memory,
        image.chunk_size,
        image.chunk_count,
    )


def format_name(number: int) -> str:
    """The name of a hup_format."""
    return FORMATS.get(number, "unknown")


def sha256(data: bytes) -> bytes:
    """SHA-256 of bytes, as 32 bytes."""
    digest, error = ffi.new("uint8_t[32]"), new_error()
    check(lib.hup_sha256(ffi.from_buffer(data), len(data), digest, error), error)
    return bytes(ffi.buffer(digest))


def parse_key(pem: bytes) -> tuple[bytes, bytes]:
    """
    The one public key in a PEM file: its 32 bytes, and its id (SHA-256 of the DER SubjectPublicKeyInfo).

    Raises: DataError ("it holds ...") when it is anything but one Ed25519 public key.
    """
    key, error = ffi.new("hup_key *"), new_error()
    check(lib.hup_key_parse(ffi.from_buffer(pem), len(pem), key, error), error)
    return bytes(ffi.buffer(key.bytes)), bytes(ffi.buffer(key.id))


def verify_signature(public: bytes, data: bytes, signature: bytes) -> None:
    """Plain Ed25519 over data. public: 32 bytes, signature: 64. Raises: DigestError when it is not one of this key."""
    if len(public) != 32 or len(signature) != 64:
        raise errors.UsageError("a public key of Ed25519 is 32 bytes, and a signature 64")
    key, error = ffi.new("hup_key *"), new_error()
    ffi.memmove(key.bytes, public, 32)
    check(lib.hup_signature_verify(key, ffi.from_buffer(data), len(data), signature, error), error)


def reserve(fd: int, size: int) -> None:
    """Give an open file its room, where the filesystem can. Raises: HupfastError, when there is not enough too."""
    error = new_error()
    check(lib.hup_reserve(fd, size, error), error)


def version() -> str:
    """Versions of the engine and of libzstd."""
    return str(ffi.string(lib.hup_version()).decode())
