"""Keys that openssl made are read; what is no public key of Ed25519 is refused by its name."""

import os
from pathlib import Path

import pytest
from signer import key_id, make_pair, openssl, sign

from hupfast.errors import DigestError, HupfastError, Refused, UsageError
from hupfast.keys import DIRECTORY, load_keys, read_key, trusted_keys
from hupfast.system import under


def test_a_key_of_openssl(tmp_path: Path) -> None:
    """Its id is that of openssl and sha256sum, and what openssl signs with it is its signature; nothing else is."""
    private, public = make_pair(tmp_path)
    key = read_key(public)
    assert key.id == key_id(public)
    signature = sign(private, b"data")
    key.verify(b"data", signature)
    for data, wrong in ((b"date", signature), (b"data", bytes(64)), (b"", signature)):
        with pytest.raises(DigestError):
            key.verify(data, wrong)


def test_the_keys_of_a_directory(tmp_path: Path) -> None:
    """All that end in .pem, in the order of their names; a directory that is missing has none."""
    assert load_keys(tmp_path / "none") == ()
    made = {name: make_pair(tmp_path, name)[1] for name in ("b", "a")}
    (tmp_path / "README").write_text("not a key")
    (tmp_path / "a.pem~").write_text("not a key")
    assert [key.path for key in load_keys(tmp_path)] == [made["a"], made["b"]]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_text(""), "no public key in PEM"),
        (lambda path: path.write_bytes(os.urandom(1000)), "no public key in PEM"),
        (lambda path: path.symlink_to("none"), "link to a file"),
        (lambda path: path.mkdir(), "folder"),
        (lambda path: openssl("genpkey", "-algorithm", "ed25519", "-out", path), "private key"),
        (
            lambda path: openssl("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", path),
            "private key",
        ),
        (lambda path: path.write_bytes(make_pair(path.parent, "x", "x25519")[1].read_bytes()), "not an Ed25519"),
        (lambda path: path.write_bytes(make_pair(path.parent, "x", "ed448")[1].read_bytes()), "not an Ed25519"),
        (lambda path: path.write_bytes(make_pair(path.parent, "x", "rsa")[1].read_bytes()), "not an Ed25519"),
        (lambda path: path.write_bytes(2 * make_pair(path.parent, "x")[1].read_bytes()), "more than one"),
        (
            lambda path: path.write_bytes(b"".join(file.read_bytes() for file in make_pair(path.parent, "x"))),
            "private key",
        ),
        (lambda path: path.write_bytes(make_pair(path.parent, "x")[1].read_bytes()[:-60]), "no public key in PEM"),
    ],
)
def test_a_file_that_is_no_public_key(tmp_path: Path, make: object, reason: str) -> None:
    """Exit 4, with the file: one that is passed over would be trusted by nobody, and missed by nobody."""
    path = tmp_path / "keys/odd.pem"
    path.parent.mkdir()
    make(path)  # type: ignore[operator]  # one of the functions above
    with pytest.raises(Refused, match=rf"{path} cannot be used: it .*{reason}"):
        load_keys(path.parent)


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    """A directory with the name of a key, and a huge file: an error with the path."""
    (tmp_path / "a.pem").mkdir()
    with pytest.raises(HupfastError, match=r"a\.pem"):
        load_keys(tmp_path)
    (tmp_path / "a.pem").rmdir()
    (tmp_path / "a.pem").write_bytes(bytes(65 * 1024))
    with pytest.raises(HupfastError, match=r"a\.pem is larger"):
        load_keys(tmp_path)


def test_which_keys_count(tmp_path: Path) -> None:
    """Those below the root; with --key only that one, which must exist, and contradicts --allow-unsigned."""
    directory = under(tmp_path, DIRECTORY)
    directory.mkdir(parents=True)
    installed, given = make_pair(directory)[1], make_pair(tmp_path)[1]
    assert [key.path for key in trusted_keys(tmp_path, None, allow_unsigned=False)] == [installed]
    assert [key.path for key in trusted_keys(tmp_path, None, allow_unsigned=True)] == [installed]
    assert [key.path for key in trusted_keys(tmp_path, given, allow_unsigned=False)] == [given]
    with pytest.raises(UsageError, match="does not exist"):
        trusted_keys(tmp_path, tmp_path / "none.pem", allow_unsigned=False)
    with pytest.raises(UsageError, match="one of the two"):
        trusted_keys(tmp_path, given, allow_unsigned=True)
