"""Health data in words, and what is no such data as it is."""

import pytest

from hupfast.bench.health import health_words


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("life_time", "0x01 0x02", "0x01 0x02 (0-10% used and 10-20% used)"),
        ("life_time", "0x0a 0x0b", "0x0a 0x0b (90-100% used and more than all used)"),
        ("life_time", "0x00", "0x00 (not told)"),
        ("pre_eol_info", "0x01", "0x01 (normal)"),
        ("pre_eol_info", "0x03", "0x03 (90% of the spare blocks are used)"),
        ("life_time_estimation_a", "0x02", "0x02 (10-20% used)"),
        ("life_time_estimation_b", "0x0B", "0x0B (more than all used)"),
        ("eol_info", "0x02", "0x02 (80% of the spare blocks are used)"),
        ("life_time", "0x0c", "0x0c"),
        ("life_time", "worn", "worn"),
        ("life_time", "", ""),
        ("pre_eol_info", "0x01 0x01", "0x01 0x01"),
        ("date", "10/2024", "10/2024"),
        ("manfid", "0x000045", "0x000045"),
    ],
)
def test_words(name, value, words):
    """What is known is explained, and the value stays beside it."""
    assert health_words(name, value) == words
