"""A bundle with all that a bundle may have, and a registry for the tests of a module."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import Registry, docker_registry

from hupfast.bundling import create_bundle
from hupfast.image import pack


def make_bundle(folder: Path, version: str) -> Path:
    """Boot files (one empty, two alike), a bootloader, and an image of 300 kB that differs from version to version."""
    boot = folder / f"boot-{version}"
    for name, data in {"kernel": b"kernel" * 9000, "dtb/a.dtb": b"same", "dtb/b.dtb": b"same", "empty": b""}.items():
        (boot / name).parent.mkdir(parents=True, exist_ok=True)
        (boot / name).write_bytes(data)
    loader, image = folder / f"MLO-{version}", folder / f"image-{version}"
    loader.write_bytes(b"loader" * 100)
    image.write_bytes(random.Random(version).randbytes(300_000))
    out = folder / f"{version}.hup"
    create_bundle(
        out,
        name="os",
        version=version,
        boards=["virtual", "other"],
        image=image,
        boot=boot,
        raw={"MLO": loader},
        pack=lambda source, target: _pack(source, target),
    )
    return out


def _pack(source: Path, target: Path) -> None:
    pack(source, target, level=1, chunk_size=1 << 16)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of version 1.0."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), "1.0")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of version 2.0, with the same boot files."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), "2.0")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks nobody for a password."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running
