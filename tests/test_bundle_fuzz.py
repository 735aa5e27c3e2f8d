"""The fuzz target for bundles (fuzz/bundle_input.py), over its corpus and over changes that hypothesis thinks of."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from fuzz import bundle_input
from fuzz.bundle_input import CHANGES, CORPUS, GOOD, MANIFEST, SIGNATURES, WHOLE, content, one_input
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.bundle import Bundle
from hupfast.manifest import parse_manifest

DOCUMENT = json.loads(content("manifest.json"))

words = st.sampled_from(
    ["..", "/etc", "boot/x", "BOOT/KERNEL", "raw/MLO", "manifest.json", "boot/DTB", "\0", "x" * 300]
)
numbers = st.sampled_from([-1, 0, 1, 700, 2**31, 2**32, 2**62, 2**63, 2**64, 1e400]) | st.integers() | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def with_value(path: tuple[str | int, ...], value: Any, *, add: bool) -> Any:
    """DOCUMENT with another value in one place, or one more beside it."""
    if not path:
        return value
    document = copy.deepcopy(DOCUMENT)
    *parents, last = path
    inner = document
    for key in parents:
        inner = inner[key]
    if isinstance(inner, list) and add:
        inner.insert(last, value)
    else:
        inner[f"{last}x" if add else last] = value
    return document


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_the_corpus(path: Path) -> None:
    """Every file of it, whole, and cut short in some places."""
    data = path.read_bytes()
    for length in {*range(0, len(data), 97), len(data)}:
        one_input(data[:length])


def test_the_good_bundle_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target gets behind the front: its oracle is asked about every member, and about who has signed."""
    read: list[str] = []
    real = Bundle.boot_file
    monkeypatch.setattr(Bundle, "boot_file", lambda self, member: (read.append(member.name), real(self, member))[1])
    one_input(bytes([WHOLE]) + GOOD)
    assert read == 2 * ["boot/dtb/x.dtb", "boot/kernel", "raw/MLO"]


def test_the_oracle_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that trusts a changed manifest, and one that lets a name out of its place, are caught."""
    forged = content("manifest.json").replace(b'"2.0"', b'"3.0"')
    one_input(bytes([MANIFEST]) + forged + b"\n")
    with monkeypatch.context() as patch:
        patch.setattr(bundle_input.KEY.__class__, "verify", lambda self, data, signature: None)
        with pytest.raises(AssertionError):
            one_input(bytes([MANIFEST]) + forged)
    monkeypatch.setattr("hupfast.manifest.check_member_name", lambda name: name)
    with pytest.raises(AssertionError):
        one_input(bytes([MANIFEST]) + content("manifest.json").replace(b"boot/kernel", b"boot/../etc"))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes(changes: list[tuple[int, int]]) -> None:
    """Anywhere, with headers whose checksums are right."""
    one_input(bytes([CHANGES]) + b"".join(place.to_bytes(2, "big") + bytes([value]) for place, value in changes))


@settings(max_examples=300)
@given(st.sampled_from(places(DOCUMENT)), values, st.booleans())
def test_changed_values(path: tuple[str | int, ...], value: Any, add: bool) -> None:
    """Of the manifest: another value, or one more."""
    one_input(bytes([MANIFEST]) + json.dumps(with_value(path, value, add=add)).encode())


@settings(max_examples=100)
@given(st.binary(max_size=600), st.sampled_from([WHOLE, CHANGES, MANIFEST, SIGNATURES]))
def test_noise(data: bytes, kind: int) -> None:
    """As each kind of input."""
    one_input(bytes([kind]) + data)


def test_the_document_is_the_manifest() -> None:
    """The values that are changed are those that are read."""
    assert parse_manifest(json.dumps(DOCUMENT).encode()) == parse_manifest(content("manifest.json"))
