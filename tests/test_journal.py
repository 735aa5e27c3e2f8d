"""The journal survives everything, and what it says is what was saved."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import HupfastError
from hupfast.journal import RESULTS, STAGES, Ending, Journal, SlotRecord, State, Transaction, parse, serialize

texts = st.text(max_size=20)
records = st.builds(SlotRecord, name=texts, version=texts, manifest=texts, confirmed=st.booleans())
transactions = st.builds(
    Transaction,
    name=texts,
    version=texts,
    manifest=texts,
    target=texts,
    previous=texts,
    stage=st.sampled_from(STAGES),
    boot_id=texts,
    health=texts,
)
endings = st.builds(
    Ending,
    result=st.sampled_from(RESULTS),
    reason=texts,
    name=texts,
    version=texts,
    slot=texts,
    at=st.integers(0, 2**40),
)
states = st.builds(
    State,
    slots=st.dictionaries(texts, records, max_size=2),
    transaction=st.none() | transactions,
    last=st.none() | endings,
    newest=st.dictionaries(texts, texts, max_size=2),
)

EXAMPLE = State(
    slots={"a": SlotRecord("os", "1", "00", confirmed=True)},
    transaction=Transaction("os", "2", "11", "b", "a", "image", "boot"),
    last=Ending("failed", "no power", "os", "2", "b", 1),
)


@given(states)
def test_what_is_saved_comes_back(state: State) -> None:
    """parse undoes serialize, for every state."""
    assert parse(serialize(state)) == state


@given(st.binary(max_size=300))
def test_garbage_is_told_from_a_journal(data: bytes) -> None:
    """Random bytes are ValueError, and nothing else comes out."""
    with pytest.raises(ValueError, match=r"."):
        parse(data)


@pytest.mark.parametrize("length", range(0, len(serialize(EXAMPLE)) - 2, 7))
def test_a_journal_that_is_cut_short_is_none(length: int) -> None:
    """No beginning of a journal is taken for one."""
    with pytest.raises(ValueError, match=r"."):
        parse(serialize(EXAMPLE)[:length])


def test_no_changed_bit_passes() -> None:
    """Every flipped bit is either noticed or in white space, where it means nothing."""
    data = serialize(EXAMPLE)
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                state = parse(bytes(changed))
            except ValueError:
                continue
            assert state == EXAMPLE


@pytest.mark.parametrize(
    "content",
    [
        {"slots": {"a": {"name": 1, "version": "", "manifest": "", "confirmed": True}}},
        {"slots": {"a": {"name": "", "version": "", "manifest": "", "confirmed": 1}}},
        {"slots": {"a": {"name": ""}}},
        {"slots": []},
        {"transaction": {**vars(EXAMPLE.transaction), "stage": "nowhere"}},
        {"last": {**vars(EXAMPLE.last), "result": "won"}},
        {"newest": ["os"]},
        {"newest": None},
        {"newest": {"os": 2}},
    ],
)
def test_a_right_checksum_over_wrong_content_is_no_journal(content: dict[str, object]) -> None:
    """What another program wrote with the same form is not believed."""
    import zlib

    state = {"slots": {}, "transaction": None, "last": None, **content}
    crc = zlib.crc32(json.dumps(state, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(ValueError, match=r"."):
        parse(json.dumps({"format": 1, "crc32": f"{crc:08x}", "state": state}).encode())


def test_a_newer_format_is_named() -> None:
    """The reason says which format was found."""
    with pytest.raises(ValueError, match="format is 2"):
        parse(b'{"format": 2}')


def test_stages_are_reached_in_order() -> None:
    """A transaction has reached its own stage and all before it."""
    for number, stage in enumerate(STAGES):
        transaction = Transaction("os", "2", "11", "b", "a", stage, "")
        assert [transaction.reached(other) for other in STAGES] == [index <= number for index in range(len(STAGES))]


def test_a_journal_on_disk(tmp_path: Path) -> None:
    """Empty at first; what is saved is there for the next run; stages advance."""
    journal = Journal(tmp_path / "state")
    assert journal.state == State()

    journal.save(EXAMPLE)
    journal.advance("slot")
    assert EXAMPLE.transaction is not None
    expected = replace(EXAMPLE, transaction=replace(EXAMPLE.transaction, stage="slot"))
    assert Journal(tmp_path / "state").state == expected


def test_nothing_advances_without_a_transaction(tmp_path: Path) -> None:
    """A stage of no update is an error, not a new record."""
    with pytest.raises(HupfastError, match="no update under way"):
        Journal(tmp_path).advance("image")


def test_a_damaged_journal_is_kept_beside(tmp_path: Path) -> None:
    """It counts as none, says so, and stays as journal.bad once a new one is saved."""
    (tmp_path / "journal.json").write_bytes(b"\0\xffgarbage")
    journal = Journal(tmp_path)
    assert journal.state == State()
    assert "cannot be understood" in journal.damage

    journal.save(EXAMPLE)
    assert (tmp_path / "journal.bad").read_bytes() == b"\0\xffgarbage"
    assert Journal(tmp_path).state == EXAMPLE
    assert Journal(tmp_path).damage == ""


def test_records_of_slots_are_put_in_and_taken_out() -> None:
    """with_slot changes one slot and leaves the state it was called on alone."""
    record = SlotRecord("os", "2", "11", confirmed=False)

    assert EXAMPLE.with_slot("b", record).slots == {**EXAMPLE.slots, "b": record}
    assert EXAMPLE.with_slot("a", None).slots == {}
    assert set(EXAMPLE.slots) == {"a"}


def test_a_journal_of_before_has_no_newest() -> None:
    """It is read, and what its slots have is known from the first change on."""
    import zlib

    content = json.loads(serialize(EXAMPLE))["state"]
    del content["newest"]
    crc = zlib.crc32(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    state = parse(json.dumps({"format": 1, "crc32": f"{crc:08x}", "state": content}).encode())
    assert state == EXAMPLE
    assert state.with_slot("a", None).newest == {"os": "1"}


def test_the_newest_confirmed_version_stays() -> None:
    """Of each system by its name; not one that was never confirmed, not one without a name, not an older one."""
    state = State()
    for name, version, confirmed in (
        ("os", "1.9", True),
        ("os", "1.10", True),
        ("os", "1.2", True),
        ("os", "3.0", False),
        ("", "9.0", True),
        ("other", "0.1", True),
        ("other", "", True),
    ):
        state = state.with_slot("b", SlotRecord(name, version, "00", confirmed))
    assert state.with_slot("b", None).newest == {"os": "1.10", "other": "0.1"}
