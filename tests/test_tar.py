"""Headers of bundles, against the tar of the standard library and of the system."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import DataError
from hupfast.tar import BLOCK, END, Header, check_padding, make_header, padded, parse_header

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30).filter(
    lambda name: not name.endswith("/") and len(name.encode()) <= 100
)


@given(names, st.integers(0, 2**50))
def test_a_header_is_what_tarfile_understands(name: str, size: int) -> None:
    """tarfile reads name, size and type out of every header that is made."""
    info = tarfile.TarInfo.frombuf(make_header(name, size), "utf-8", "surrogateescape")

    assert (info.name, info.size, info.isreg(), info.mode) == (name, size, True, 0o644)
    assert (info.uid, info.gid, info.mtime) == (0, 0, 0)


@given(names, st.integers(0, 2**50), st.booleans())
def test_what_tarfile_makes_is_understood(name: str, size: int, gnu: bool) -> None:
    """Headers of both forms of tarfile are parsed to the same name and size."""
    info = tarfile.TarInfo(name)
    info.size = size if gnu else min(size, 8**11 - 1)

    header = parse_header(
        info.tobuf(tarfile.GNU_FORMAT if gnu else tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")[-BLOCK:]
    )
    assert header == Header(name.rstrip("/"), info.size)


@given(names, st.integers(0, 2**61))
def test_parsing_undoes_making(name: str, size: int) -> None:
    """For every name and size."""
    assert parse_header(make_header(name, size)) == Header(name, size)


@given(st.binary(min_size=BLOCK, max_size=BLOCK))
def test_random_blocks_are_refused(block: bytes) -> None:
    """A block of noise is DataError, and nothing else comes out."""
    if any(block):
        with pytest.raises(DataError):
            parse_header(block)


@given(st.data())
def test_no_changed_byte_passes(data: st.DataObject) -> None:
    """The checksum notices any byte that is changed, and has one spelling itself."""
    block = bytearray(make_header("boot/kernel", 1234))
    position = data.draw(st.integers(0, BLOCK - 1))
    block[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataError):
        parse_header(bytes(block))


@pytest.mark.parametrize("spelling", [b" %5o\0 ", b"%06o \0", b"%06o  ", b"%06o\0\0", b"%07o\0", b"%07o ", b"%08o"])
def test_a_checksum_in_another_spelling(spelling: bytes) -> None:
    """The same number, as no tar writes it: somebody has changed the header."""
    block = bytearray(make_header("boot/kernel", 1234))
    block[148:156] = spelling % int(block[148:154], 8)
    with pytest.raises(DataError, match="checksum"):
        parse_header(bytes(block))


@pytest.mark.parametrize("kind", [bytes([value]) for value in range(1, 256) if value != ord("0")])
def test_only_regular_files_are_members(kind: bytes) -> None:
    """Links, devices, directories, pax and GNU's long names, and all that is not known: refused by name."""
    info = tarfile.TarInfo("boot/x")
    info.type = kind
    with pytest.raises(DataError, match="no regular file"):
        parse_header(info.tobuf(tarfile.USTAR_FORMAT))


def test_long_names_are_split() -> None:
    """A name of up to 255 bytes goes into the prefix; a longer one, or one without a slash, is refused."""
    long = "boot/" + "d" * 100 + "/" + "f" * 100
    assert parse_header(make_header(long, 1)) == Header(long, 1)
    assert tarfile.TarInfo.frombuf(make_header(long, 1), "utf-8", "strict").name == long

    for bad in ("x" * 101, "a/" * 130 + "b", "x" * 160 + "/y"):
        with pytest.raises(DataError, match="too long"):
            make_header(bad, 1)


def test_a_zero_block_is_the_end_and_a_short_one_is_an_error() -> None:
    """The end is told apart from a cut."""
    assert parse_header(bytes(BLOCK)) is None
    with pytest.raises(DataError, match="cut short"):
        parse_header(bytes(BLOCK - 1))


