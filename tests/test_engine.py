"""The binding: what the head of an image says, digests, keys and signatures."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast import engine, errors


@given(st.binary(max_size=300))
def test_probe_never_fails_otherwise(head):
    """Any bytes are understood, or are a DataError."""
    try:
        info = engine.probe(head)
    except errors.DataError:
        return
    assert info.format in ("raw", "zstd", "chunked")


def test_probe_zstd(image):
    """An ordinary image tells its window, and the size of its first frame."""
    info = engine.probe(image.zst.read_bytes()[: engine.PROBE_SIZE])

    assert (info.format, info.image_size, info.least_size) == ("zstd", None, len(image.bytes))
    assert 0 < info.window < info.memory < engine.MEMORY_DEFAULT


def test_probe_chunked(image):
    """A chunked image tells its size and its chunks."""
    info = engine.probe(image.chunked.read_bytes()[: engine.PROBE_SIZE])

    assert (info.format, info.image_size, info.chunk_size) == ("chunked", len(image.bytes), 256 * 1024)
    assert info.chunk_count == -(-len(image.bytes) // info.chunk_size)


@given(st.binary(max_size=5000))
def test_sha256(data):
    """The engine's SHA-256 is SHA-256."""
    assert engine.sha256(data) == hashlib.sha256(data).digest()


PEM = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=
-----END PUBLIC KEY-----
"""
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def test_keys_and_signatures():
    """The third vector of RFC 8032: the key has its bytes and its id, and one signature; what is wrong is typed."""
    public, name = engine.parse_key(PEM)
    assert public.hex() == "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    assert name == hashlib.sha256(bytes.fromhex("302a300506032b6570032100") + public).digest()
    engine.verify_signature(public, b"\xaf\x82", SIGNATURE)
    with pytest.raises(errors.DigestError):
        engine.verify_signature(public, b"\xaf\x83", SIGNATURE)
    for short in ((public[1:], SIGNATURE), (public, SIGNATURE[1:])):
        with pytest.raises(errors.UsageError):
            engine.verify_signature(short[0], b"\xaf\x82", short[1])
    with pytest.raises(errors.DataError, match="no public key"):
        engine.parse_key(PEM[1:])


@given(st.binary(max_size=300))
def test_no_bytes_are_a_key(data):
    """Whatever they are, they are refused."""
    with pytest.raises(errors.DataError):
        engine.parse_key(data)
