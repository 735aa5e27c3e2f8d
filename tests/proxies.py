"""
A proxy for tests: CONNECT, and http:// by absolute address.

    with proxy(pair="me:secret") as found:
        found.url; found.requests
"""

import base64
import http.client
import http.server
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from servers import serving


class Proxy(socketserver.ThreadingTCPServer):
    """A running proxy. requests: (request line, its Proxy-Authorization, its Authorization) of each so far."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, pair: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.password = None if pair is None else "Basic " + base64.b64encode(pair.encode()).decode()
        self.url = f"http://{pair + '@' if pair else ''}127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class _ProxyHandler(http.server.BaseHTTPRequestHandler):
    server: Proxy

    def log_message(self, *args: object) -> None:
        pass

    def _allowed(self) -> bool:
        given = self.headers.get("Proxy-Authorization")
        self.server.requests.append((self.requestline, given, self.headers.get("Authorization")))
        if self.server.password in (None, given):
            return True
        self.send_error(407)
        return False

    def do_CONNECT(self) -> None:
        if not self._allowed():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(far, self.connection))
            back.start()
            _pump(self.connection, far)
            back.join()

    def do_GET(self) -> None:
        if not self._allowed():
            return
        place, _, path = self.path.removeprefix("http://").partition("/")
        far = http.client.HTTPConnection(place)
        try:
            headers = {name: value for name, value in self.headers.items() if name != "Proxy-Authorization"}
            far.request(self.command, f"/{path}", headers=headers)
            answer = far.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())
        finally:
            far.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(2**16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def proxy(pair: str | None = None) -> Iterator[Proxy]:
    """A proxy that wants this user:password, which is in its url."""
    with serving(Proxy(pair)) as server:
        yield server
