"""manifest.sig: what is written comes back, and nothing else is taken for signatures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import DataError
from hupfast.signatures import (
    COUNT_LIMIT,
    Signature,
    make_signature,
    parse_signatures,
    serialize_signatures,
    with_signature,
)

ID, OTHER = "ab" * 32, "cd" * 32
LINE = f"ed25519 {ID} {'01' * 64}\n"

ids = st.binary(min_size=32, max_size=32).map(bytes.hex)
signatures = st.lists(
    st.builds(make_signature, ids, st.binary(min_size=64, max_size=64))
    | st.builds(
        Signature, st.sampled_from(["ml-dsa-65", "x"]), ids, st.from_regex(r"[0-9A-Za-z+/=_-]+", fullmatch=True)
    ),
    min_size=1,
    max_size=COUNT_LIMIT,
    unique_by=lambda signature: signature.key_id,
).map(tuple)


@given(signatures)
def test_what_is_written_comes_back(found: tuple[Signature, ...]) -> None:
    """parse undoes serialize, and every text that is parsed has one spelling."""
    data = serialize_signatures(found)
    assert parse_signatures(data) == found
    assert serialize_signatures(parse_signatures(data)) == data


@given(st.binary(max_size=300))
def test_garbage_is_data_error(data: bytes) -> None:
    """Nothing but DataError comes out."""
    with pytest.raises(DataError):
        parse_signatures(data)


@given(st.data())
def test_no_changed_byte_has_the_same_meaning(data: st.DataObject) -> None:
    """A byte that differs is another signature, another key, or refused."""
    changed = bytearray(LINE.encode())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert parse_signatures(bytes(changed)) != parse_signatures(LINE.encode())
    except DataError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        LINE[:-1],
        LINE + "\n",
        "\n" + LINE,
        LINE.replace("\n", "\r\n"),
        LINE.replace(" ", "  "),
        LINE.replace(" ", "\t"),
        " " + LINE,
        LINE[:-1] + " \n",
        LINE + "x",
        LINE + LINE,
        LINE + f"other {ID} 00\n",
        LINE.replace("ab", "AB"),
        LINE.replace("ed25519", "Ed25519"),
        LINE.replace("ed25519", "x" * 33),
        f"ed25519 {ID}\n",
        f"ed25519 {ID[2:]} {'01' * 64}\n",
        f"ed25519 {ID} {'01' * 63}\n",
        f"ed25519 {ID} {'01' * 65}\n",
        f"ed25519 {ID} {'0g' * 64}\n",
        f"ed25519 {ID} {'01' * 64} more\n",
        f"later {ID} {'x' * (1 << 16)}\n",
        LINE + "\0" * 10,
        "".join(f"later {number:064x} 00\n" for number in range(COUNT_LIMIT + 1)),
    ],
)
def test_what_is_not_exactly_right(text: str) -> None:
    """Each is refused."""
    parse_signatures(LINE.encode())
    with pytest.raises(DataError):
        parse_signatures(text.encode())


def test_an_unknown_algorithm_stays() -> None:
    """It is kept as it is written, whatever its value means."""
    line = f"slh-dsa-sha2-128s {OTHER} AbC+/=\n"
    assert parse_signatures((line + LINE).encode())[0] == Signature("slh-dsa-sha2-128s", OTHER, "AbC+/=")


def test_a_signature_is_added_or_replaced() -> None:
    """By the key id; the limit counts what is left."""
    old, new = make_signature(ID, bytes(64)), make_signature(ID, bytes([1]) * 64)
    other = make_signature(OTHER, bytes(64))
    assert with_signature([old, other], new) == (other, new)
    assert with_signature([old], other) == (old, other)
    full = [make_signature(f"{number:064x}", bytes(64)) for number in range(COUNT_LIMIT)]
    assert len(with_signature(full, full[0])) == COUNT_LIMIT
    with pytest.raises(DataError, match="16 signatures already"):
        with_signature(full, other)
    with pytest.raises(DataError, match="65536 are allowed"):
        serialize_signatures([Signature("later", ID, "x" * 40_000), Signature("later", OTHER, "x" * 40_000)])
    with pytest.raises(DataError, match="63"):
        make_signature(ID, bytes(63))
