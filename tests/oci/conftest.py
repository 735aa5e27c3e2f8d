"""A bundle with all that a bundle may have, and a registry for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import Registry, docker_registry, make_bundle


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
