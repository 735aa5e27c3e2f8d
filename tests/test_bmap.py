"""Block maps: what bmaptool makes is understood, and nothing broken or edited passes."""

import hashlib
import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.bmap import SIZE_LIMIT, Bmap, load, parse
from hupfast.errors import DataError, DigestError, HupfastError, SourceError
from hupfast.run import Range
from hupfast.writer import write_image

IMAGE = hashlib.shake_128(b"image").digest(4096 * 9 + 100)
BLOCKS = ((0, 1), (3, 3), (8, 9))


def sealed(text: str, kind: str = "sha256") -> bytes:
    """The file with its own checksum put in the place of @."""
    digits = hashlib.new(kind).digest_size * 2
    checksum = hashlib.new(kind, text.replace("@", "0" * digits).encode()).hexdigest()
    return text.replace("@", checksum).encode()


def make(
    version: str = "2.0", kind: str = "sha256", blocks: tuple[tuple[int, int], ...] = BLOCKS, **changes: str
) -> bytes:
    """A block map of IMAGE; `changes` replaces the text of elements."""
    old = version == "1.3"
    fields = {
        "ImageSize": len(IMAGE),
        "BlockSize": 4096,
        "BlocksCount": 10,
        "MappedBlocksCount": sum(last - first + 1 for first, last in blocks),
        "ChecksumType": kind,
        "BmapFileChecksum": "@",
    } | changes
    if old:
        del fields["ChecksumType"]
        fields["BmapFileSHA1"] = fields.pop("BmapFileChecksum")
    ranges = []
    for first, last in blocks:
        checksum = hashlib.new(kind, IMAGE[first * 4096 : (last + 1) * 4096]).hexdigest()
        text = str(first) if first == last else f"{first}-{last}"
        ranges.append(f'<Range {"sha1" if old else "chksum"}="{checksum}"> {text} </Range>')
    body = "\n".join(f"  <{name}> {value} </{name}>" for name, value in fields.items())
    block_map = "<BlockMap>\n" + "\n".join(ranges) + "\n</BlockMap>"
    text = f'<?xml version="1.0" ?>\n<bmap version="{version}">\n{body}\n{block_map}\n</bmap>\n'
    return sealed(text, kind)


