"""Whom a streamed update believes: servers by their certificates, bundles by their signatures, users by their login."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from anatomy import region
from signer import make_pair, sign
from streams import PATH, asked, command, contents, hasty

from certificates import PKI
from hupfast.errors import Refused, SourceError, UsageError
from hupfast.filesystem import put
from hupfast.resume import resume_update
from hupfast.signing import attach, export_manifest
from servers import Behaviour, misbehaving, nginx

Board = Any


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    """A CA that no system knows."""
    return PKI(tmp_path_factory.mktemp("pki") / "ca")


def is_whole(board: Board) -> None:
    """The new system is there, to the last byte, and boots."""
    board.check_whole("b", "2.0")
    assert board.boot().version == "2.0"


# ---- servers -------------------------------------------------------------------------------------------------


def test_a_private_ca_by_the_real_command(empty: Board, shelf: Any, pki: PKI) -> None:
    """--ca-file names it, from nginx over TLS."""
    path = shelf.bundle("2.0")
    with nginx(path.parent, tls=pki.issue()) as server:
        update = ("update", server.url(path.name), "--allow-unsigned", "-q", "--ca-file", pki.ca)
        assert command(empty, *update).code == 10
    is_whole(empty)


@pytest.mark.parametrize(
    ("host", "days", "ca", "words"),
    [
        ("localhost", 2, "none", "nobody that this system trusts vouches for"),
        ("localhost", 2, "other", "not vouched for by"),
        ("elsewhere.example", 2, "right", "for another host name"),
        ("localhost", -1, "right", "not valid today"),
    ],
)
def test_a_server_that_is_not_believed(
    empty: Board, shelf: Any, pki: PKI, tmp_path: Path, host: str, days: int, ca: str, words: str
) -> None:
    """Exit 7 at once, with one line that says why, and not a byte of the board changes."""
    path, before = shelf.bundle("2.0"), contents(empty.root)
    given = {"none": (), "right": ("--ca-file", pki.ca), "other": ("--ca-file", other_ca(tmp_path))}[ca]
    with nginx(path.parent, tls=pki.issue(host, days=days)) as server:
        done = command(empty, "update", server.url(path.name), "--allow-unsigned", "-q", *given)
    assert (done.code, words in done.err, done.err.count("\n")) == (7, True, 1)
    assert contents(empty.root) == before


def other_ca(folder: Path) -> Path:
    """A CA that has not signed anything."""
    return PKI(folder / "other", "another CA").ca


def test_it_goes_on_with_the_same_ca(empty: Board, data: bytes, pki: PKI) -> None:
    """`--resume` knows the file of --ca-file."""
    how = Behaviour(drop_at=region(data, "frame 20").middle, times=-1)
    with misbehaving({PATH: data}, how, tls=pki.issue()) as server:
        with pytest.raises(SourceError):
            empty.update(server.url(PATH), transport=hasty(ca_file=str(pki.ca)))
        assert json.loads((empty.root / "state/request.json").read_text())["ca_file"] == str(pki.ca)
        server.behaviour.times = 0
        assert resume_update(root=empty.root).outcome == "installed"
    is_whole(empty)


def test_a_server_that_changes_its_certificate_in_between(empty: Board, data: bytes, pki: PKI) -> None:
    """Each connection is checked, also one that goes on with a file: exit 7, and the old system boots."""
    expired = pki.issue(days=-1)

    def change(server: Any, request: Any) -> None:
        server._context.load_cert_chain(expired.file, expired.key)

    how = Behaviour(before=change, drop_at=region(data, "frame 20").middle)
    with misbehaving({PATH: data}, how, tls=pki.issue()) as server, pytest.raises(SourceError, match="not valid today"):
        empty.update(server.url(PATH), transport=hasty(ca_file=str(pki.ca)))
    assert empty.boot().slot == "a"
    assert "b" not in empty.journal().state.slots


# ---- users ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "environment"])
def test_logging_in(empty: Board, data: bytes, tmp_path: Path, way: str) -> None:
    """With a line in a file, or in the environment."""
    secret = tmp_path / "login"
    secret.write_text("bearer abracadabra\n")
    secret.chmod(0o600)
    with misbehaving({PATH: data}, Behaviour(password="Bearer abracadabra")) as server:
        update = ("update", server.url(PATH), "--allow-unsigned", "-q")
        if way == "file":
            done = command(empty, *update, "--auth-file", secret)
        else:
            done = command(empty, *update, HUPFAST_AUTH="bearer abracadabra")
    assert done.code == 10
    is_whole(empty)


@pytest.mark.parametrize("secret", ["", "bearer wrong", "basic me:open sesame"])
def test_a_wrong_login(empty: Board, data: bytes, secret: str) -> None:
    """Exit 7 at once, with how to do it and without what was tried; nothing is written."""
    before = contents(empty.root)
    with misbehaving({PATH: data}, Behaviour(password="Bearer abracadabra")) as server:
        done = command(empty, "update", server.url(PATH), "--allow-unsigned", HUPFAST_AUTH=secret)
        assert len(server.requests) == 1
    assert (done.code, "401" in done.err, "--auth-file" in done.err) == (7, True, True)
    assert not any(word in done.err for word in ("sesame", "wrong"))
    assert contents(empty.root) == before


def test_a_login_that_ends_in_between(empty: Board, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that expires while the image streams: exit 7; with a new one the same command goes on."""
    monkeypatch.setenv("HUPFAST_AUTH", "bearer old")

    def expire(server: Any, request: Any) -> None:
        if len(server.requests) == 2:
            server.behaviour.password = "Bearer new"

    how = Behaviour(password="Bearer old", before=expire)
    with misbehaving({PATH: data}, how) as server:
        with pytest.raises(SourceError, match="401"):
            empty.update(server.url(PATH), transport=hasty())
        assert empty.boot().slot == "a"
        monkeypatch.setenv("HUPFAST_AUTH", "bearer new")
        empty.update(server.url(PATH), transport=hasty())
    is_whole(empty)


