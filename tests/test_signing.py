"""Signing bundles: what we make openssl takes, what openssl makes we take, and nothing else of a bundle changes."""

import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from signer import key_id, make_pair, openssl, sign, verifies

from hupfast import signing
from hupfast.bundle import open_bundle
from hupfast.bundling import create_bundle
from hupfast.errors import DataError, DigestError, HupfastError, Refused, UsageError
from hupfast.image import pack
from hupfast.keys import read_key
from hupfast.signatures import parse_signatures
from hupfast.trust import check_trust


@pytest.fixture(scope="session")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody has signed."""
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("unsigned")
    (folder / "boot").mkdir()
    (folder / "boot/kernel").write_bytes(b"kernel" * 500)
    (folder / "image").write_bytes(os.urandom(200_000))
    create_bundle(
        folder / "x.hup",
        name="os",
        version="1",
        boards=["x"],
        image=folder / "image",
        boot=folder / "boot",
        pack=lambda source, out: pack(source, out, level=1, chunk_size=1 << 16),
    )
    return folder / "x.hup"


@pytest.fixture
def bundle(unsigned: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    path = tmp_path / "x.hup"
    path.write_bytes(unsigned.read_bytes())
    return path


def signatures(bundle: Path) -> list[tuple[str, bytes]]:
    """Key ids and values in a bundle."""
    with open_bundle(bundle) as opened:
        return [(line.key_id, bytes.fromhex(line.value)) for line in parse_signatures(opened.front.signature or b"")]


def members(bundle: Path) -> dict[str, bytes]:
    """All members, as tarfile sees them."""
    with tarfile.open(bundle) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def test_openssl_takes_our_key_and_our_signature(bundle: Path, tmp_path: Path) -> None:
    """The private key is one of openssl's with the same public key, the id is the same, and so is the signature."""
    pair = signing.make_key(tmp_path / "mine")
    assert openssl("pkey", "-in", pair.private, "-pubout") == pair.public.read_bytes()
    assert pair.id == key_id(pair.public)
    assert signing.sign(bundle, pair.private, force=False) == pair.id
    with open_bundle(bundle) as opened:
        manifest = opened.front.manifest
        assert check_trust(opened.front, [read_key(pair.public)], allow_unsigned=False)
    [(name, raw)] = signatures(bundle)
    assert name == pair.id
    assert verifies(pair.public, manifest, raw)
    assert not verifies(pair.public, manifest + b" ", raw)
    assert raw == sign(pair.private, manifest)


def test_we_take_the_key_of_openssl_and_its_signature(bundle: Path, tmp_path: Path) -> None:
    """Exported bytes that openssl has signed are attached; a key of openssl signs here as well."""
    private, public = make_pair(tmp_path, "theirs")
    signing.export_manifest(bundle, tmp_path / "bytes", force=False)
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", tmp_path / "bytes", "-out", tmp_path / "raw")
    assert signing.attach(bundle, tmp_path / "raw", public, force=False) == key_id(public)
    with open_bundle(bundle) as opened:
        assert (tmp_path / "bytes").read_bytes() == opened.front.manifest
        assert check_trust(opened.front, [read_key(public)], allow_unsigned=False)
    attached = bundle.read_bytes()
    signing.sign(bundle, private, force=False)
    assert bundle.read_bytes() == attached


