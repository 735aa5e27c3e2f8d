"""
JSON from those who are not trusted (yet): bounded before it is understood.

`[]` is two bytes of text and 64 of memory, so a limit for the length alone is none: what is counted besides is every
`[`, `{`, `,` and `:`, one of which stands before each value (those in strings count too, which costs nothing).
Pure: bytes in, values out.
"""

from __future__ import annotations

import json

from hupfast.errors import DataError

STRUCTURE_LIMIT = 60_000
"""Of them in one document. 4200 members of a bundle, as a registry has them, need 50 400."""


def parse_json(data: bytes, what: str, limit: int) -> object:
    """
    The value of a document of at most `limit` bytes, in which no key occurs twice. what: for messages.

    Raises: DataError.
    """
    if len(data) > limit:
        raise DataError(f"{what} is larger than {limit} bytes")
    if sum(data.count(letter) for letter in b"[{,:") > STRUCTURE_LIMIT:
        raise DataError(f"{what} has more than {STRUCTURE_LIMIT} values, which is not what belongs there")
    try:
        value: object = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what} is no JSON: {str(error)[:200]}") from None
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
