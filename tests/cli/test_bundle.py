"""`hupfast bundle` with bootloaders, as a user meets it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from signer import make_pair, sign

from hupfast.cli import main


def run(*argv: str | Path) -> Result:
    """A command in this process; when it fails, it shows no traceback."""
    result = CliRunner().invoke(main, ["bundle", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every bundle needs, with an image in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("image").write_bytes(os.urandom(100_000))
    Path("MLO").write_bytes(b"m" * 2048)
    Path("a=b").write_bytes(b"u" * 1024)
    return ["--name", "os", "--version", "1", "--board", "x", "--image", "image", "--level", "1", "-q"]


def test_bootloaders_are_shown(options: list[str]) -> None:
    """--raw may be repeated, a file's name may have a = in it, and info tells of both."""
    assert run("create", *options, "--raw", "u-boot.img=a=b", "--raw", "MLO=MLO", "x.hup").exit_code == 0
    told = run("info", "x.hup").stdout
    assert "raw       MLO (2.00 KiB)\n" in told
    assert "raw       u-boot.img (1.00 KiB)\n" in told
    members = json.loads(run("info", "x.hup", "--json").stdout)["members"]
    assert [(member["kind"], member["name"]) for member in members] == [
        ("raw", "raw/MLO"),
        ("raw", "raw/u-boot.img"),
        ("image", "rootfs.img.zst"),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        ["MLO"],
        ["=MLO"],
        ["MLO="],
        ["MLO=none"],
        ["MLO=."],
        ["a/b=MLO"],
        ["MLO=MLO", "MLO=image"],
        ["MLO=MLO", "mlo=MLO"],
    ],
)
def test_wrong_bootloaders(options: list[str], raw: list[str]) -> None:
    """Exit 2, one line, and no bundle."""
    done = run("create", *options, *(word for value in raw for word in ("--raw", value)), "x.hup")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert not Path("x.hup").exists()


def test_signing_and_verifying(options: list[str]) -> None:
    """create, keygen, sign, info, verify: each tells what it did, in words and in JSON."""
    assert run("create", *options, "--expires", "2027-01-31T12:00:00Z", "x.hup").exit_code == 0
    assert "signed    no\n" in run("info", "x.hup").stdout
    made = CliRunner().invoke(main, ["keygen", "release"])
    name = made.stdout.split("key id ")[1].strip()
    refused = run("verify", "x.hup", "--key", "release.pem", "-q")
    assert (refused.exit_code, refused.stderr.count("\n")) == (4, 1)
    assert run("sign", "x.hup", "--key", "release.key").stdout == f"x.hup is signed by the key {name}\n"
    told = run("info", "x.hup").stdout
    assert f"signed    ed25519 {name} (not checked" in told
    assert "expires   2027-01-31T12:00:00Z\n" in told
    assert json.loads(run("info", "x.hup", "--json").stdout)["keys"] == [name]
    assert f"whole, signed by {name} (release.pem)\n" in run("verify", "x.hup", "--key", "release.pem").stdout
    found = json.loads(run("verify", "x.hup", "--keys", ".", "--json", "-q").stdout)
    assert found["key"] == {"id": name, "file": "release.pem"}
    data = bytearray(Path("x.hup").read_bytes())
    data[-3000] ^= 1
    Path("x.hup").write_bytes(data)
    bad = run("verify", "x.hup", "--key", "release.pem", "-q")
    assert (bad.exit_code, bad.stderr.count("\n")) == (5, 1)


def test_a_key_elsewhere(options: list[str], tmp_path: Path) -> None:
    """Exported, signed by openssl, attached."""
    private, public = make_pair(tmp_path)
    assert run("create", *options, "x.hup").exit_code == 0
    assert "exactly these bytes" in run("sign", "x.hup", "--export", "bytes").stdout
    Path("raw").write_bytes(sign(private, Path("bytes").read_bytes()))
    done = json.loads(run("sign", "x.hup", "--attach", "raw", "--key", public, "--out", "y.hup", "--json").stdout)
    assert done["out"] == "y.hup"
    assert run("verify", "y.hup", "--key", public, "-q").exit_code == 0
    assert run("verify", "x.hup", "--key", public, "-q").exit_code == 4
    assert run("verify", "x.hup", "--allow-unsigned", "--key", public, "-q").exit_code == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["sign", "x.hup"],
        ["sign", "x.hup", "--export", "bytes", "--key", "k"],
        ["sign", "x.hup", "--export", "bytes", "--out", "y"],
        ["sign", "x.hup", "--attach", "raw"],
        ["sign", "x.hup", "--attach", "raw", "--key", "k", "--passphrase-file", "p"],
        ["sign", "none.hup", "--key", "k"],
        ["sign", "x.hup", "--key", "none"],
        ["sign", "x.hup", "--key", "MLO"],
        ["verify", "x.hup", "--keys", "none"],
        ["verify", "x.hup", "--key", "none"],
        ["create", "y.hup", "--name", "x"],
    ],
)
def test_wrong_usage(options: list[str], argv: list[str]) -> None:
    """Exit 2, one line."""
    run("create", *options, "x.hup")
    done = run(*argv)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
