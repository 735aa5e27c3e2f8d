"""The document: what is written is read again, and what is no document is a DataError that says where."""

import json
from dataclasses import asdict, replace

import pytest
from bench.made import document
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bench.document import Sustained, load, parse
from hupfast.errors import DataError, UsageError


def text(**changes: object) -> str:
    return json.dumps({**document().as_dict(), **changes})


def test_round_trip():
    """A document comes back from its JSON as it was, with each optional part and without."""
    whole = document()
    for one in (whole, replace(whole, sustained=None, pipeline=None, stages=())):
        assert parse(json.dumps(one.as_dict()), "x") == one


def test_other_keys_are_left_out():
    """Keys that this version does not know are no error: `--json` adds two of its own."""
    assert parse(text(ok=True, exit_code=0), "x") == document()


def test_early_documents():
    """Settings that the first documents did not have are not known, and no error."""
    early = document().as_dict()
    early["settings"] = {"mode": "quick", "size": 4194304, "rounds": 3}
    early["verdict"]["rates"].pop("sustained")
    found = parse(json.dumps(early), "x")
    assert (found.settings.in_flight, found.verdict.rates.sustained) == (None, None)


def test_load(tmp_path):
    """A file is read; one that cannot be is wrong usage."""
    (tmp_path / "a.json").write_text(text())
    assert load(str(tmp_path / "a.json")) == document()
    with pytest.raises(UsageError, match="cannot read"):
        load(str(tmp_path / "b.json"))


@pytest.mark.parametrize("version", [2, 0, "1", None, 1.5, True])
def test_other_versions(version):
    """Only version 1 is taken."""
    with pytest.raises(DataError, match="knows version 1 only"):
        parse(text(version=version), "a.json")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"[]", b"{}", b"null", b'{"format": "other", "version": 1}', b"[" * 100000, b'{"format": NaN}'],
)
def test_no_document(data):
    """What is something else is told so, in one sentence with its name."""
    with pytest.raises(DataError, match=r"^a\.json "):
        parse(data, "a.json")


@pytest.mark.parametrize(
    ("part", "value", "place"),
    [
        ("runs", {}, "runs is {}"),
        ("board", None, "board is None"),
        ("date", 7, "date is 7"),
        ("noise", {**asdict(document().noise), "throttled": 1}, "noise.throttled is 1"),
        ("noise", {**asdict(document().noise), "load": True}, "noise.load is True"),
        ("noise", {**asdict(document().noise), "temperature": [1]}, "noise.temperature has 1 values"),
        ("settings", {**asdict(document().settings), "size": 1.5}, "settings.size is 1.5"),
        ("settings", {**asdict(document().settings), "size": -300}, "settings.size is -300"),
        ("settings", {**asdict(document().settings), "rounds": -1}, "settings.rounds is -1"),
        ("settings", {"mode": "full"}, "no 'size'"),
    ],
)
def test_wrong_values(part, value, place):
    """A value of another type, or one that is missing, is named with its place."""
    with pytest.raises(DataError) as caught:
        parse(text(**{part: value}), "x")
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "points",
    [[], [[0, 0]], [[0, 0], [2, 10], [1, 20]], [[0, 0], [1, 20], [2, 10]], [[1, 5], [0, 0]], [[0, 5], [1, 20]]],
)
def test_curves_that_are_none(points):
    """A long write is two points at least, from nothing on, and neither its time nor its bytes ever go back."""
    long = {**asdict(Sustained(4096, 1, (), 1.0, 1.0, None)), "points": points}
    with pytest.raises(DataError, match=r"^x\.sustained\.points "):
        parse(text(sustained=long), "x")


def test_a_curve_may_rest():
    """Bytes that take no time, and time without bytes, are no error: a stall, a flush."""
    points = ((0.0, 0), (1.0, 10), (2.0, 10), (2.0, 20))
    long = asdict(Sustained(4096, 1, points, 1.0, 1.0, None))
    found = parse(text(sustained=long), "x").sustained
    assert found is not None
    assert found.points == points


def test_cold_boards():
    """A temperature may be below 0."""
    noise = {**asdict(document().noise), "temperature": [-20.5, -3]}
    assert parse(text(noise=noise), "x").noise.temperature == (-20.5, -3.0)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(document().as_dict())), _json)
def test_any_value_anywhere(part, value):
    """Whatever stands in a part is read, or is a DataError."""
    try:
        parse(text(**{part: value}), "x")
    except DataError:
        return


@given(st.binary(max_size=200))
def test_any_bytes(data):
    """Any bytes are a DataError, and nothing else."""
    with pytest.raises(DataError):
        parse(data, "x")
