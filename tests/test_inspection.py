"""`bundle verify`: a bundle is whole to its last byte, or it is told what is wrong."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from signer import make_pair, sign

from hupfast.bundle import open_bundle
from hupfast.bundling import create_bundle, inspect_bundle
from hupfast.errors import DataError, DigestError, HupfastError, Refused
from hupfast.image import pack
from hupfast.inspection import Inspection, verify_bundle
from hupfast.keys import Key, read_key
from hupfast.manifest import serialize_manifest
from hupfast.signing import attach, export_manifest
from hupfast.tar import BLOCK, END, make_header, padded


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    """A signed bundle with every kind of member, and the key."""
    folder = tmp_path_factory.mktemp("signed")
    (folder / "boot").mkdir()
    (folder / "boot/kernel").write_bytes(b"kernel" * 200)
    (folder / "boot/empty").write_bytes(b"")
    (folder / "MLO").write_bytes(b"m" * 700)
    (folder / "image").write_bytes(os.urandom(70_001) + bytes(70_000))
    create_bundle(
        folder / "x.hup",
        name="os",
        version="1",
        boards=["x"],
        image=folder / "image",
        boot=folder / "boot",
        raw={"MLO": folder / "MLO"},
        pack=lambda source, out: pack(source, out, level=1, chunk_size=1 << 16),
    )
    private, public = make_pair(folder)
    export_manifest(folder / "x.hup", folder / "bytes", force=False)
    (folder / "raw").write_bytes(sign(private, (folder / "bytes").read_bytes()))
    attach(folder / "x.hup", folder / "raw", public, force=False)
    return folder / "x.hup", read_key(public)


def check(path: Path, *keys: Key, allow_unsigned: bool = False) -> Inspection:
    """Verify a bundle file."""
    with open_bundle(path) as bundle:
        return verify_bundle(bundle, keys, allow_unsigned=allow_unsigned)


def test_a_whole_bundle(signed: tuple[Path, Key]) -> None:
    """Who signed it, and how large its image is; from a pipe as well."""
    path, key = signed
    found = check(path, key)
    assert (found.key, found.image_size, found.digest) == (key, 140_001, inspect_bundle(str(path)).digest)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with open_bundle(process.stdout.fileno()) as bundle:
            assert bundle.is_stream
            assert verify_bundle(bundle, [key]) == found


def test_trust_comes_first(signed: tuple[Path, Key], tmp_path: Path) -> None:
    """Without a trusted signature: exit 4, or whole and signed by nobody when that is enough."""
    path, _ = signed
    other = read_key(make_pair(tmp_path)[1])
    with pytest.raises(Refused, match="not trusted here"):
        check(path, other)
    assert check(path, other, allow_unsigned=True).key is None


def test_no_flipped_bit_passes(signed: tuple[Path, Key], tmp_path: Path) -> None:
    """
    Every part of the file in turn, some thousand bits: exit 5, or 4 where it is the id of the key.

    But for what of a tar header means nothing: its checksum is checked, and has two spellings of a blank.
    """
    path, key = signed
    data = path.read_bytes()
    info = inspect_bundle(str(path))
    table = info.offsets["rootfs.img.zst"]
    where = sorted({*range(0, table + 600, 13), *range(table, len(data), 211), *range(len(data) - 1030, len(data), 7)})
    copy = tmp_path / "y.hup"
    passed = []
    for position in where:
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        copy.write_bytes(changed)
        try:
            check(copy, key)
        except (DataError, Refused):
            continue
        except HupfastError as error:  # pragma: no cover
            raise AssertionError(position) from error
        passed.append(position)
    assert [position for position in passed if not 148 <= position % 512 < 156] == []
    assert len(passed) < 5


def test_another_whole_image_in_the_same_place(signed: tuple[Path, Key], tmp_path: Path) -> None:
    """Its chunks and its table are right, and it has the same size: it is not the one that was signed."""
    path, key = signed
    image = bytearray((path.parent / "image").read_bytes())
    image[1000] ^= 1
    (tmp_path / "other").write_bytes(image)
    pack(tmp_path / "other", tmp_path / "other.zst", level=1, chunk_size=1 << 16)
    other = (tmp_path / "other.zst").read_bytes()
    offset = inspect_bundle(str(path)).offsets["rootfs.img.zst"]
    data = path.read_bytes()
    size = inspect_bundle(str(path)).manifest.image.size
    assert len(other) == size
    (tmp_path / "y.hup").write_bytes(data[:offset] + other + data[offset + size :])
    with pytest.raises(DigestError):
        check(tmp_path / "y.hup", key)


def test_what_is_behind_the_image(signed: tuple[Path, Key], tmp_path: Path) -> None:
    """More zeros are what tar makes; a byte that is none is refused, from a file and a stream; so is a cut."""
    path, key = signed
    copy = tmp_path / "y.hup"
    copy.write_bytes(path.read_bytes() + bytes(10240))
    check(copy, key)
    copy.write_bytes(path.read_bytes() + bytes(10240) + b"x")
    with pytest.raises(DataError, match="behind its image"):
        check(copy, key)
    with copy.open("rb") as file, open_bundle(file) as bundle, pytest.raises(DataError, match="behind its image"):
        verify_bundle(bundle, [key])
    copy.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match="cut short"):
        check(copy, key)


@pytest.mark.parametrize("more", [b"x", bytes(1), bytes(4096), b"\x50\x2a\x4d\x18" + bytes(4), b"x" * (1 << 20)])
def test_bytes_behind_the_last_chunk(signed: tuple[Path, Key], tmp_path: Path, more: bytes) -> None:
    """An image that its signed manifest says to be longer than its table: the bytes there are nobody's."""
    path, _ = signed
    info = inspect_bundle(str(path))
    image, data = info.manifest.image, path.read_bytes()
    start = info.offsets[image.name]
    longer = data[start : start + image.size] + more
    manifest = serialize_manifest(replace(info.manifest, image=replace(image, size=len(longer))))
    first = info.offsets[info.manifest.members[0].name] - BLOCK
    made = b"".join(
        make_header(name, len(part)) + part + bytes(padded(len(part)) - len(part))
        for name, part in (("manifest.json", manifest), (image.name, longer))
    )
    cut = BLOCK + padded(len(manifest))
    (tmp_path / "y.hup").write_bytes(made[:cut] + data[first : start - BLOCK] + made[cut:] + END)
    with pytest.raises(DataError, match="behind the last chunk"):
        check(tmp_path / "y.hup", allow_unsigned=True)


def test_progress_is_told(signed: tuple[Path, Key]) -> None:
    """At least once, at the end."""
    path, key = signed
    seen = []
    with open_bundle(path) as bundle:
        verify_bundle(bundle, [key], progress=seen.append)
    assert seen[-1].done == seen[-1].total == 140_001
