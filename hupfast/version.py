"""
The order of version strings, as people mean them.

A version is cut at "+" into release and revision, and the release at its first "-" into the main part and the
pre-release. Each part is compared number by number and word by word: 1.9 < 1.10, 2.0-rc1 < 2.0 < 2.0+rev1,
2024.01 < 2024.10.1. A number comes after a word in the same place, a longer version after its own beginning.
Leading "v" and zeros do not count: v1.0 is 1.0, and 1.01 is 1.1.
"""

import re

Key = tuple[object, ...]

_PIECES = re.compile(r"[0-9]+|[A-Za-z]+")


def version_key(version: str) -> Key:
    """A value that compares as the versions do. Pure; every string has one."""
    release, _, revision = version.partition("+")
    main, dash, early = release.partition("-")
    if main[:1] in ("v", "V") and main[1:2].isdigit():
        main = main[1:]
    return (_pieces(main), 0 if dash else 1, _pieces(early), _pieces(revision))


def _pieces(text: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, int(piece), "") if piece.isdigit() else (0, 0, piece.lower()) for piece in _PIECES.findall(text))
