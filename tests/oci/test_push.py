"""Pushing bundles to a real docker-registry."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from registries import PASSWORD, USER, Registry, basic_auth, docker_registry, http_server, make_certificate

from hupfast.bundling import inspect_bundle
from hupfast.errors import DataError, DigestError, SourceError, UsageError
from hupfast.oci.push import push
from hupfast.source.transport import Transport

FAST = Transport(sleep=lambda seconds: None)


def manifest_of(registry: Registry, digest: str) -> dict[str, object]:
    """The OCI manifest as the registry stored it."""
    document: dict[str, object] = json.loads(registry.blob(digest).read_bytes())
    return document


def test_every_member_is_a_blob(registry: Registry, bundle: Path) -> None:
    """tar and sha256sum find the same members and digests in the file as the registry has as layers."""
    pushed = push(str(bundle), f"oci://{registry.host}/push/os:1")
    names = subprocess.run(["tar", "-tf", bundle], capture_output=True, text=True, check=True).stdout.split()
    layers = manifest_of(registry, pushed.digest)["layers"]
    assert isinstance(layers, list)
    assert [layer["annotations"]["org.opencontainers.image.title"] for layer in layers] == names
    for layer, name in zip(layers, names, strict=True):
        data = subprocess.run(["tar", "-xOf", bundle, name], capture_output=True, check=True).stdout
        assert layer["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert registry.blob(layer["digest"]).read_bytes() == data
    assert pushed.reference == f"oci://{registry.host}/push/os@{pushed.digest}"


def test_the_second_push_sends_nothing(registry: Registry, bundle: Path) -> None:
    """All blobs are asked for, none is uploaded; the manifest is the same."""
    first = push(str(bundle), f"oci://{registry.host}/twice/os:1")
    before = len(registry.requests())
    second = push(str(bundle), f"oci://{registry.host}/twice/os:1")
    methods = {method for method, path, _ in registry.requests()[before:] if "/blobs/" in path}
    assert methods == {"HEAD"}
    assert (second.digest, second.sent) == (first.digest, 0)
    assert first.sent + first.present == second.present


def test_what_two_versions_share_is_sent_once(registry: Registry, bundle: Path, other_bundle: Path) -> None:
    """Of the second version only the manifest and the image are new."""
    push(str(bundle), f"oci://{registry.host}/share/os:1")
    before = len(registry.requests())
    second = push(str(other_bundle), f"oci://{registry.host}/share/os:2")
    assert [method for method, _, _ in registry.requests()[before:]].count("POST") == 2
    assert second.present > 50_000


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Registry]:
    """A registry that wants USER and PASSWORD."""
    with docker_registry(tmp_path / "registry", auth=basic_auth(tmp_path)) as running:
        yield running


def test_basic_authentication(guarded: Registry, bundle: Path, tmp_path: Path) -> None:
    """The right password is let in, a wrong one and none are told what to do, and do not show in what is said."""
    address, words = f"oci://{guarded.host}/os:1", tmp_path / "auth"
    words.touch(0o600)
    for line in ("", f"basic {USER}:wrong"):
        words.write_text(line)
        with pytest.raises(SourceError, match="--auth-file") as caught:
            push(str(bundle), address, transport=Transport(auth_file=str(words) if line else None))
        assert "wrong" not in str(caught.value)
    words.write_text(f"basic {USER}:{PASSWORD}\n")
    assert push(str(bundle), address, transport=Transport(auth_file=str(words))).sent > 300_000


def test_a_bundle_of_another_tar(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """What GNU tar has made of the same members could not be given back to the byte: it is refused."""
    names = subprocess.run(["tar", "-tf", bundle], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["tar", "-xf", bundle, "-C", tmp_path], check=True)
    subprocess.run(["tar", "--format=ustar", "-cf", "other.hup", *names], cwd=tmp_path, check=True)
    with pytest.raises(DataError, match="bundle create"):
        push(str(tmp_path / "other.hup"), f"oci://{registry.host}/wrong/os:1")


def test_bytes_behind_the_end(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """Not one byte of the file may get lost."""
    longer = tmp_path / "longer.hup"
    longer.write_bytes(bundle.read_bytes() + b"\0")
    with pytest.raises(DataError, match="bundle create"):
        push(str(longer), f"oci://{registry.host}/wrong/os:1")


def test_a_bundle_that_is_cut_short(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """The end of the tar counts too."""
    shorter = tmp_path / "shorter.hup"
    shorter.write_bytes(bundle.read_bytes()[:-1000])
    with pytest.raises(DataError, match="cut short"):
        push(str(shorter), f"oci://{registry.host}/wrong/os:1")


def test_a_damaged_boot_file(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """What no board would take is not pushed; nothing at all is asked of the registry."""
    data = bundle.read_bytes()
    damaged = tmp_path / "damaged.hup"
    damaged.write_bytes(data.replace(b"kernelkernel", b"kernelKernel", 1))
    before = len(registry.requests())
    with pytest.raises(DigestError, match="boot/kernel"):
        push(str(damaged), f"oci://{registry.host}/wrong/os:1")
    assert len(registry.requests()) == before


@pytest.mark.parametrize("part", ["first", "last"])
def test_a_damaged_image(registry: Registry, bundle: Path, tmp_path: Path, part: str) -> None:
    """Neither is one with a wrong byte in its chunk table or in its last frame."""
    found = inspect_bundle(str(bundle))
    offset = found.offsets["rootfs.img.zst"] + (100 if part == "first" else found.manifest.image.size - 10)
    data = bytearray(bundle.read_bytes())
    data[offset] ^= 1
    damaged = tmp_path / "damaged.hup"
    damaged.write_bytes(data)
    before = len(registry.requests())
    with pytest.raises(DataError) as caught:
        push(str(damaged), f"oci://{registry.host}/wrong/os:1")
    assert caught.value.exit_code == 5
    assert len(registry.requests()) == before


@pytest.mark.parametrize("what", ["folder", "none", "pipe"])
def test_what_is_no_file(tmp_path: Path, what: str) -> None:
    """A bundle is read twice, so it must be a file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no file"):
        push(str(tmp_path / what), "oci://127.0.0.1:1/os:1")


