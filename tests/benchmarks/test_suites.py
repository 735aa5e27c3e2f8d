"""The suites of pytest-benchmark (benchmarks/test_*.py), each stage once and not timed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import missing


def test_every_suite_gets_its_results() -> None:
    """Each checks what it has timed; none fails, and some run everywhere."""
    if os.environ.get("HUPFAST_SANITIZED"):
        pytest.skip("a sanitizer makes this slow, and tests nothing more")
    if why := missing("zstd"):
        pytest.skip(why)
    tree = Path(__file__).resolve().parents[2]
    argv = [sys.executable, "-P", "-m", "pytest", "benchmarks", "-q", "--benchmark-disable", "-p", "no:cacheprovider"]

    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
