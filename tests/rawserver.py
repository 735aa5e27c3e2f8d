"""
A server that answers with exactly the bytes that a test gives it, and closes the connection then.

    with raw_server(lambda request: b"HTTP/1.1 200 OK\\r\\n\\r\\nbody") as server:
        server.url("f"); server.requests

It listens on 127.0.0.1, on a port that the kernel chose, and is gone when the block ends.
"""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress


class RawServer:
    """The running server. answer: bytes, or pieces of them, for a request; may be changed. requests: their heads."""

    def __init__(self, answer: Callable[[bytes], bytes | Iterable[bytes]]) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def url(self, path: str = "") -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads.append(threading.Thread(target=self._answer, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(10)
            self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            got = connection.recv(65536)
            if not got:
                return
            request += got
        self.requests.append(request)
        found = self.answer(request)
        for piece in [found] if isinstance(found, bytes) else found:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # or closing would reset, and take the answer along
            pass


@contextmanager
def raw_server(answer: Callable[[bytes], bytes | Iterable[bytes]]) -> Iterator[RawServer]:
    """A server that answers so while the block lasts."""
    server = RawServer(answer)
    try:
        yield server
    finally:
        server.close()
