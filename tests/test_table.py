"""The chunk table: what is written is read, and nothing malformed is."""

import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.errors import DataError, DigestError, HupfastError, SourceError
from hupfast.table import Chunk, Table, chunk_count, parse_table, read_table, serialize_table, table_size

CHUNK = 2**16


def chunks(lengths: list[int]) -> list[Chunk]:
    return [
        Chunk(length, index % 3 == 0, hashlib.sha256(bytes([index])).digest(), bytes([index] * 16), bytes([index] * 32))
        for index, length in enumerate(lengths)
    ]


GOOD = serialize_table(3 * CHUNK - 5, CHUNK, chunks([100, 200, 300]))


def resealed(data: bytes, at: int, new: bytes) -> bytes:
    """A table with other bytes in one place, and the right digest of its own."""
    body = (data[:at] + new + data[at + len(new) :])[:-32]
    return body + hashlib.sha256(body).digest()


@settings(deadline=None)
@given(
    size=st.integers(1, 20 * CHUNK),
    bits=st.integers(16, 26),
    lengths=st.lists(st.integers(1, CHUNK), min_size=20, max_size=20),
)
def test_round_trip(size, bits, lengths):
    """A table comes back as it was, also with other bytes behind it."""
    count = chunk_count(size, 2**bits)
    entries = chunks(lengths[:count])
    data = serialize_table(size, 2**bits, entries)
    table = parse_table(data + b"frames", "x")

    assert table == Table(size, 2**bits, tuple(entries), data[-32:])
    assert table.size == len(data) == table_size(count)
    assert table.data_size == sum(lengths[:count])


def test_layout():
    """The bytes lie where the drawing of the format says."""
    magic, size, name, image_size, chunk_size, count, data_size = struct.unpack_from("<II8sQIIQ", GOOD)
    assert (magic, size, name) == (0x184D2A5C, len(GOOD) - 8, b"HUPCHNK2")
    assert (image_size, chunk_size, count, data_size) == (3 * CHUNK - 5, CHUNK, 3, 600)
    assert GOOD[40:72] == bytes(32)
    assert struct.unpack_from("<II", GOOD, 72 + 88) == (200, 0)
    assert GOOD[72 + 88 + 8 : 72 + 88 + 40] == hashlib.sha256(b"\1").digest()
    assert GOOD[-32:] == hashlib.sha256(GOOD[:-32]).digest()


@settings(deadline=None)
@given(position=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_flipped_bit(position, bit):
    """No flipped bit passes."""
    data = bytearray(GOOD)
    data[position] ^= 1 << bit
    with pytest.raises(DataError):
        parse_table(bytes(data), "x")


@settings(deadline=None)
@given(cut=st.integers(0, len(GOOD) - 1))
def test_cut_short(cut):
    """No part of a table passes for one."""
    with pytest.raises(DataError):
        parse_table(GOOD[:cut], "x")


@pytest.mark.parametrize(
    ("at", "new", "words"),
    [
        (4, b"\1", "malformed"),
        (24, struct.pack("<I", CHUNK + 1), "a chunk size of 65537"),
        (24, struct.pack("<I", 2**15), "a chunk size of 32768"),
        (24, struct.pack("<I", 2**27), "a chunk size of 134217728"),
        (28, struct.pack("<I", 4), "4 chunks"),
        (16, struct.pack("<Q", 2**63), "3 chunks"),
        (32, struct.pack("<Q", 599), "make 600 bytes"),
        (50, b"\1", "needs a newer hupfast"),
        (72, struct.pack("<I", 0), "entry 0"),
        (72 + 176, struct.pack("<I", CHUNK + CHUNK // 128 + 513), "entry 2"),
        (76, struct.pack("<I", 2), "entry 0"),
        (0, b"\0", "no chunked image"),
    ],
)
def test_malformed(at, new, words):
    """A sealed table with a wrong field is refused with the reason."""
    with pytest.raises(DataError, match=words):
        parse_table(resealed(GOOD, at, new), "x")


def test_damaged():
    """A changed entry does not fit the table's own digest."""
    with pytest.raises(DigestError, match="own SHA-256"):
        parse_table(GOOD[:100] + b"\xff" + GOOD[101:], "x")


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_nonsense(data):
    """Nonsense behind the name ends in a DataError."""
    with pytest.raises(HupfastError):
        parse_table(GOOD[:16] + data, "x")


@pytest.mark.parametrize("change", [-1, 1])
def test_file_of_another_size(tmp_path, change):
    """A file that is longer or shorter than its table says is refused; one of the right size is read."""
    path = tmp_path / "image.zst"
    path.write_bytes(GOOD + bytes(600))
    assert read_table(path) == parse_table(GOOD, "x")

    path.write_bytes(GOOD + bytes(600 + change))
    with pytest.raises(DataError, match=f"has {len(GOOD) + 600 + change} bytes"):
        read_table(path)


def test_no_file(tmp_path):
    """A file that cannot be read is a SourceError."""
    with pytest.raises(SourceError, match="No such file"):
        read_table(tmp_path / "none")
