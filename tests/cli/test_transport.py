"""The options for addresses, as a user meets them."""

import hashlib
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner, Result

from certificates import PKI
from hupfast.cli import main
from servers import Answer, Behaviour, misbehaving, nginx

DATA = b"0123456789abcdef" * 2**14


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HUPFAST_AUTH", raising=False)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.write_bytes(bytes(len(DATA)))
    return path


def run(*argv: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in argv])


@pytest.fixture
def auth_file(tmp_path):
    path = tmp_path / "auth"
    path.write_text("basic me:secret\n")
    path.chmod(0o600)
    return path


def test_ca_file(tmp_path, target):
    """write and verify take --ca-file, and name it where it is missing."""
    pki = PKI(tmp_path / "ca")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "image.img").write_bytes(DATA)
    with nginx(folder, tls=pki.issue()) as server:
        for command in (["write", "--yes"], ["verify"]):
            done = run(*command, "--ca-file", pki.ca, server.url("image.img"), target)
            assert done.exit_code == 0, done.stderr
        refused = run("verify", server.url("image.img"), target)
    assert target.read_bytes() == DATA
    assert refused.exit_code == 7
    assert "--ca-file" in refused.stderr


def test_auth(target, auth_file, monkeypatch):
    """--auth-file and HUPFAST_AUTH log in; without them the message names both."""
    with misbehaving({"/f": DATA}, Behaviour(password="Basic bWU6c2VjcmV0")) as server:
        refused = run("write", "--yes", server.url("f"), target)
        assert target.read_bytes() == bytes(len(DATA))
        assert run("write", "--yes", "--auth-file", auth_file, server.url("f"), target).exit_code == 0
        monkeypatch.setenv("HUPFAST_AUTH", "basic me:secret")
        assert run("verify", server.url("f"), target).exit_code == 0
    assert refused.exit_code == 7
    assert "--auth-file" in refused.stderr
    assert "HUPFAST_AUTH" in refused.stderr


def test_password_in_the_address(target):
    """A password on the command line is wrong usage, is not repeated, and nothing is asked for."""
    done = run("write", "--yes", "http://me:s3cret@127.0.0.1:1/f", target)
    assert done.exit_code == 2
    assert "--auth-file" in done.stderr
    assert "s3cret" not in done.stderr


def test_auth_file_that_everybody_can_read(target, auth_file):
    """A file of secrets that everybody can read is wrong usage."""
    auth_file.chmod(0o644)
    done = run("write", "--yes", "--auth-file", auth_file, "http://127.0.0.1:1/f", target)
    assert (done.exit_code, "chmod 600" in done.stderr) == (2, True)


def test_limit_rate(target):
    """--limit-rate takes a size, and holds the download back."""
    with misbehaving({"/f": DATA}) as server:
        started = time.monotonic()
        assert run("write", "--yes", "--limit-rate", "512K", server.url("f"), target).exit_code == 0
    assert 0.2 < time.monotonic() - started < 2
    assert run("write", "--yes", "--limit-rate", "fast", "x", target).exit_code == 2


@pytest.mark.parametrize("quiet", [True, False])
def test_retries_are_told(target, quiet):
    """A line tells that something is tried again; with --quiet, none does."""
    with misbehaving({"/f": DATA}, Behaviour(answers=[Answer(503, {"Retry-After": "0"})])) as server:
        done = run("write", "--yes", *(["--quiet"] if quiet else []), server.url("f"), target)
    assert done.exit_code == 0
    assert ("503 Service Unavailable; trying again in" in done.stderr) is not quiet


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_wait(target, number):
    """Who waits for another try ends at once when he is told to."""
    with misbehaving({"/f": DATA}, Behaviour(answers=[Answer(503, {"Retry-After": "200"})])) as server:
        command = [sys.executable, "-m", "hupfast", "write", "--yes", server.url("f"), str(target)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert "trying again in 200" in process.stderr.readline()
            process.send_signal(number)
            assert process.wait(5) == 1
            assert "interrupted" in process.stderr.read()


def test_digest_of_a_file_far_away(target):
    """What would be fetched twice is read once: its digest is checked at the end."""
    with misbehaving({"/f": DATA}) as server:
        done = run("write", "--yes", "--sha256", hashlib.sha256(DATA).hexdigest(), server.url("f"), target)
        assert done.exit_code == 0, done.stderr
        assert server.sent == len(DATA)
        assert run("write", "--yes", "--sha256", "0" * 64, server.url("f"), target).exit_code == 5


def test_block_map_of_a_file_far_away(target, tmp_path):
    """The checksums of a block map can be checked before anything is written, where the server has ranges."""
    bmap = tmp_path / "bmap"
    digest = hashlib.sha256(DATA).hexdigest()
    text = f"""<?xml version="1.0"?><bmap version="2.0"><ImageSize>{len(DATA)}</ImageSize><BlockSize>4096</BlockSize>
        <BlocksCount>{len(DATA) // 4096}</BlocksCount><MappedBlocksCount>{len(DATA) // 4096}</MappedBlocksCount>
        <ChecksumType>sha256</ChecksumType><BmapFileChecksum>{"0" * 64}</BmapFileChecksum>
        <BlockMap><Range chksum="{digest}">0-{len(DATA) // 4096 - 1}</Range></BlockMap></bmap>"""
    own = hashlib.sha256(text.encode()).hexdigest()
    bmap.write_text(text.replace("0" * 64, own))
    with misbehaving({"/f": DATA}) as server:
        done = run("write", "--yes", "--bmap", bmap, server.url("f"), target)
    assert done.exit_code == 0, done.stderr
    assert target.read_bytes() == DATA
