"""The order in which contenders take part."""

from dataclasses import replace

from benchmarks.contenders import BASELINE, PROBE_READ, PROBE_WRITE, Contender
from benchmarks.rounds import order


def contender(name: str) -> Contender:
    return Contender(name, name, lambda target, pattern: [], None)


EVERYBODY = [contender(name) for name in (BASELINE, PROBE_WRITE, PROBE_READ, "hupfast-zst", "hupfast-chunked", "dd")]


def test_everybody_takes_part_once():
    """Each round has everybody, in an order of its own."""
    orders = [[each.name for each in order(EVERYBODY, number)] for number in range(10)]
    assert all(sorted(each) == sorted(one.name for one in EVERYBODY) for each in orders)
    assert len({tuple(each) for each in orders}) > 5


def test_order_of_a_round_is_always_the_same():
    """Two runs of the benchmark are comparable."""
    assert order(EVERYBODY, 3) == order(EVERYBODY, 3)


def test_read_probe_follows_hupfast():
    """The read probe reads what a run of hupfast has left, wherever that is."""
    for number in range(20):
        names = [each.name for each in order(EVERYBODY, number)]
        assert names[names.index(PROBE_READ) - 1].startswith("hupfast-")


def test_read_probe_without_hupfast():
    """Where no hupfast runs, the probe runs somewhere."""
    others = [each for each in EVERYBODY if not each.is_hupfast]
    assert replace(EVERYBODY[2]) in order(others, 0)