def refusal(data: bytes, kind: type[HupfastError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        parse(data, "x.bmap")
    assert caught.value.exit_code == 5
    assert "x.bmap" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("version", "kind"), [("1.3", "sha1"), ("1.4", "sha256"), ("2.0", "sha256"), ("2.0", "sha1")])
def test_versions(version, kind):
    """Each version gives the ranges in bytes, the last one cut at the image's end, with their digests."""
    bmap = parse(make(version, kind), "x.bmap")

    parts = [(0, 8192), (3 * 4096, 4096), (8 * 4096, 4096 + 100)]
    expected = tuple(
        Range(start, length, hashlib.new(kind, IMAGE[start : start + length]).digest()) for start, length in parts
    )
    assert bmap == Bmap(version, len(IMAGE), 4096, kind, expected)
    assert bmap.mapped_size == 8192 + 4096 + 4196


@pytest.mark.parametrize("checksums", [True, False])
def test_output_of_bmaptool(checksums, tmp_path):
    """What bmaptool makes of a sparse file is understood."""
    if not shutil.which("bmaptool"):
        pytest.skip("bmaptool is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(2**20 + 17)
        os.pwrite(file.fileno(), IMAGE[:8192], 65536)
        os.pwrite(file.fileno(), b"end", 2**20 + 10)
    made = subprocess.run(
        [
            "bmaptool",
            "create",
            *([] if checksums else ["--no-checksum"]),
            str(image),
            "-o",
            str(tmp_path / "bmap"),
        ],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"bmaptool does not work here: {made.stderr.strip().splitlines()[-1]}")
    bmap = load(tmp_path / "bmap")

    data = image.read_bytes()
    assert bmap.image_size == len(data)
    rebuilt = bytearray(len(data))
    for item in bmap.ranges:
        part = data[item.offset : item.offset + item.length]
        assert item.digest == (hashlib.sha256(part).digest() if checksums else None)
        rebuilt[item.offset : item.offset + item.length] = part
    assert rebuilt == data


def test_bmaptool_accepts_our_test_files(tmp_path):
    """The files of these tests are right: bmaptool copies with one of version 1.3 and checks it."""
    if not shutil.which("bmaptool"):
        pytest.skip("bmaptool is not installed")
    (tmp_path / "image").write_bytes(IMAGE)
    (tmp_path / "bmap").write_bytes(make("1.3", "sha1"))
    done = subprocess.run(
        [
            "bmaptool",
            "copy",
            "--bmap",
            str(tmp_path / "bmap"),
            str(tmp_path / "image"),
            str(tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes()[:8192] == IMAGE[:8192]


@pytest.mark.parametrize(("version", "kind"), [("1.3", "sha1"), ("2.0", "sha256")])
def test_checksums_are_checked_before_anything_is_written(version, kind, tmp_path):
    """An image whose last range is wrong is refused whole, by the checksums of every version."""
    (tmp_path / "bmap").write_bytes(make(version, kind))
    (tmp_path / "good").write_bytes(IMAGE)
    (tmp_path / "bad").write_bytes(IMAGE[:-1] + b"?")
    target = tmp_path / "target"
    target.write_bytes(bytes(len(IMAGE)))
    with pytest.raises(DigestError, match="block map's checksum at 32768"):
        write_image(tmp_path / "bad", target, bmap=tmp_path / "bmap")
    assert target.read_bytes() == bytes(len(IMAGE))

    write_image(tmp_path / "good", target, bmap=tmp_path / "bmap")
    assert target.read_bytes()[8 * 4096 :] == IMAGE[8 * 4096 :]
    assert target.read_bytes()[4 * 4096 : 8 * 4096] == bytes(4 * 4096)


def test_empty_map():
    """An image of holes alone has no range."""
    assert parse(make(blocks=()), "x.bmap").ranges == ()


@settings(deadline=None)
@given(position=st.integers(0, len(make()) - 1), byte=st.integers(0, 255))
def test_one_changed_byte_is_found(position, byte):
    """Whatever byte is changed, the file does not pass, except where the map stays the same."""
    data = bytearray(make())
    data[position] = byte
    try:
        bmap = parse(bytes(data), "x.bmap")
    except HupfastError:
        return
    assert bmap == parse(make(), "x.bmap")


def test_edited_file():
    """A file whose numbers were changed by hand is refused, whether or not they would fit."""
    assert "own checksum" in refusal(make().replace(b"0-1", b"0-2"), DigestError)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImageSize": "many"}, "line 3: 'many' is no number"),
        ({"ImageSize": "9" * 30}, "is no number"),
        ({"ImageSize": "-1"}, "is no number"),
        ({"ImageSize": "4096"}, "outside the image"),
        ({"BlockSize": "0"}, "BlockSize is 0"),
        ({"BlocksCount": "11"}, "BlocksCount is 11, and there are 10"),
        ({"MappedBlocksCount": "6"}, "MappedBlocksCount is 6, and there are 5"),
        ({"ChecksumType": "md5"}, "checksums of the type md5"),
    ],
)
def test_wrong_numbers(changes, words):
    """A sealed file with wrong numbers is refused with the number, and the line where it stands."""
    assert words in refusal(make(**changes))


@pytest.mark.parametrize("blocks", [((1, 0),), ((3, 4), (4, 5)), ((5, 5), (1, 1)), ((0, 10),)])
def test_wrong_ranges(blocks):
    """Ranges that are backward, overlap, are out of order or outside the image are refused."""
    assert "overlap, are out of order or outside the image" in refusal(make(blocks=blocks))


@pytest.mark.parametrize("version", ["1.0", "1.2", "2.1", "3.0", "", "x"])
def test_unknown_version(version):
    """Other versions are named, and refused."""
    assert f"version {version}" in refusal(make(version))


def without_checksum_digits() -> bytes:
    text = make().decode()
    return sealed(
        text[: text.index("<BmapFileChecksum>")]
        + "<BmapFileChecksum>@"
        + text[text.index("</BmapFileC") :].replace('chksum="', 'chksum="0', 1)
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no element found"),
        (b"hello", "syntax error"),
        (b"\x28\xb5\x2f\xfd binary", "line 1"),
        (b"<html></html>", "begins with 'html'"),
        (make()[:-20], "line"),
        (make().replace(b"BlockMap", b"BlockMop"), "own checksum"),
        (
            sealed(
                make().decode().replace("BlockMap", "BlockMop").split("<BmapFileC")[0]
                + "<BmapFileChecksum>@</BmapFileChecksum></bmap>"
            ),
            "no BlockMap",
        ),
        (make().replace(b"BmapFileChecksum", b"Else"), "no BmapFileChecksum"),
        (make(BmapFileChecksum=""), "own checksum"),
        (make().replace(b"<BlockSize>", b"<BlockSize>1</BlockSize><BlockSize>"), "a second 'BlockSize'"),
        (without_checksum_digits(), "is no sha256 checksum"),
        (b'<!DOCTYPE bmap [<!ENTITY a "aaaa">]>' + make(), "line"),
        (b'<!DOCTYPE bmap SYSTEM "file:///etc/passwd"><bmap version="2.0"/>', "declares a document type"),
        (b" " * (SIZE_LIMIT + 1), "larger than 16 MiB"),
    ],
)
def test_no_block_map(data, words):
    """What is no block map is refused with the reason."""
    assert words in refusal(data)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_nonsense_in_the_middle(data):
    """Nonsense inside a block map ends in a DataError."""
    good = make()
    with pytest.raises(DataError):
        parse(good[:200] + b"<" + data + good[200:], "x.bmap")


def test_missing_file(tmp_path):
    """A block map that cannot be read is a SourceError with its name."""
    with pytest.raises(SourceError, match="No such file"):
        load(tmp_path / "none.bmap")