def test_passphrases_both_ways(bundle: Path, tmp_path: Path) -> None:
    """Our encrypted key is opened by openssl, and the other way round; without or with a wrong one: exit 2."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"correct horse\nsecond line\n")
    passphrase = signing.read_passphrase(secret)
    ours = signing.make_key(tmp_path / "ours", passphrase)
    assert b"ENCRYPTED" in ours.private.read_bytes()
    assert openssl("pkey", "-in", ours.private, "-passin", f"file:{secret}", "-pubout") == ours.public.read_bytes()
    plain, _ = make_pair(tmp_path, "theirs")
    theirs = tmp_path / "theirs.enc"
    openssl("pkey", "-in", plain, "-aes256", "-passout", f"file:{secret}", "-out", theirs)
    for key in (ours.private, theirs):
        signing.sign(bundle, key, passphrase, force=False)
        with pytest.raises(UsageError, match="has a passphrase"):
            signing.sign(bundle, key, force=False)
        with pytest.raises(UsageError, match=r"passphrase .* is wrong"):
            signing.sign(bundle, key, b"wrong", force=False)
    with pytest.raises(UsageError, match="has no passphrase"):
        signing.sign(bundle, plain, passphrase, force=False)
    assert len(signatures(bundle)) == 2


def test_passphrase_files(tmp_path: Path) -> None:
    """The first line; one that is missing or empty is a usage error."""
    path = tmp_path / "p"
    for data, passphrase in ((b"a b", b"a b"), (b"x\r\ny", b"x\r"), (b"y" * 1023, b"y" * 1023), (b" x \n", b" x ")):
        path.write_bytes(data)
        assert signing.read_passphrase(path) == passphrase
    for data in (b"", b"\nx"):
        path.write_bytes(data)
        with pytest.raises(UsageError, match="empty"):
            signing.read_passphrase(path)
    for data, reason in ((b"y" * 1024, "longer than 1023"), (b"y\0z", "NUL")):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=reason):
            signing.read_passphrase(path)
    with pytest.raises(UsageError, match="does not exist"):
        signing.read_passphrase(tmp_path / "none")
    with pytest.raises(UsageError, match="is a folder"):
        signing.read_passphrase(tmp_path)


@pytest.mark.parametrize("line", [b"secret\r\n", b" a b \n", b"y" * 1023, b"y" * 1022 + b"\r\nz"])
def test_openssl_reads_a_passphrase_file_as_we_do(tmp_path: Path, line: bytes) -> None:
    """A carriage return is part of the passphrase, and so is the last byte of the longest one."""
    path = tmp_path / "p"
    path.write_bytes(line)
    ours = signing.make_key(tmp_path / "ours", signing.read_passphrase(path))
    assert openssl("pkey", "-in", ours.private, "-passin", f"file:{path}", "-pubout") == ours.public.read_bytes()


def test_a_private_key_is_for_nobody_else(tmp_path: Path) -> None:
    """Mode 0600 from its first byte on, and nothing is replaced, neither of the two files."""
    old = os.umask(0)
    try:
        pair = signing.make_key(tmp_path / "k")
    finally:
        os.umask(old)
    assert stat.S_IMODE(pair.private.stat().st_mode) == 0o600
    before = pair.private.read_bytes(), pair.public.read_bytes()
    for gone in (pair.private, pair.public):
        kept = gone.read_bytes()
        gone.unlink()
        with pytest.raises(Refused, match="never replaced"):
            signing.make_key(tmp_path / "k")
        assert not gone.exists()
        gone.write_bytes(kept)
    assert before == (pair.private.read_bytes(), pair.public.read_bytes())
    with pytest.raises(UsageError, match="no folder"):
        signing.make_key(tmp_path / "none/k")


def test_only_the_signature_changes(bundle: Path, tmp_path: Path) -> None:
    """tarfile finds the same members with the same bytes, and manifest.sig behind the manifest; the end is the end."""
    before, size = members(bundle), bundle.stat().st_size
    signing.sign(bundle, make_pair(tmp_path)[0], force=False)
    after = members(bundle)
    assert list(after) == ["manifest.json", "manifest.sig", *list(before)[1:]]
    assert {name: data for name, data in after.items() if name != "manifest.sig"} == before
    assert bundle.stat().st_size == size + 1024
    assert sorted(path.name for path in tmp_path.glob("*.hup*")) == ["x.hup"]


def test_a_second_signature_keeps_the_first(bundle: Path, tmp_path: Path) -> None:
    """The same key replaces its own; others stay, in their order, beyond the first block of the tar."""
    keys = [make_pair(tmp_path, f"k{number}") for number in range(4)]
    before = members(bundle)
    for private, _ in (*keys, keys[0]):
        signing.sign(bundle, private, force=False)
    assert [name for name, _ in signatures(bundle)] == [key_id(public) for _, public in (*keys[1:], keys[0])]
    with open_bundle(bundle) as opened:
        for _, public in keys:
            assert check_trust(opened.front, [read_key(public)], allow_unsigned=False)
    assert {name: data for name, data in members(bundle).items() if name != "manifest.sig"} == before


def test_another_file_for_the_result(bundle: Path, tmp_path: Path) -> None:
    """--out leaves the bundle alone, is not replaced without force, and may be the bundle itself."""
    private, _ = make_pair(tmp_path)
    before = bundle.read_bytes()
    signing.sign(bundle, private, out=tmp_path / "y.hup", force=False)
    assert bundle.read_bytes() == before
    assert len(signatures(tmp_path / "y.hup")) == 1
    with pytest.raises(Refused, match="--force"):
        signing.sign(bundle, private, out=tmp_path / "y.hup", force=False)
    signing.sign(bundle, private, out=tmp_path / "y.hup", force=True)
    (tmp_path / "link.hup").symlink_to("x.hup")
    signing.sign(tmp_path / "link.hup", private, force=False)
    assert (tmp_path / "link.hup").is_symlink()
    assert bundle.read_bytes() == (tmp_path / "y.hup").read_bytes()
    with pytest.raises(Refused, match="--force"):
        signing.export_manifest(bundle, tmp_path / "y.hup", force=False)


def test_a_signature_that_is_not_right_is_not_attached(bundle: Path, tmp_path: Path) -> None:
    """Of another key, over other bytes, of another length, missing: the bundle stays as it is."""
    private, public = make_pair(tmp_path)
    other, _ = make_pair(tmp_path, "other")
    with open_bundle(bundle) as opened:
        manifest = opened.front.manifest
    before = bundle.read_bytes()
    cases: list[tuple[bytes | None, type[HupfastError]]] = [
        (sign(other, manifest), DigestError),
        (sign(private, manifest + b"\n"), DigestError),
        (sign(private, manifest)[:-1], DataError),
        (sign(private, manifest).hex().encode(), DataError),
        (bytes(10_000), DataError),
        (None, UsageError),
    ]
    for raw, kind in cases:
        (tmp_path / "raw").unlink(missing_ok=True)
        if raw is not None:
            (tmp_path / "raw").write_bytes(raw)
        with pytest.raises(kind):
            signing.attach(bundle, tmp_path / "raw", public, force=False)
    assert bundle.read_bytes() == before


def test_what_is_no_private_key(bundle: Path, tmp_path: Path) -> None:
    """Public, of another kind, noise, missing: exit 2, and the bundle stays as it is."""
    before = bundle.read_bytes()
    _, public = make_pair(tmp_path)
    (tmp_path / "noise").write_bytes(os.urandom(100))
    for path in (public, make_pair(tmp_path, "rsa", "rsa")[0], tmp_path / "noise", tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match=str(path)):
            signing.sign(bundle, path, force=False)
    with pytest.raises(UsageError, match="is a folder"):
        signing.attach(bundle, tmp_path / "noise", tmp_path, force=False)
    assert bundle.read_bytes() == before


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_the_mode_of_the_file_stays(bundle: Path, tmp_path: Path, mode: int) -> None:
    """Who could not read the bundle before cannot do so afterwards; nor does the umask take from anybody."""
    private, _ = make_pair(tmp_path)
    bundle.chmod(mode)
    for out in (None, tmp_path / "y.hup"):
        signing.sign(bundle, private, out=out, force=False)
        assert stat.S_IMODE((out or bundle).stat().st_mode) == mode


@pytest.mark.parametrize("packer", ["gzip", "xz", "bzip2"])
def test_a_packed_bundle_stays_as_it_is(bundle: Path, tmp_path: Path, packer: str) -> None:
    """It is no bundle: exit 5, and not a byte of it is changed."""
    private, _ = make_pair(tmp_path)
    packed = tmp_path / "packed.hup"
    packed.write_bytes(subprocess.run([packer, "-c", bundle], capture_output=True, check=True).stdout)
    before = packed.read_bytes()
    with pytest.raises(DataError, match="unpack it first"):
        signing.sign(packed, private, force=False)
    assert packed.read_bytes() == before


def test_what_was_looked_at_is_what_is_signed(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is put into the bundle's place while it is signed does not get into the signed one."""
    private, _ = make_pair(tmp_path)
    before = members(bundle)
    real = signing._signed

    def replaced(*arguments: Any) -> Iterator[bytes]:
        (tmp_path / "z").write_bytes(b"another file" * 1000)
        (tmp_path / "z").rename(bundle)
        return real(*arguments)

    monkeypatch.setattr(signing, "_signed", replaced)
    signing.sign(bundle, private, force=False)
    assert {name: data for name, data in members(bundle).items() if name != "manifest.sig"} == before


