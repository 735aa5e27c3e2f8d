"""With a block map too: what it maps is right or the failure is told, and what it does not map is never touched."""

import hashlib

import pytest

BLOCK = 4096


@pytest.fixture
def block_map(images, tmp_path):
    """A map of three parts of the image, the last one with its end, and these parts as (start, end) in bytes."""
    count = -(-len(images.bytes) // BLOCK)
    blocks = [(0, 300), (302, 600), (602, count - 1)]  # so that any piece of the image has to do with it
    parts = [(first * BLOCK, min((last + 1) * BLOCK, len(images.bytes))) for first, last in blocks]
    ranges = "".join(
        f'<Range chksum="{hashlib.sha256(images.bytes[start:end]).hexdigest()}">{first}-{last}</Range>'
        for (first, last), (start, end) in zip(blocks, parts, strict=True)
    )
    mapped = sum(last - first + 1 for first, last in blocks)
    text = (
        f'<?xml version="1.0" ?><bmap version="2.0"><ImageSize>{len(images.bytes)}</ImageSize>'
        f"<BlockSize>{BLOCK}</BlockSize><BlocksCount>{count}</BlocksCount>"
        f"<MappedBlocksCount>{mapped}</MappedBlocksCount><ChecksumType>sha256</ChecksumType>"
        f"<BmapFileChecksum>@</BmapFileChecksum><BlockMap>{ranges}</BlockMap></bmap>"
    )
    own = hashlib.sha256(text.replace("@", "0" * 64).encode()).hexdigest()
    path = tmp_path / "image.bmap"
    path.write_text(text.replace("@", own))
    return path, parts


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("", 0),
        ("write:odd:1:6", 0),
        ("write:nodirect:1:inf", 0),
        ("zero:eopnotsupp:1:inf", 0),
        ("write:eio:5", 6),
        ("write:flip:5", 6),
        ("write:drop:2", 6),
        ("zero:drop:1", 6),
        ("flush:eio:1", 6),
        ("read:flip:4", 6),
        ("read:nodirect:1:inf", 0),
    ],
)
def test_target(command, images, target, block_map, fault, code):
    """The target fails in the middle of it."""
    path, parts = block_map
    image = images.paths["zst" if fault.startswith("write") else "chunked.zst"]
    argv = ["write", "-y", "--memory=4M", "--bmap", path, image, target.path]
    ended = command(*argv, fault=fault, on=target.path)
    now, at = target.read(), 0

    assert bool(ended.hits) == bool(fault)
    assert ended.code == code
    for start, end in [*parts, (len(now), len(now))]:
        assert now[at:start] == (b"old " * len(now))[at:start]
        assert code or now[start:end] == images.bytes[start:end]
        at = end


def test_image(command, images, target, block_map):
    """A bit of the image is read wrong when its checksums are checked: nothing is written."""
    path, _ = block_map
    image = images.paths["raw"]
    ended = command("write", "-y", "--bmap", path, image, target.path, fault="source:flip:9", on=image)

    assert (len(ended.hits), ended.code) == (1, 5)
    assert target.is_untouched_from(0)


def test_image_changed_meanwhile(command, images, target, block_map, tmp_path):
    """The checksums hold for what is written, and not only for what was there when they were checked."""
    path, _ = block_map
    image = tmp_path / "image"
    image.write_bytes(images.bytes)
    ended = command.with_image_changed("write", "-y", "--bmap", path, image, target.path, image=image)

    assert (ended.code, ended.json["kind"]) == (5, "DigestError")
