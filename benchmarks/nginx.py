"""
nginx on loopback with the files of a folder, for the benchmarks and for the tests, and what it has answered.

It logs one line for each request:

    address | Range, "-" for none | status | bytes sent, with the head of the answer | bytes of the body
"""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import BenchmarkError, missing, serving

_CONFIG = """
{user}
daemon off; master_process off; pid {state}/pid; error_log {state}/error.log warn;
events {{ worker_connections 256; }}
http {{
    log_format bytes "$uri|$http_range|$status|$bytes_sent|$body_bytes_sent";
    access_log {state}/access.log bytes;
    client_body_temp_path {state}/body; proxy_temp_path {state}/proxy; fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;
    default_type application/octet-stream;
    sendfile on;
    server {{
        {listen}
        {server}
        root {folder};
    }}
}}
"""


@dataclass(frozen=True)
class Sent:
    """One answer of the server: its status, and bytes, with its head and of its body alone."""

    path: str
    range: str
    status: int
    sent: int
    body: int


def program() -> str | None:
    """nginx is in sbin, which not everybody has in the path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def running(folder: Path, state: Path, ports: dict[int, str], server: str = "") -> Iterator[None]:
    """
    nginx until the block ends. Raises: BenchmarkError.

    state: an existing folder for its own files. ports: where it listens, each with "" or "ssl". server: more lines
    of its block `server`.
    """
    nginx = program()
    if nginx is None:
        raise BenchmarkError(missing("nginx") or "nginx is missing")
    listen = " ".join(f"listen 127.0.0.1:{port} {how};" for port, how in ports.items())
    user = "user root;" if os.geteuid() == 0 else ""
    config, errors = state / "nginx.conf", state / "error.log"
    config.write_text(_CONFIG.format(user=user, state=state, listen=listen, server=server, folder=folder))
    with serving([nginx, "-p", state, "-e", errors, "-c", config]) as process:
        end = time.monotonic() + 10
        while not all(map(_listens, ports)):
            if time.monotonic() > end or process.poll() is not None:
                why = errors.read_text() if errors.exists() else "it left no log"
                raise BenchmarkError(f"nginx does not listen: {why}")
            time.sleep(0.01)
        yield


def answers(state: Path) -> list[Sent]:
    """What is in its log. It writes a line after the client has the last byte."""
    words = (line.rsplit("|", 4) for line in (state / "access.log").read_text().splitlines())
    return [Sent(path, range, int(status), int(sent), int(body)) for path, range, status, sent, body in words]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
