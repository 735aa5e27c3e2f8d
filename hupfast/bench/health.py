"""
What a medium says of its health, as people read it.

An eMMC has two numbers of life_time, of its two kinds of cells, and one of pre_eol_info; 0: it does not tell.

    life_time      0x01 0-10% used ... 0x0a 90-100% used, 0x0b more than it was made for
    pre_eol_info   0x01 normal, 0x02 80% of the spare blocks are used, 0x03 90% are

UFS has the same numbers, with other names: life_time_estimation_a and _b, eol_info.
"""

from __future__ import annotations

_SPARE = {0: "not told", 1: "normal", 2: "80% of the spare blocks are used", 3: "90% of the spare blocks are used"}
_LIVES = 11
_LIFE_TIMES = frozenset({"life_time", "life_time_estimation_a", "life_time_estimation_b"})
_SPARES = frozenset({"pre_eol_info", "eol_info"})


def health_words(name: str, value: str) -> str:
    """The value, and what it means where that is known."""
    try:
        numbers = [int(word, 16) for word in value.split()]
    except ValueError:
        return value
    if name in _LIFE_TIMES and numbers and all(0 <= number <= _LIVES for number in numbers):
        words = " and ".join(map(_used, numbers))
    elif name in _SPARES and len(numbers) == 1 and numbers[0] in _SPARE:
        words = _SPARE[numbers[0]]
    else:
        return value
    return f"{value} ({words})"


def _used(number: int) -> str:
    if number == 0:
        return "not told"
    return "more than all used" if number == _LIVES else f"{number * 10 - 10}-{number * 10}% used"
