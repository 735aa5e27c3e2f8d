"""Boot files in waiting: only those of a stream, and checked on both ways."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hupfast.bundle import open_bundle
from hupfast.errors import DigestError
from hupfast.manifest import BootMember, ImageMember, Manifest, serialize_manifest
from hupfast.spool import empty_spool, fetch_boot_files
from hupfast.system import digest
from hupfast.tar import END, make_header, padded

FILES = {"boot/kernel": os.urandom(400_000), "boot/a/b": b"tree"}
MEMBERS = tuple(BootMember(name, len(data), digest([data])) for name, data in FILES.items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A bundle with these boot files."""
    manifest = Manifest("os", "1", ("x",), MEMBERS, ImageMember("rootfs.img.zst", 5, 9, 1 << 16, bytes(32)))
    members = {"manifest.json": serialize_manifest(manifest), **FILES, "rootfs.img.zst": b"image"}
    with (tmp_path / "x.hup").open("wb") as file:
        for name, data in members.items():
            file.write(make_header(name, len(data)) + data + bytes(padded(len(data)) - len(data)))
        file.write(END)
    return tmp_path / "x.hup"


@pytest.fixture
def stream(path: Path) -> Iterator[int]:
    """The same bundle from a pipe."""
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.fileno()
        process.stdout.close()


def test_a_file_needs_no_waiting_place(path: Path, tmp_path: Path) -> None:
    """Its members are read again when they are needed."""
    with open_bundle(path) as bundle:
        bundle.accept()
        read = fetch_boot_files(bundle, MEMBERS, tmp_path / "spool")
        assert [b"".join(read(member)) for member in MEMBERS] == list(FILES.values())
    assert not (tmp_path / "spool").exists()


def test_a_stream_waits_on_the_state_partition(stream: int, tmp_path: Path) -> None:
    """They are there when the stream is over, and are thrown away together."""
    with open_bundle(stream) as bundle:
        bundle.accept()
        read = fetch_boot_files(bundle, MEMBERS, tmp_path / "spool")
    assert [b"".join(read(member)) for member in MEMBERS] == list(FILES.values())

    empty_spool(tmp_path / "spool")
    empty_spool(tmp_path / "none")
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_that_changes_while_it_waits_is_not_used(stream: int, tmp_path: Path) -> None:
    """The digest is checked again on the way out."""
    with open_bundle(stream) as bundle:
        bundle.accept()
        read = fetch_boot_files(bundle, MEMBERS, tmp_path / "spool")
    waiting = tmp_path / "spool" / MEMBERS[0].sha256.hex()
    waiting.write_bytes(waiting.read_bytes()[:-1] + b"!")
    with pytest.raises(DigestError, match="has changed"):
        read(MEMBERS[0])


@pytest.mark.parametrize("damage", [1000, 399_999])
def test_a_bad_boot_file_is_noticed_at_once(path: Path, tmp_path: Path, damage: int) -> None:
    """From a file and from a stream, and nothing of it waits under its name."""
    data = bytearray(path.read_bytes())
    data[data.index(FILES["boot/kernel"][:64]) + damage] ^= 1
    path.write_bytes(data)
    with open_bundle(path) as bundle:
        bundle.accept()
        with pytest.raises(DigestError):
            fetch_boot_files(bundle, MEMBERS, tmp_path / "spool")
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with open_bundle(process.stdout.fileno()) as bundle:
            bundle.accept()
            with pytest.raises(DigestError):
                fetch_boot_files(bundle, MEMBERS, tmp_path / "spool")
        process.stdout.close()
    assert list((tmp_path / "spool").iterdir()) == []
