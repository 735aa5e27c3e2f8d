"""The table of what an application sees beside a writer."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.neighbour import Seen, markdown


def test_percentiles_are_of_all_rounds():
    """In milliseconds, with the longest read and the median of the writing times."""
    rows = [Seen("nobody", [0.001] * 100, [6.0]), Seen("dd", [0.002] * 98 + [0.1, 0.5], [3.0, 9.0, 4.0])]
    table = markdown(rows).splitlines()
    assert table[2] == "| nobody | 1.0 ms | 1.0 ms | 1.0 ms |  |"
    name, half, most, longest, took = (cell.strip() for cell in table[3].strip("|").split("|"))
    assert (name, half, longest, took) == ("dd", "2.0 ms", "500.0 ms", "4.0 s")
    assert 100 <= float(most.removesuffix(" ms")) <= 110


def test_the_application_reads_until_it_is_told_to_stop(tmp_path):
    """One number for each read, and nothing is written."""
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(1 << 20))
    before = path.read_bytes()
    command = [sys.executable, "-m", "benchmarks.neighbour", "--application", str(path), str(1 << 19), str(1 << 19)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        latencies = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert all(0 < seconds < 5 for seconds in latencies)
    assert path.read_bytes() == before
