"""The OCI manifest of a bundle, and the tar that it stands for."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import DataError
from hupfast.oci.artifact import EMPTY, MANIFEST_LIMIT, Layer, VirtualTar, parse_artifact, serialize_artifact

DIGEST = "sha256:" + "ab" * 32
NAMES = ["manifest.json", "manifest.sig", "boot/dtb/a.dtb", "boot/kernel", "raw/MLO", "rootfs.img.zst"]
LAYERS = [Layer(name, 700 + index, DIGEST) for index, name in enumerate(NAMES)]


def document(layers: list[Layer] = LAYERS) -> Any:
    """A manifest that is right."""
    return json.loads(serialize_artifact(layers, name="os", version="2.0", boards=["a", "b"]))


def parsed(value: Any) -> tuple[Layer, ...]:
    """What is made of a changed one."""
    return parse_artifact(json.dumps(value).encode())


def test_there_and_back() -> None:
    """The layers come back, with what people look for in registries beside them."""
    assert parsed(document()) == tuple(LAYERS)
    assert document()["annotations"]["org.opencontainers.image.version"] == "2.0"
    assert document()["annotations"]["vnd.hupfast.boards"] == "a,b"


def test_the_config_is_the_empty_one_of_oci() -> None:
    """Its digest and size are those of its bytes."""
    config = document()["config"]
    assert config["digest"] == "sha256:" + hashlib.sha256(EMPTY).hexdigest()
    assert config["size"] == len(EMPTY)


def test_unknown_keys_are_left_alone() -> None:
    """OCI asks for that: annotations, a subject and what will come."""
    value = document()
    value["subject"] = {"digest": DIGEST}
    value["layers"][0]["urls"] = ["https://example.org"]
    value["layers"][0]["annotations"]["x"] = "y"
    assert parsed(value) == tuple(LAYERS)


def _set(*path: str | int, to: object) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


_TITLE = ("annotations", "org.opencontainers.image.title")


@pytest.mark.parametrize(
    "change",
    [
        _set("schemaVersion", to=1),
        _set("mediaType", to="application/vnd.oci.image.index.v1+json"),
        _set("artifactType", to=None),
        _set("artifactType", to="application/vnd.other"),
        _set("layers", to=[]),
        _set("layers", to={}),
        _set("layers", 0, to=7),
        _set("layers", 0, "size", to=-1),
        _set("layers", 0, "size", to=True),
        _set("layers", 0, "size", to=1.5),
        _set("layers", 0, "size", to=1 << 62),
        _set("layers", 5, "size", to=(1 << 62) - 1),
        _set("layers", 0, "digest", to="sha256:../../x"),
        _set("layers", 0, "digest", to="sha256:" + "AB" * 32),
        _set("layers", 0, "digest", to="sha512:" + "ab" * 64),
        _set("layers", 0, "mediaType", to="application/vnd.oci.image.layer.v1.tar"),
        _set("layers", 0, "annotations", to=None),
        _set("layers", 0, *_TITLE, to="manifest.txt"),
        _set("layers", 2, *_TITLE, to="boot/../x"),
        _set("layers", 2, *_TITLE, to="/boot/x"),
        _set("layers", 2, *_TITLE, to="etc/passwd"),
        _set("layers", 2, *_TITLE, to="boot/KERNEL"),
        _set("layers", 2, *_TITLE, to="boot/\ud800"),
        _set("layers", 2, *_TITLE, to="boot/" + "a" * 200),
        _set("layers", 5, *_TITLE, to="manifest.zst"),
    ],
)
def test_what_is_no_bundle(change: Callable[[Any], None]) -> None:
    """Wrong kinds, sizes, digests, types and names are refused in words."""
    value = document()
    change(value)
    with pytest.raises(DataError):
        parsed(value)


@pytest.mark.parametrize(
    "order",
    [
        [1, 0, 2, 3, 4, 5],
        [0, 2, 1, 5],
        [0, 4, 3, 5],
        [0, 1, 2, 3, 4],
        [0, 0, 5],
        [0, 5, 5],
        [0, 2, 2, 5],
        [1, 5],
        [0, 1],
    ],
)
def test_another_order(order: list[int]) -> None:
    """manifest.json, its signature, boot files, bootloaders, one image: nothing twice, and nothing else."""
    value = document()
    value["layers"] = [value["layers"][index] for index in order]
    with pytest.raises(DataError):
        parsed(value)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 100_000, bytes(MANIFEST_LIMIT + 1)]
)
def test_what_is_no_json(data: bytes) -> None:
    """Not even then does anything but DataError come out."""
    with pytest.raises(DataError):
        parse_artifact(data)


def test_too_many_layers() -> None:
    """The number of members is limited."""
    value = document()
    value["layers"][2:2] = [document()["layers"][2]] * 4200
    with pytest.raises(DataError, match="4200"):
        parsed(value)


def test_a_bundle_that_no_registry_takes() -> None:
    """What would be larger than a registry's limit is refused before the push."""
    many = [Layer(f"boot/{number:04}/{'x' * 90}/{'y' * 90}", 1, DIGEST) for number in range(20_000)]
    with pytest.raises(DataError, match="too many"):
        serialize_artifact([LAYERS[0], *many, LAYERS[-1]], name="os", version="1", boards=["a"])


def _bytes(tar: VirtualTar, contents: list[bytes], start: int, end: int) -> bytes:
    data = b""
    while start + len(data) < end:
        found = tar.at(start + len(data))
        if isinstance(found, tuple):
            found = contents[found[0]][found[1] :]
        assert found, "the tar ended early"
        data += found
    return data[: end - start]


@given(st.lists(st.integers(0, 2000), min_size=6, max_size=6), st.data())
def test_the_virtual_tar_is_a_tar(sizes: list[int], data: st.DataObject) -> None:
    """The standard library's tarfile finds the members in it, and every range of it is that of the whole."""
    contents = [bytes([65 + index]) * size for index, size in enumerate(sizes)]
    tar = VirtualTar([Layer(name, size, DIGEST) for name, size in zip(NAMES, sizes, strict=True)])
    whole = _bytes(tar, contents, 0, tar.size)
    assert tar.at(tar.size) == b""
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        assert archive.getnames() == NAMES
        for index, name in enumerate(NAMES):
            member = archive.extractfile(name)
            assert member is not None
            assert member.read() == contents[index]
            assert whole[tar.data(index) :].startswith(contents[index])
    start = data.draw(st.integers(0, tar.size))
    end = data.draw(st.integers(start, tar.size))
    assert _bytes(tar, contents, start, end) == whole[start:end]


def test_the_largest_bundle_fits() -> None:
    """4000 members, which is what a registry is told about at most, are no attack."""
    layers = [
        Layer("manifest.json", 10, DIGEST),
        *(Layer(f"boot/{number}", 10, DIGEST) for number in range(3900)),
        Layer("rootfs.img.zst", 10, DIGEST),
    ]
    assert parse_artifact(serialize_artifact(layers, name="os", version="1", boards=["x"])) == tuple(layers)
