"""benchmarks/http_memory.py: how much a step makes a process grow."""

import os
from itertools import pairwise

import pytest

from benchmarks.http_memory import STEPS, Step, grown


@pytest.mark.skipif("HUPFAST_SANITIZED" in os.environ, reason="a sanitizer's own memory is counted too")
def test_memory_that_a_step_takes() -> None:
    """16 MiB more are seen, and nothing of what was there before."""
    resident, own = grown(Step("", "before = b'x' * (32 << 20)", "more = b'x' * (16 << 20)"))

    assert 16 << 20 <= resident < 18 << 20
    assert 16 << 20 <= own < 18 << 20


def test_steps_stand_on_each_other() -> None:
    """Each begins with what the one before it has taken."""
    for first, second in pairwise(STEPS):
        assert second.before == first.before + first.step
