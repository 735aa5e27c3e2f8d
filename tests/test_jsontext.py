"""JSON from those who are not trusted: bounded before it is understood."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import DataError
from hupfast.jsontext import STRUCTURE_LIMIT, parse_json
from hupfast.manifest import parse_manifest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_says(value: object) -> None:
    """Documents of a usual size come out as they are."""
    assert parse_json(json.dumps(value).encode(), "x", 1 << 20) == value


@given(st.binary(max_size=30))
def test_what_is_no_json(data: bytes) -> None:
    """Anything else is bad data, and no other error."""
    try:
        value = parse_json(data, "x", 20)
    except DataError:
        return
    assert len(data) <= 20
    assert value == json.loads(data)


@pytest.mark.parametrize("text", ["[" * 5000, '{"a": 1, "a": 2}', "NaN", "1" * 5000, "\ufeff{}"])
def test_what_is_refused(text: str) -> None:
    """Too deep, ambiguous, no number, a number without an end, and a mark that JSON does not have."""
    with pytest.raises(DataError, match="x is no JSON"):
        parse_json(text.encode(), "x", 1 << 20)


@pytest.mark.parametrize("piece", [",[]", ',{"":0}', ",0"])
def test_too_many_values(piece: str) -> None:
    """Counted before they are made; so it is with the manifest of a bundle."""
    count = (STRUCTURE_LIMIT - 1) // sum(map(piece.count, ",[{:"))
    assert parse_json(("[0" + piece * count + "]").encode(), "x", 1 << 20)
    data = ("[0" + piece * (count + 1) + "]").encode()
    for call in (lambda: parse_json(data, "x", 1 << 20), lambda: parse_manifest(data)):
        with pytest.raises(DataError, match=f"more than {STRUCTURE_LIMIT} values"):
            call()
