"""
A real web server on loopback, nginx, for http and for https with a CA of its own, and what it has sent.

It runs on the same processors as its client, and logs what it sends (nginx.py). Bytes that it has sent may still wait
in the kernel: in its own socket, or in that of a client that has not read them. `waiting` tells how many.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks import nginx
from benchmarks.machine import BenchmarkError, missing, run

ESTABLISHED, LISTENS = "01", "0A"
"""Of /proc/net/tcp (include/net/tcp_states.h)."""


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

    def log(self) -> list[nginx.Sent]:
        """All answers so far, once nobody is connected any more."""
        end = time.monotonic() + 10
        while connections(self.http, self.https):
            if time.monotonic() > end:
                raise BenchmarkError("nginx still has connections 10 s after its clients have ended")
            time.sleep(0.01)
        return nginx.answers(self.state)

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
    return None if nginx.program() and not missing("openssl") else missing("nginx", "openssl")


@contextmanager
def serve(folder: Path, state: Path) -> Iterator[Server]:
    """nginx with the files of a folder; its own are in `state`, which must not exist, and is removed."""
    folder, state = folder.resolve(), state.resolve()
    state.mkdir()
    try:
        certificates(state)
        http, https = nginx.free_ports(2)
        tls = f"ssl_certificate {state}/server.pem; ssl_certificate_key {state}/server.key;"
        with nginx.running(folder, state, {http: "", https: "ssl"}, tls):
            yield Server(folder, state, http, https)
    finally:
        shutil.rmtree(state, ignore_errors=True)
