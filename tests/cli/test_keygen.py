"""`hupfast keygen`, as a user meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from signer import key_id, openssl

from hupfast.cli import main


def run(*argv: str | Path) -> Result:
    """A command in this process; when it fails, it shows no traceback."""
    result = CliRunner().invoke(main, ["keygen", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


def test_a_key_pair(tmp_path: Path) -> None:
    """The words have both files and the id; a second time is refused with exit 4."""
    pytest.importorskip("cryptography")
    told = run(tmp_path / "release").stdout
    assert f"{tmp_path}/release.key, which stays secret" in told
    assert f"key id {key_id(tmp_path / 'release.pem')}\n" in told
    again = run(tmp_path / "release")
    assert (again.exit_code, again.stderr.count("\n")) == (4, 1)


@pytest.mark.parametrize("name", ["", ".", "/", "a/", "..", "a/."])
def test_a_name_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Wrong usage, and no file."""
    pytest.importorskip("cryptography")
    monkeypatch.chdir(tmp_path)
    done = run(name)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())


def test_a_passphrase(tmp_path: Path) -> None:
    """The private key is encrypted with the first line of the file."""
    pytest.importorskip("cryptography")
    (tmp_path / "p").write_text("one\ntwo\n")
    found = json.loads(run(tmp_path / "k", "--passphrase-file", tmp_path / "p", "--json").stdout)
    public = openssl("pkey", "-in", found["private"], "-passin", "pass:one", "-pubout")
    assert public == Path(found["public"]).read_bytes()
    assert run(tmp_path / "l", "--passphrase-file", tmp_path / "none").exit_code == 2
    assert not (tmp_path / "l.key").exists()
