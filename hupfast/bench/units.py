"""Sizes and times as people read them. KiB, MiB and GiB are powers of two. Rates: see verdict.mb."""

from __future__ import annotations


def setting(block: int, depth: int) -> str:
    """Block size, and how many are in flight."""
    return f"{size_label(block)} x {depth}"


def argument(size: int) -> str:
    """A size as the command line takes it: 16M, 64K, 1000."""
    for unit, factor in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if size > 0 and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def seconds_text(seconds: float) -> str:
    """A time in three digits: 12.3 s, 45.0 ms."""
    if seconds < 0.0995:
        return f"{seconds * 1e3:.1f} ms"
    digits = 0 if seconds >= 99.95 else 1 if seconds >= 9.995 else 2
    return f"{seconds:.{digits}f} s"


def size_label(size: int, space: str = " ") -> str:
    """A block size: 64 KiB, 1 MiB. space: what stands between number and unit."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:g}{space}{unit}"
    return f"{size}{space}B"
