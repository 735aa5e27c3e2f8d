"""
What writing an image costs, measured beside the other tools in one run on one machine.

`python -m benchmarks` (or `make bench`) compares, and judges the targets. `pytest benchmarks` (or `make
bench-stages`) times each stage alone, and the whole: test_*.py, with inputs.py, suite.py and conftest.py. `python -m
benchmarks.chunk_size` gives the table from which the default chunk size is chosen, `benchmarks.deltas` how much of a
new image a board has to fetch, `benchmarks.http_memory` what a client for HTTP costs.

How one run goes: images.py builds the image once, bundles.py signs what other updaters install of it, install.py makes
a release build of hupfast, device.py offers the devices, contenders.py knows the command lines of hupfast and peers.py
those of the others, measure.py runs one of them through launch.py inside a memory group of cgroup.py, rounds.py repeats
and checks every target bit by bit, and stats.py, targets.py and report.py say what came out. What comes over http is in
streams.py, with the server of web.py (nginx.py) and the board of board.py; fetched.py counts what the server has sent.
"""

import sys
from pathlib import Path

# `python -m benchmarks` puts the tree first, where hupfast/ has no engine: the installed package goes before it.
TREE = str(Path(__file__).parent.parent)
if TREE in sys.path:
    sys.path.remove(TREE)
    sys.path.append(TREE)
