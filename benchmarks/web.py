"""
A real web server on loopback, nginx, for http and for https with a CA of its own, and what it has sent.

It runs on the same processors as its client. What it sends is counted in its log, one line for each request:

    address | Range | status | bytes sent, with the head of the answer | bytes of the body

Bytes that it has sent may still wait in the kernel: in its own socket, or in that of a client that has not read
them. `waiting` tells how many.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import BenchmarkError, missing, run

ESTABLISHED, LISTENS = "01", "0A"
"""Of /proc/net/tcp (include/net/tcp_states.h)."""

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
        listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
        ssl_certificate {state}/server.pem; ssl_certificate_key {state}/server.key;
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


class Waiting(NamedTuple):
    """Bytes that wait in the kernel: in sockets of the server, to be sent, and in those of clients, to be read."""

    unsent: int
    unread: int


@dataclass(frozen=True)
class Server:
    """A running nginx with the files of a folder. ca: the certificate that vouches for it."""

    folder: Path
    state: Path
    http: int
    https: int

    @property
    def ca(self) -> Path:
        return self.state / "ca.pem"

    def url(self, file: Path, *, tls: bool = False) -> str:
        """The address of a file in its folder."""
        scheme, port = ("https", self.https) if tls else ("http", self.http)
        return f"{scheme}://localhost:{port}/{file.resolve().relative_to(self.folder)}"

    def log(self) -> list[Sent]:
        """All answers so far, once nobody is connected any more."""
        end = time.monotonic() + 10
        while connections(self.http, self.https):
            if time.monotonic() > end:
                raise BenchmarkError("nginx still has connections 10 s after its clients have ended")
            time.sleep(0.01)
        words = (line.rsplit("|", 4) for line in (self.state / "access.log").read_text().splitlines())
        return [Sent(path, range, int(status), int(sent), int(body)) for path, range, status, sent, body in words]

    def waiting(self) -> Waiting:
        """Bytes that it has sent, and that no client has read yet."""
        ends = connections(self.http, self.https)
        ours = sum(size for port, size in ends if port in (self.http, self.https))
        return Waiting(ours, sum(size for _, size in ends) - ours)


def connections(*ports: int) -> list[tuple[int, int]]:
    """
    Each end of what is connected to these ports of this machine: its port, and the bytes that wait there, at the
    server's to be acknowledged, at the client's to be read.
    """
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            local, remote = (int(field.rsplit(":", 1)[1], 16) for field in fields[1:3])
            is_ours = local in ports or remote in ports
            # An end whose program has closed it (state above ESTABLISHED) and has no inode is the kernel's.
            if is_ours and fields[3] != LISTENS and (fields[3] == ESTABLISHED or fields[9] != "0"):
                send, receive = (int(size, 16) for size in fields[4].split(":"))
                found.append((local, send if local in ports else receive))
    return found


def certificates(folder: Path) -> None:
    """A CA, ca.pem, and a certificate for localhost that it signed, server.pem with server.key."""
    key: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    run(["openssl", "req", "-x509", *key, "-subj", "/CN=benchmark CA", "-keyout", ca_key, "-out", ca])
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    signer: list[str | Path] = ["-CA", ca, "-CAkey", ca_key]
    made, made_key = folder / "server.pem", folder / "server.key"
    run(["openssl", "req", "-x509", *key, *names, *signer, "-keyout", made_key, "-out", made])


def web_missing() -> str | None:
    """Why there can be no server here, or None."""
    return None if program() and not missing("openssl") else missing("nginx", "openssl")


def program() -> str | None:
    """nginx is in sbin, which not everybody has in the path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def _free_ports(count: int) -> list[int]:
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
def serve(folder: Path, state: Path) -> Iterator[Server]:
    """nginx with the files of a folder; its own are in `state`, which must not exist, and is removed."""
    folder, state = folder.resolve(), state.resolve()
    nginx = program()
    if nginx is None:
        raise BenchmarkError(web_missing() or "nginx is missing")
    state.mkdir()
    try:
        certificates(state)
        http, https = _free_ports(2)
        user = "user root;" if os.geteuid() == 0 else ""
        text = _CONFIG.format(user=user, state=state, folder=folder, http=http, https=https)
        (state / "nginx.conf").write_text(text)
        argv: list[str | Path] = [nginx, "-p", state, "-e", state / "error.log", "-c", state / "nginx.conf"]
        nothing = subprocess.DEVNULL
        with subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing) as process:
            try:
                _wait(http, process, state / "error.log")
                yield Server(folder, state, http, https)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise BenchmarkError(f"nginx does not listen: {log.read_text() if log.exists() else 'it left no log'}")