def test_a_digest_is_no_place_to_push_to(bundle: Path) -> None:
    """The digest follows from the bundle."""
    with pytest.raises(UsageError, match="push to a tag"):
        push(str(bundle), f"oci://127.0.0.1:1/os:1@sha256:{'0' * 64}")


def test_nobody_is_there(bundle: Path) -> None:
    """A port where nothing listens."""
    with pytest.raises(SourceError, match=r"refused; is there a registry at 127\.0\.0\.1:1\?"):
        push(str(bundle), "oci://127.0.0.1:1/os:1", transport=FAST)


class _NoRegistry(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_HEAD()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_web_server_that_is_no_registry(bundle: Path) -> None:
    """The message says so."""
    with http_server(_NoRegistry) as host, pytest.raises(SourceError, match="may be no registry"):
        push(str(bundle), f"oci://{host}/os:1")


class _Breaking(_NoRegistry):
    """Takes uploads at a relative address, but breaks the first two tries of each blob in the middle."""

    blobs: dict[str, bytes]
    tries: list[str]

    def do_HEAD(self) -> None:
        self._answer(404)

    def do_POST(self) -> None:
        self._answer(202, Location="uploads/here?state=a%2Fb")

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        if "/manifests/" in self.path:
            self.blobs["manifest"] = self.rfile.read(length)
            self._answer(201)
            return
        assert self.path.startswith("/v2/os/blobs/uploads/uploads/here?state=a%2Fb&digest=sha256%3A")
        self.tries.append(self.path)
        if self.tries.count(self.path) <= 2:
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        self.blobs["sha256:" + self.path.rpartition("%3A")[2]] = self.rfile.read(length)
        self._answer(201)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


class _Leading(_NoRegistry):
    """A registry over TLS that takes uploads somewhere else."""

    place: str

    def do_POST(self) -> None:
        self.send_response(202)
        self.send_header("Location", self.place)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.mark.parametrize("way", ["absolute", "by a redirect"])
def test_an_upload_that_leads_out_of_tls(bundle: Path, tmp_path: Path, way: str) -> None:
    """What a registry over TLS is given is not sent in the clear; nothing arrives at the other place."""
    certificate, key = make_certificate(tmp_path, "registry")
    asked: list[str] = []

    class Plain(_NoRegistry):
        def do_PUT(self) -> None:
            asked.append(self.path)
            self.do_HEAD()

        do_POST = do_PUT

    class Server(_Leading):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if way == "absolute" or "again" in self.path:
                super().do_POST()
                return
            self.send_response(307)
            self.send_header("Location", "/again")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with http_server(Plain) as plain, http_server(Server, (certificate, key)) as host:
        Server.place = f"http://{plain}/upload"
        with pytest.raises(SourceError, match=r"takes no uploads where it says: .* is not https.*X-Forwarded-Proto"):
            push(str(bundle), f"oci+https://{host}/os:1", transport=Transport(ca_file=str(certificate)))
    assert asked == []


def test_uploads_that_break_off_are_sent_again(bundle: Path) -> None:
    """Connections break in the middle of a body, used ones and new ones, and every blob arrives whole."""

    class Server(_Breaking):
        protocol_version = "HTTP/1.1"

    Server.blobs, Server.tries = {}, []

    with http_server(Server) as host:
        push(str(bundle), f"oci://{host}/os:1", transport=FAST)
    layers = json.loads(Server.blobs["manifest"])["layers"]
    for layer in layers:
        assert hashlib.sha256(Server.blobs[layer["digest"]]).hexdigest() == layer["digest"][7:]
        assert len(Server.blobs[layer["digest"]]) == layer["size"]


def test_progress_goes_up_to_the_end(registry: Registry, bundle: Path) -> None:
    """First the file is checked, then it is pushed, and each reaches its total."""
    seen: list[tuple[str, int, int | None]] = []
    push(
        str(bundle),
        f"oci://{registry.host}/progress/os:1",
        progress=lambda now: seen.append((now.phase, now.done, now.total)),
    )
    for phase in ("unpack", "check", "push"):
        done = [at for name, at, _ in seen if name == phase]
        assert done == sorted(done)
        assert done[-1] == next(total for name, _, total in reversed(seen) if name == phase)
    assert seen[-1][0] == "done"