def test_what_is_no_bundle_is_not_signed(tmp_path: Path) -> None:
    """Noise and a tar of something else: exit 5; nothing at all: exit 2."""
    private, _ = make_pair(tmp_path)
    with pytest.raises(DataError):
        signing.sign(private, private, force=False)
    with pytest.raises(UsageError):
        signing.sign(tmp_path / "none", private, force=False)


def test_a_bundle_that_cannot_be_written_stays(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of the copy leaves the unsigned bundle, and nothing beside it."""
    private, _ = make_pair(tmp_path)
    before = bundle.read_bytes()

    def cut(*arguments: object) -> object:
        yield b"half a bundle"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(signing, "_signed", cut)
    with pytest.raises(HupfastError, match="No space"):
        signing.sign(bundle, private, force=False)
    assert bundle.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*.hup*")) == ["x.hup"]


def test_without_cryptography(bundle: Path, tmp_path: Path) -> None:
    """On a machine without it, keys and signatures end in one sentence; attaching works."""
    private, public = make_pair(tmp_path)
    signing.export_manifest(bundle, tmp_path / "bytes", force=False)
    (tmp_path / "raw").write_bytes(sign(private, (tmp_path / "bytes").read_bytes()))
    code = (
        "import importlib.util as u, sys\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'cryptography' else real(name, package)\n"
        "from hupfast.cli import main\n"
        "main.main(sys.argv[1:])"
    )

    def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, argv)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for argv in (["keygen", tmp_path / "k"], ["bundle", "sign", bundle, "--key", private]):
        done = run(*argv)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "hupfast[pack]" in done.stderr
    assert run("bundle", "sign", bundle, "--attach", tmp_path / "raw", "--key", public).returncode == 0
    assert len(signatures(bundle)) == 1
