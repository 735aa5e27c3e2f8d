"""benchmarks/measure.py and launch.py: all that a run cost is counted, and nothing of anybody else."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks import cgroup
from benchmarks.machine import BenchmarkError
from benchmarks.measure import descendants, measure

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("HUPFAST_SANITIZED")), reason="a sanitizer in every process changes what it uses"
)

MIB = 1 << 20
PYTHON = [sys.executable, "-I", "-S", "-c"]


def test_a_pipeline_is_connected_and_timed() -> None:
    """What the first stage writes the last one gets; the wall clock covers the slowest."""
    usage = measure(
        [[*PYTHON, "print('moin')"], [*PYTHON, "import time; time.sleep(0.2); print(input() + '!')"]],
        groups=None,
    )

    assert usage.stdout == "moin!\n"
    assert usage.statuses == (0, 0)
    assert 0.2 <= usage.wall < 10


def test_cpu_of_all_stages_is_added() -> None:
    """Two stages that burn 0.2 s each cost 0.4 s."""
    burn = "import time\nwhile time.process_time() < 0.2: pass"

    assert 0.38 <= measure([[*PYTHON, burn], [*PYTHON, burn]], groups=None).cpu < 1.5


def test_peak_memory_is_that_of_the_run() -> None:
    """A child of 60 MiB is seen, at whatever moment it holds them; this larger process is not."""
    ballast = b"x" * (120 * MIB)

    usage = measure([[*PYTHON, f"x = b'x' * {60 * MIB}"]], groups=None, interval=10)

    assert 60 * MIB < usage.resident < 90 * MIB
    assert len(ballast) > usage.resident


def test_a_failing_stage_is_told() -> None:
    """Each exit status, signals negative, and what was said on standard error."""
    kill = "import os, sys; print('ouch', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"

    usage = measure([[*PYTHON, kill], [*PYTHON, "raise SystemExit(3)"], ["/nonexistent"]], groups=None)

    assert usage.statuses == (-9, 3, 127)
    assert "ouch" in usage.stderr


def test_a_reader_that_ends_early_ends_the_writer() -> None:
    """A stage is not protected from SIGPIPE by the Python that starts it."""
    usage = measure([["yes"], ["true"]], groups=None, timeout=20)

    assert usage.statuses == (-13, 0)


def test_a_run_that_hangs_is_ended() -> None:
    """After its time it is killed with all below it, and that is an error."""
    with pytest.raises(BenchmarkError, match="did not end"):
        measure([["sleep", "60"]], groups=None, interval=0.02, timeout=0.1)

    assert descendants(os.getpid()) == []


def test_a_memory_group_limits_and_counts() -> None:
    """In a group of 32 MiB a program that wants 60 is killed, and that is told."""
    groups = cgroup.find()
    if isinstance(groups, str):
        pytest.skip(groups)

    usage = measure([[*PYTHON, f"x = b'x' * {60 * MIB}"]], groups=groups, limit=32 * MIB)

    assert usage.statuses == (-9,)
    assert usage.oom_kills == 1
    assert usage.charged is not None
    assert usage.charged <= 32 * MIB


def test_page_cache_is_counted_by_the_group(tmp_path: Path) -> None:
    """A program that writes 30 MiB to a file through the page cache is charged with them."""
    groups = cgroup.find()
    if isinstance(groups, str):
        pytest.skip(groups)
    write = f"import time; open({str(tmp_path / 'file')!r}, 'wb').write(bytes({30 * MIB})); time.sleep(0.3)"

    usage = measure([[*PYTHON, write]], groups=groups)

    assert usage.cache is not None
    assert 30 * MIB <= usage.cache < 40 * MIB
