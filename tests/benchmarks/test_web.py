"""benchmarks/web.py: a server that tells what it has sent, and what nobody has read of it."""

import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from benchmarks import web

SIZE = 16 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[web.Server]:
    """A running server with one file."""
    reason = web.web_missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("web")
    (folder / "files").mkdir()
    (folder / "files/image").write_bytes(bytes(SIZE))
    with web.serve(folder / "files", folder / "state") as running:
        yield running
    assert not (folder / "state").exists()


def test_answers_are_counted(server: web.Server) -> None:
    """Body and all bytes apart, and the range that was asked for."""
    before = len(server.log())
    request = urllib.request.Request(server.url(server.folder / "image"), headers={"Range": "bytes=5-104"})

    with urllib.request.urlopen(request) as answer:
        heads = len(bytes(answer.headers)) + len("HTTP/1.1 206 Partial Content\r\n")
        answer.read()

    [row] = server.log()[before:]
    assert (row.range, row.status, row.body) == ("bytes=5-104", 206, 100)
    assert 0 < row.sent - row.body < 2 * heads


def test_only_its_own_ca_vouches_for_it(server: web.Server) -> None:
    """https with the CA of the server's folder, and not with those of the system."""
    url = server.url(server.folder / "image", tls=True)
    context = ssl.create_default_context(cafile=str(server.ca))

    with urllib.request.urlopen(url, context=context) as answer:
        assert len(answer.read()) == SIZE
    with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
        urllib.request.urlopen(url)


def test_bytes_that_nobody_reads_wait(server: web.Server) -> None:
    """A client that reads nothing leaves in the kernel what the server then counts as sent."""
    before = len(server.log())
    assert sum(server.waiting()) == 0
    with socket.create_connection(("127.0.0.1", server.http)) as client:
        client.sendall(b"GET /image HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end, waiting = time.monotonic() + 5, web.Waiting(0, 0)
        while not waiting.unread or waiting != server.waiting():
            assert time.monotonic() < end
            waiting = server.waiting()
            time.sleep(0.05)

    [row] = server.log()[before:]
    assert 0 < row.body < SIZE
    assert waiting.unsent
    assert abs(row.sent - sum(waiting)) < 2**17
