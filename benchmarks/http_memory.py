"""
What a client for HTTP costs in memory before it has read a byte, which is why hupfast has the one that it has.

    python -m benchmarks.http_memory [--rounds N]

Each row is a fresh Python of its own, with all in it that `hupfast write` of a file imports, libcrypto among it. It
takes one step more than the row above, and tells how much its peak of resident memory (VmHWM of /proc/self/status)
grew meanwhile: the median of the rounds, in MB. "private" is what of that is allocated, and not the pages of files
(RssAnon). libcurl is loaded by ctypes, which comes before, and left out where it is not installed. Printed as a
Markdown table. Needs no root.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rounds import to_stderr

ROUNDS = 5

_MEASURE = """
def _of(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

def _look():
    return _of("VmHWM:"), _of("RssAnon:")

{before}
_start = _look()
{step}
print(*(now - then for now, then in zip(_look(), _start)))
"""

_STARTED = """
import hupfast.cli.write, hupfast.engine, hupfast.source, hupfast.target, hupfast.writer
import errno, re, select, socket
hupfast.engine.sha256(b"")
"""


@dataclass(frozen=True)
class Step:
    """One row. before: what is there already, as Python. step: what is measured."""

    title: str
    before: str
    step: str


_HTTP = "import http.client, ssl\n"
_CONTEXT = "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
_STORE = "context.load_default_certs()\n"

STEPS = (
    Step("import http.client, ssl (what hupfast does)", _STARTED, _HTTP),
    Step("... and an SSL context", _STARTED + _HTTP, _CONTEXT),
    Step("... and the system's certificates in it", _STARTED + _HTTP + _CONTEXT, _STORE),
    Step("... and urllib.request", _STARTED + _HTTP + _CONTEXT + _STORE, "import urllib.request\n"),
)


def libcurl() -> str | None:
    """The name that libcurl is loaded by, or None where there is none."""
    for name in ("libcurl.so.4", "libcurl-gnutls.so.4"):
        done = subprocess.run([sys.executable, "-c", f"import ctypes; ctypes.CDLL({name!r})"], capture_output=True)
        if done.returncode == 0:
            return name
    return None


def steps() -> list[Step]:
    """All rows that can be measured here."""
    name = libcurl()
    if name is None:
        to_stderr("libcurl is left out: it is not installed (Debian: apt-get install libcurl4)")
        return list(STEPS)
    load = f"curl = ctypes.CDLL({name!r})\n"
    started = _STARTED + "import ctypes\n"
    begin = "curl.curl_global_init(3)\ncurl.curl_easy_init.restype = ctypes.c_void_p\ncurl.curl_easy_init()\n"
    return [
        *STEPS,
        Step(f"{name}, loaded by ctypes", started, load),
        Step("... and started (curl_global_init, curl_easy_init)", started + load, begin),
    ]


def grown(step: Step) -> tuple[int, int]:
    """Bytes by which one fresh process grew: in all, and what is its own."""
    code = _MEASURE.format(before=step.before, step=step.step)
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    resident, own = done.stdout.split()
    return int(resident), int(own)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_memory")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(argv)
    print("| step | MB | private |\n|---|---|---|")
    for step in steps():
        resident, own = (median(column) for column in zip(*(grown(step) for _ in range(options.rounds)), strict=True))
        print(f"| {step.title} | {resident / 1e6:.1f} | {own / 1e6:.1f} |")


if __name__ == "__main__":
    main()
