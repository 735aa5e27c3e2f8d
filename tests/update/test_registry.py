"""A board that is updated straight from a registry."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from registries import Registry, docker_registry, front

from hupfast.errors import DataError, NothingToDo, SourceError
from hupfast.oci.push import push

Board = Any


@pytest.fixture(scope="module")
def registry(shelf: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with the bundle of version 2.0 as os:2.0."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        push(str(shelf.bundle("2.0")), f"oci://{running.host}/os:2.0")
        yield running


def test_update_from_a_registry(board: Board, registry: Registry) -> None:
    """Slot and boot files are those of the bundle, and the board goes on with them."""
    assert board.update(f"oci://{registry.host}/os:2.0").outcome == "installed"
    board.check_whole("b", "2.0")
    board.boot()
    board.confirm()
    with pytest.raises(NothingToDo):
        board.update(f"oci://{registry.host}/os:2.0")


def test_every_blob_is_fetched_once(board: Board, registry: Registry) -> None:
    """Hardly more bytes are sent than the bundle has."""
    with front(registry) as before:
        board.update(f"oci://{before.host}/os:2.0")
        assert before.sent < board.shelf.bundle("2.0").stat().st_size * 1.02
    board.check_whole("b", "2.0")


def test_what_is_not_there_changes_nothing(board: Board, registry: Registry) -> None:
    """Exit 7, and the slot is as it was."""
    before = board.slot("b").read_bytes()
    with pytest.raises(SourceError, match="is not in the registry"):
        board.update(f"oci://{registry.host}/os:3.0")
    assert board.slot("b").read_bytes() == before


def test_a_manifest_that_lies(new_board: Callable[[str], Board], registry: Registry) -> None:
    """A registry that cuts the bundle in other places than manifest.json does is found out, and nothing new boots."""
    with front(registry) as before:
        honest = json.loads(before.manifest("/v2/os/manifests/2.0")[1])
        for index in range(1, len(honest["layers"])):
            document = copy.deepcopy(honest)
            document["layers"][index]["size"] += 1
            body = json.dumps(document).encode()
            before.manifest = lambda path, body=body: (200, body)  # type: ignore[method-assign, misc]
            board = new_board(f"board-{index}")
            with pytest.raises((DataError, SourceError)):
                board.update(f"oci://{before.host}/os:2.0")
            assert board.boot().slot == "a"