@given(st.integers(0, 2**40))
def test_padding(size: int) -> None:
    """Whole blocks, never more than one too many."""
    assert padded(size) % BLOCK == 0
    assert 0 <= padded(size) - size < BLOCK


def test_the_tar_of_the_system_lists_and_extracts(tmp_path: Path) -> None:
    """GNU tar finds in our bytes what we put in."""
    archive = io.BytesIO()
    for name, data in (("manifest.json", b"{}"), ("boot/kernel", b"k" * 700)):
        archive.write(make_header(name, len(data)) + data + bytes(padded(len(data)) - len(data)))
    archive.write(END)
    (tmp_path / "x.tar").write_bytes(archive.getvalue())
    subprocess.run(["tar", "xf", "x.tar"], cwd=tmp_path, check=True)

    assert (tmp_path / "boot/kernel").read_bytes() == b"k" * 700
    assert (tmp_path / "manifest.json").read_bytes() == b"{}"


def forged(at: int, data: bytes, *, gnu: bool = False) -> bytes:
    """A header with some bytes changed, and a right checksum."""
    block = bytearray(make_header("boot/kernel", 1234))
    if gnu:
        block[257:265] = b"ustar  \0"
    block[at : at + len(data)] = data
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_a_forged_header_is_one() -> None:
    """The tests below fail for what they change, not for the checksum."""
    assert parse_header(forged(0, b"boot/kernel")) == Header("boot/kernel", 1234)
    assert parse_header(forged(124, b"    0002322 ")) == Header("boot/kernel", 1234)


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 12,  # -1 of GNU tar
        b"\xff" * 11 + b"\x00",
        b"\x80" + b"\xff" * 11,
        b"\x80\0\0\0" + (1 << 62).to_bytes(8, "big"),
        b"\x80\0\0\0" + (1 << 63).to_bytes(8, "big"),
        b"\x80\0\0\1" + bytes(8),
        b"\xc0" + bytes(11),
        b"-0000000001\0",
        b"+0000000001\0",
        b"0x000000001\0",
        b"00000000008\0",
        b"0000000_001\0",
        b"00000\0000001",
        b"000001 0001\0",
        b"\0" * 12,
        b" " * 12,
        b"00000\xd9\xa0\xd9\xa0\0\0\0",  # digits of another script
    ],
)
def test_sizes_that_are_none(size: bytes) -> None:
    """Negative, overflowing, not octal, empty: DataError, in both forms of tar."""
    for gnu in (False, True):
        with pytest.raises(DataError, match=r"no number|no size"):
            parse_header(forged(124, size, gnu=gnu))


def test_the_largest_sizes() -> None:
    """Twelve octal digits without an end, and binary ones, are read as tarfile reads them."""
    for field in (b"777777777777", b"\x80" + (1 << 40).to_bytes(11, "big")):
        header = parse_header(forged(124, field))
        assert header is not None
        assert header.size == tarfile.TarInfo.frombuf(forged(124, field), "utf-8", "strict").size


@pytest.mark.parametrize(("at", "data"), [(0, b"boot/kernel\0/../x"), (345, b"a\0b"), (98, b"x"), (498, b"x")])
def test_bytes_behind_the_end_of_a_name(at: int, data: bytes) -> None:
    """Other readers of tar might take them for a part of it."""
    if at == 498:
        data = b"p" + bytes(100) + b"x"
        at = 345
    with pytest.raises(DataError, match="behind its end"):
        parse_header(forged(at, data))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".", "a//b", "a/../b", ""])
def test_names_are_given_out_as_they_are(name: str) -> None:
    """Nothing is made of them: the bundle compares them with its manifest, which has no such name."""
    header = parse_header(make_header(name, 1))
    assert header == Header(name, 1)


def test_padding_is_zero() -> None:
    """Anything else behind a member is not covered by a signature."""
    check_padding(bytes(511), "x")
    check_padding(b"", "x")
    with pytest.raises(DataError, match="behind x"):
        check_padding(bytes(100) + b"\1", "x")
