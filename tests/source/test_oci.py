"""A bundle in a registry, read in place."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registries import Front, Registry, docker_registry, front, make_bundle

from hupfast.bundle import Bundle
from hupfast.errors import DataError, DigestError, SourceError, UsageError
from hupfast.oci.push import push
from hupfast.source import open_source
from hupfast.source.oci import OciSource
from hupfast.source.transport import Transport
from sources import read_all

FAST = Transport(sleep=lambda seconds: None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 360 kB."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), "1.0")


@pytest.fixture(scope="module")
def whole(bundle: Path) -> bytes:
    """Its bytes."""
    return bundle.read_bytes()


@pytest.fixture(scope="module")
def registry(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that has it as os:1."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        push(str(bundle), f"oci://{running.host}/os:1")
        yield running


def test_the_bytes_are_those_of_the_file(registry: Registry, whole: bytes) -> None:
    """From the first to the last, and again; the size is known before."""
    with open_source(f"oci://{registry.host}/os:1") as source:
        assert source.size == len(whole)
        assert source.seekable
        assert read_all(source, 50_000) == whole
        source.rewind()
        assert source.peek(262) == whole[:262]
        assert read_all(source, 777) == whole


@pytest.fixture(scope="module")
def opened(registry: Registry) -> Iterator[OciSource]:
    """One source for many examples."""
    with OciSource(f"oci://{registry.host}/os:1") as source:
        yield source


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_any_way_through_it(opened: OciSource, whole: bytes, data: st.DataObject) -> None:
    """Seeks with and without an end, peeks and reads give the bytes of the file."""
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.none() | st.integers(start, len(whole)))
        opened.seek(start, end)
        if data.draw(st.booleans()):
            count = data.draw(st.integers(0, 3000))
            peeked = opened.peek(count)
            assert whole[start:end].startswith(peeked)
        room = memoryview(bytearray(data.draw(st.integers(1, 70_000))))
        got = opened.readinto(room)
        assert bytes(room[:got]) == whole[start:end][:got]
        assert got or not whole[start:end]
        assert opened.taken == start + got


def test_what_was_peeked_at_is_kept_by_a_seek(opened: OciSource, whole: bytes) -> None:
    """A seek into it goes on there, and reads on behind it."""
    opened.seek(0)
    assert opened.peek(3000) == whole[:3000]
    opened.seek(1000, 9000)
    assert read_all(opened, 50_000) == whole[1000:9000]


def test_only_what_is_wanted_is_asked_for(registry: Registry, whole: bytes) -> None:
    """Bytes in the middle of the image cost one request for these bytes, the first one included."""
    with front(registry) as before, OciSource(f"oci://{before.host}/os:1") as source:
        image = source.tar.data(len(source.tar.layers) - 1)
        source.seek(image + 100_000, image + 101_000)
        assert read_all(source, 50_000) == whole[image + 100_000 : image + 101_000]
        assert [wanted for _, path, wanted, _ in before.asked if "/blobs/" in path] == ["bytes=100000-100999"]
        assert before.sent == source.fetched


def test_headers_and_padding_cost_nothing(registry: Registry, whole: bytes) -> None:
    """They are made here."""
    with front(registry) as before, OciSource(f"oci://{before.host}/os:1") as source:
        source.seek(0, 512)
        assert read_all(source, 50_000) == whole[:512]
        source.seek(len(whole) - 1024)
        assert read_all(source, 50_000) == bytes(1024)
        assert not [path for _, path, _, _ in before.asked if "/blobs/" in path]


@pytest.mark.parametrize("drop_after", [1000, 7001, 65_536, 200_000])
def test_broken_connections_go_on_by_ranges(registry: Registry, whole: bytes, drop_after: int) -> None:
    """However often the connection breaks, nothing is sent twice."""
    with front(registry, drop_after=drop_after) as before:
        with OciSource(f"oci://{before.host}/os:1", transport=FAST) as source:
            assert read_all(source, 50_000) == whole
        assert before.sent < len(whole) + 10_000


def test_a_registry_without_ranges(registry: Registry, whole: bytes) -> None:
    """It is read from the start of the blob each time, and the bytes are right all the same."""
    with front(registry, ranges=False) as before, OciSource(f"oci://{before.host}/os:1") as source:
        for start in (300_000, 100_000, 200_000, len(whole) - 2000):
            source.seek(start, start + 5000)
            assert read_all(source, 50_000) == whole[start : start + 5000]
        source.rewind()
        assert read_all(source, 50_000) == whole


def test_object_storage_gets_no_password(registry: Registry, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs that the registry redirects to another server come from there, which sees no Authorization."""
    monkeypatch.setenv("HUPFAST_AUTH", "basic a:b")
    with (
        front(registry) as storage,
        front(registry, redirect=f"http://{storage.host}", password="Basic YTpi") as before,
        OciSource(f"oci://{before.host}/os:1") as source,
    ):
        assert read_all(source, 50_000) == whole
        assert storage.asked
        assert all(secret is None for _, _, _, secret in storage.asked)
        assert all(secret == "Basic YTpi" for _, _, _, secret in before.asked)


