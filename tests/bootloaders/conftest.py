"""Two slots of one card, of which a runs, for all bootloaders."""

import pytest

from hupfast.slots import Place, Places


@pytest.fixture
def places() -> Places:
    """Partition 2 and partition 10, so that decimal and hex differ."""
    first = Place("a", "/dev/mmcblk0p2", 2, "1234abcd-02", "resin-rootA")
    return Places("a", {"a": first, "b": Place("b", "/dev/mmcblk0p10", 10, "1234abcd-0a", "resin-rootB")})