def test_a_login_that_everybody_can_read(empty: Board, data: bytes, tmp_path: Path) -> None:
    """Wrong usage, before anybody is asked."""
    (tmp_path / "login").write_text("bearer abracadabra\n")
    (tmp_path / "login").chmod(0o644)
    with misbehaving({PATH: data}) as server:
        with pytest.raises(UsageError, match="chmod 600"):
            empty.update(server.url(PATH), transport=hasty(auth_file=str(tmp_path / "login")))
        assert not server.requests


def test_limits(empty: Board, data: bytes) -> None:
    """--limit-rate and --limit-write slow it down, and break nothing."""
    with misbehaving({PATH: data}) as server:
        update = ("update", server.url(PATH), "--allow-unsigned", "--json", "-q")
        done = command(empty, *update, "--limit-rate", "600K", "--limit-write", "6M")
    assert done.code == 10
    report = json.loads(done.out)["report"]
    assert report["seconds"] > 0.7 * len(data) / (600 << 10)
    assert report["verified"]
    is_whole(empty)


# ---- bundles -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The same bundle, signed with openssl, and the public key."""
    folder = tmp_path_factory.mktemp("keys")
    bundle = folder / "os.hup"
    bundle.write_bytes(data)
    private, public = make_pair(folder)
    export_manifest(bundle, folder / "manifest", force=False)
    (folder / "raw").write_bytes(sign(private, (folder / "manifest").read_bytes()))
    attach(bundle, folder / "raw", public, force=True)
    return bundle.read_bytes(), public.read_bytes()


def test_a_signed_bundle_needs_no_option(empty: Board, signed: tuple[bytes, bytes]) -> None:
    """A key in /etc/hupfast/keys is enough, by the real command; it goes on by itself when it was cut off."""
    bundle, public = signed
    put(empty.root, "etc/hupfast/keys/release.pem", public)
    with misbehaving({PATH: bundle}) as server:
        assert command(empty, "update", server.url(PATH), "-q").code == 10
    is_whole(empty)


def test_a_signed_bundle_that_was_cut_off(empty: Board, signed: tuple[bytes, bytes], tmp_path: Path) -> None:
    """With the key of --key: it is kept by its full name, and asked for again."""
    bundle, public = signed
    (tmp_path / "release.pem").write_bytes(public)
    how = Behaviour(drop_at=region(bundle, "frame 20").middle, times=-1)
    with misbehaving({PATH: bundle}, how) as server:
        with pytest.raises(SourceError):
            empty.update(
                server.url(PATH), allow_unsigned=False, key=os.path.relpath(tmp_path / "release.pem"), transport=hasty()
            )
        server.behaviour.times = 0
        assert resume_update(root=empty.root).outcome == "installed"
    is_whole(empty)


@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_a_bundle_that_nobody_trusted_has_signed(
    empty: Board, signed: tuple[bytes, bytes], data: bytes, tmp_path: Path, who: str
) -> None:
    """Exit 4: the server is asked for the front only, and nothing is written."""
    _, stranger = make_pair(tmp_path, "stranger")
    put(empty.root, "etc/hupfast/keys/release.pem", signed[1] if who == "nobody" else stranger.read_bytes())
    before = contents(empty.root)
    bundle = data if who == "nobody" else signed[0]
    with misbehaving({PATH: bundle}) as server:
        with pytest.raises(Refused) as caught:
            empty.update(server.url(PATH), allow_unsigned=False)
        assert asked(server.requests, len(bundle)) == [(0, 2**16)]
    assert caught.value.exit_code == 4
    assert contents(empty.root) == before


def test_a_signed_bundle_that_is_replaced_by_an_unsigned_one(
    empty: Board, signed: tuple[bytes, bytes], data: bytes
) -> None:
    """Whoever has the server cannot go on with another bundle what a signed one began."""
    bundle, public = signed
    put(empty.root, "etc/hupfast/keys/release.pem", public)
    how = Behaviour(drop_at=region(bundle, "frame 20").middle, times=-1)
    with misbehaving({PATH: bundle}, how) as server:
        with pytest.raises(SourceError):
            empty.update(server.url(PATH), allow_unsigned=False, transport=hasty())
        server.files[PATH] = data
        server.behaviour.times = 0
        with pytest.raises(Refused, match="not signed"):
            resume_update(root=empty.root)
        assert empty.boot().slot == "a"
        server.files[PATH] = bundle
        assert resume_update(root=empty.root).outcome == "installed"
    is_whole(empty)
