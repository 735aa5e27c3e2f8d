"""
Real registries for tests: docker-registry, and a server that gives tokens for it.

Everything listens on 127.0.0.1 on a port that the kernel chooses, and ends with its context manager.
"""

import base64
import http.client
import http.server
import json
import random
import re
import shutil
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hupfast.bundling import create_bundle
from hupfast.image import pack

USER, PASSWORD = "maker", "it's a: secret"
_START_SECONDS = 20


def need(*programs: str) -> None:
    """Skip the test where one of them is missing."""
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@dataclass(frozen=True)
class Registry:
    """A running docker-registry. host: with its port; storage: where its blobs are; log: of its requests."""

    host: str
    storage: Path
    log: Path

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        algorithm, _, value = digest.partition(":")
        return self.storage / f"docker/registry/v2/blobs/{algorithm}/{value[:2]}/{value}/data"

    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path and status of what it was asked until now."""
        found = re.findall(r'"([A-Z]+) (\S+) HTTP/1\.1" (\d+)', self.log.read_text())
        return [(method, path, int(status)) for method, path, status in found]


@contextmanager
def docker_registry(
    folder: Path, *, auth: str = "", certificate: Path | None = None, key: Path | None = None
) -> Iterator[Registry]:
    """A registry below `folder`. auth: lines of its configuration. certificate, key: for TLS."""
    need("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    tls = f"  tls: {{certificate: {certificate}, key: {key}}}\n" if certificate else ""
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: info, formatter: text}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}\n"
        f"http:\n  addr: 127.0.0.1:0\n{tls}{auth}"
    )
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=output, stderr=output)
    try:
        yield Registry(_listening(process, log), folder / "storage", log)
    finally:
        process.kill()
        process.wait()


def _listening(process: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"docker-registry did not start: {log.read_text()[-1000:]}")


def basic_auth(folder: Path) -> str:
    """Configuration of a registry that wants USER and PASSWORD."""
    need("htpasswd")
    made = subprocess.run(["htpasswd", "-Bbn", "-C", "4", USER, PASSWORD], capture_output=True, check=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_bytes(made.stdout)
    return f"auth: {{htpasswd: {{realm: r, path: {folder}/htpasswd}}}}\n"


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    need("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    return certificate, key


def make_bundle(folder: Path, version: str) -> Path:
    """Boot files (one empty, two alike), a bootloader, and an image of 300 kB that differs from version to version."""
    boot = folder / f"boot-{version}"
    for name, data in {"kernel": b"kernel" * 9000, "dtb/a.dtb": b"same", "dtb/b.dtb": b"same", "empty": b""}.items():
        (boot / name).parent.mkdir(parents=True, exist_ok=True)
        (boot / name).write_bytes(data)
    loader, image = folder / f"MLO-{version}", folder / f"image-{version}"
    loader.write_bytes(b"loader" * 100)
    image.write_bytes(random.Random(version).randbytes(300_000))
    out = folder / f"{version}.hup"
    create_bundle(
        out,
        name="os",
        version=version,
        boards=["virtual", "other"],
        image=image,
        boot=boot,
        raw={"MLO": loader},
        pack=_pack,
    )
    return out


def _pack(source: Path, target: Path) -> None:
    pack(source, target, level=1, chunk_size=1 << 16)


@dataclass
class TokenServer:
    """
    Gives tokens to USER and PASSWORD, to push and pull; to others only to pull, and only when `anonymous`.

    asked: the query and the Authorization of every request. seconds: how long a token lasts. url: of the tokens.
    """

    certificate: Path
    key: Path
    url: str = ""
    anonymous: bool = False
    seconds: int = 300
    key_name: str = "token"
    asked: list[tuple[dict[str, str], str]] = field(default_factory=list)

    @property
    def auth(self) -> str:
        """Configuration of a registry that believes these tokens."""
        return (
            f"auth: {{token: {{realm: '{self.url}', service: 'the registry', issuer: i,"
            f" rootcertbundle: {self.certificate}}}}}\n"
        )

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, object]]:
        """Status and body for a request."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))
        self.asked.append((query, authorization))
        secret = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization != secret and (authorization or not self.anonymous):
            return 401, {"details": "incorrect username or password"}
        kind, name, actions = query["scope"].split(":")
        allowed = [action for action in actions.split(",") if authorization or action == "pull"]
        access = [{"type": kind, "name": name, "actions": allowed}]
        return 200, {self.key_name: self.token(query["service"], access), "expires_in": self.seconds}

    def token(self, service: str, access: list[dict[str, object]]) -> str:
        """A JSON web token, signed by openssl with RS256."""
        der = subprocess.run(
            ["openssl", "x509", "-in", self.certificate, "-outform", "DER"], capture_output=True, check=True
        ).stdout
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {"iss": "i", "sub": "", "aud": service, "exp": now + self.seconds, "nbf": now - 10, "iat": now}
        signed = (
            _base64url(json.dumps(head).encode())
            + "."
            + _base64url(json.dumps({**claims, "jti": str(len(self.asked)), "access": access}).encode())
        )
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.key], input=signed.encode(), capture_output=True, check=True
        ).stdout
        return f"{signed}.{_base64url(signature)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def token_server(folder: Path, *, tls: bool = False) -> Iterator[TokenServer]:
    """A server of tokens; its own certificate signs them, and is that of its TLS too."""
    tokens = TokenServer(*make_certificate(folder, "tokens"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = tokens.answer(self.path, self.headers.get("Authorization", ""))
            data = json.dumps(body).encode()
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="tokens"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http_server(Handler, (tokens.certificate, tokens.key) if tls else None) as address:
        tokens.url = f"http{'s' if tls else ''}://{address}/token"
        yield tokens


@contextmanager
def http_server(
    handler: type[http.server.BaseHTTPRequestHandler], tls: tuple[Path, Path] | None = None
) -> Iterator[str]:
    """A server on a port of its own: its host and port. tls: its certificate and key."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Front:
    """
    What stands before a registry: it gives the manifests and blobs of a docker-registry, and misbehaves as it is told.

    host: with its port. password: the Authorization that is wanted, "" for none. redirect: the address that blobs are
    at instead. ranges: whether it has them. drop_after: bytes of a body after which the connection breaks.
    asked: method, path, Range and Authorization of every request. sent: bytes of blobs.
    """

    registry: Registry
    host: str = ""
    password: str = ""
    redirect: str = ""
    ranges: bool = True
    drop_after: int | None = None
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    sent: int = 0

    def manifest(self, path: str) -> tuple[int, bytes]:
        """Status and body of a manifest, as the registry gives it."""
        connection = http.client.HTTPConnection(self.registry.host)
        try:
            connection.request("GET", path, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class _FrontHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def do_GET(self) -> None:
        front, secret = self.front, self.headers.get("Authorization")
        front.asked.append((self.command, self.path, self.headers.get("Range"), secret))
        if front.password and secret != front.password:
            self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="front"'})
        elif "/manifests/" in self.path:
            self._answer(*front.manifest(self.path), {})
        elif front.redirect:
            self._answer(307, b"", {"Location": front.redirect + self.path})
        else:
            self._blob(front.registry.blob(self.path.rpartition("/")[2]).read_bytes())

    def _blob(self, data: bytes) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found or not self.front.ranges:
            self._answer(200, data, {"ETag": '"blob"'}, self.front.drop_after)
            return
        first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
        told = {"Content-Range": f"bytes {first}-{last}/{len(data)}", "ETag": '"blob"'}
        self._answer(206, data[first : last + 1], told, self.front.drop_after)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], stop: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = stop is not None and stop < len(body)
        with suppress(ConnectionError):
            self.wfile.write(body[:stop])
        self.front.sent += len(body[:stop])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def front(registry: Registry, **options: object) -> Iterator[Front]:
    """A Front of this registry."""

    class Handler(_FrontHandler):
        front = Front(registry, **options)  # type: ignore[arg-type]  # the fields above

    with http_server(Handler) as host:
        Handler.front.host = host
        yield Handler.front