def test_a_tag_that_moves_does_not_move_what_is_open(
    bundle: Path, whole: bytes, tmp_path: Path, registry: Registry
) -> None:
    """The manifest was read once; the blobs have their digests for names."""
    address = f"oci://{registry.host}/moving:1"
    push(str(bundle), address)
    with OciSource(address) as source:
        assert source.peek(10) == whole[:10]
        push(str(make_bundle(tmp_path, "2.0")), address)
        assert read_all(source, 50_000) == whole
    with OciSource(f"oci://{registry.host}/moving@{source.digest}") as pinned:
        assert read_all(pinned, 50_000) == whole


def test_a_bundle_is_read_from_it(registry: Registry, bundle: Path) -> None:
    """Bundle works on it as on any stream."""
    with Bundle(open_source(f"oci://{registry.host}/os:1")) as found:
        manifest = found.accept()
        assert [member.name for member in manifest.boot] == [
            "boot/dtb/a.dtb",
            "boot/dtb/b.dtb",
            "boot/empty",
            "boot/kernel",
        ]
        assert b"".join(found.boot_file(manifest.boot[3])) == b"kernel" * 9000


def test_what_is_not_there(registry: Registry) -> None:
    """An unknown tag, an unknown digest and an unknown name are told, and nothing is tried again."""
    for rest in ("os:2", f"os@sha256:{'0' * 64}", "so:1"):
        with pytest.raises(SourceError, match=re.escape(f"{rest} is not in the registry")):
            open_source(f"oci://{registry.host}/{rest}")


def test_another_manifest_than_the_one_asked_for(registry: Registry) -> None:
    """A registry that answers a digest with something else is not believed."""
    digest = f"sha256:{'1' * 64}"
    with front(registry) as before:
        before.manifest = lambda path: Front.manifest(before, path.replace(digest, "1"))  # type: ignore[method-assign]
        with pytest.raises(DigestError, match="another manifest"):
            open_source(f"oci://{before.host}/os@{digest}")


def test_a_manifest_without_an_end(registry: Registry) -> None:
    """4 MiB is the limit."""
    with front(registry) as before:
        before.manifest = lambda path: (200, bytes(5 << 20))  # type: ignore[method-assign]
        with pytest.raises(SourceError, match="more than 1048576 bytes"):
            open_source(f"oci://{before.host}/os:1")


def test_what_is_no_bundle(registry: Registry) -> None:
    """The message has the address in it."""
    with front(registry) as before:
        before.manifest = lambda path: (200, b'{"schemaVersion": 2, "layers": []}')  # type: ignore[method-assign]
        with pytest.raises(DataError, match=re.escape(f"oci://{before.host}/os:1: it is no hupfast bundle")):
            open_source(f"oci://{before.host}/os:1")


@pytest.mark.parametrize("address", ["oci://localhost/os", "OCI+HTTP://x/os", "oci://a:b@localhost/os:1"])
def test_wrong_addresses(address: str) -> None:
    """They are for this kind of source, and wrong."""
    with pytest.raises(UsageError, match=r"tag|--auth-file"):
        open_source(address)
