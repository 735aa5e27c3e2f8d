"""Measuring takes no more memory than a small board has to spare, of the whole process."""

import os
import tracemalloc
from dataclasses import replace

import pytest
from bench.made import document, run
from test_memory import peak

from conftest import sanitized
from hupfast.bench.document import Round, Run, microseconds, parse

MIB = 2**20


@pytest.mark.skipif(sanitized(), reason="a sanitizer's own memory is counted too")
@pytest.mark.parametrize(
    ("options", "limit"), [(("--quick", "--size", "64M"), 40), (("--size", "64M"), 40), (("--full",), 44)]
)
def test_whole_process(tmp_path, options, limit):
    """`hupfast bench` peaks below so many MiB, with every block size, level and depth of its mode, and the document."""
    target = tmp_path / "target"
    target.touch()
    os.truncate(target, 16 << 30)  # of which --full uses 4 GiB, as far as it comes
    options = (*options, "--rounds", "1", "--seconds", "0.2", "-y", "-o", tmp_path / "a.json", "--json")
    try:
        assert peak("bench", "run", target, *options) < limit * MIB
    finally:
        target.unlink()
    assert (tmp_path / "a.json").stat().st_size > 10000


def test_samples():
    """The samples of --full on a fast medium, half a million of them, take a few MiB, also while they are written."""
    tracemalloc.start()
    try:
        whole = replace(document(), runs=tuple(_with_samples(depth) for depth in range(1, 27)))
        size = sum(map(len, whole.chunks()))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 2 * MIB
    assert most < 5 * MIB
    assert parse(b"".join(whole.chunks()), "x") == whole


def _with_samples(depth: int) -> Run:
    """Five rounds of 256 MiB in blocks of 64 KiB."""
    rounds = tuple(Round(256 * MIB, 0.2, 0.0, 1, microseconds(range(900, 900 + 4096))) for _ in range(5))
    return run(block=65536, depth=depth, rounds=rounds)
