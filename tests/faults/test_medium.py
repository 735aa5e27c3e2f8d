"""Whatever the target does wrong ends in exit 6 with the place, or with the right bytes on it."""

import errno
import os
import random

import pytest

MIB = 2**20

EIO, ENOSPC, EINVAL, EAGAIN = errno.EIO, errno.ENOSPC, errno.EINVAL, errno.EAGAIN

FAILURES = [
    ("write:eio:1", EIO),
    ("write:eio:6", EIO),
    ("write:eio:9", EIO),  # the tail
    ("write:enospc:4", ENOSPC),
    ("write:einval:1:inf", EINVAL),  # not direct I/O alone is refused
    ("zero:eio:1", EIO),
    ("zero:enospc:1", ENOSPC),
    ("flush:eio:1", EIO),
    ("flush:enospc:1", ENOSPC),
    ("flush:eio:1:inf", EIO),
    ("write:short:2:3,flush:eio:1", EIO),
    ("write:nodirect:1:inf,settle:eio:2", EIO),
    ("read:eio:1", EIO),
    ("read:eio:7", EIO),
    ("read:nodirect:1:inf,read:eio:12", EIO),
]
WRONG_BYTES = [
    "write:flip:1",
    "write:flip:5",
    "write:flip:9",  # the tail
    "write:drop:1",
    "write:drop:6",
    "write:drop:1:inf",
    "write:flip:2,write:eintr:1:4",
    "write:nodirect:1:inf,write:flip:7",
    "zero:drop:1",
    "zero:eopnotsupp:1:inf,write:drop:9",
    "read:flip:1",
    "read:flip:8",
    "read:drop:3",  # the target seems to end
]
SURVIVED = [
    "write:eintr:1:9",
    "write:eagain:2:20",
    "write:short:1:6",
    "write:odd:1:6",
    "write:odd:9",  # the tail
    "write:einval:3",
    "write:nodirect:1:inf",
    "zero:eintr:1:3",
    "zero:eopnotsupp:1",
    "zero:eopnotsupp:1:inf",
    "zero:einval:1:inf",
    "flush:eintr:1:3",
    "read:eintr:1:9",
    "read:eagain:2:20",
    "read:short:1:4",
    "read:odd:1:4",
    "read:einval:3",
    "read:nodirect:1:inf",
    "write:short:1:4,zero:eopnotsupp:1:inf,flush:eintr:1:2,read:odd:2:3",
]


@pytest.mark.parametrize(("fault", "number"), FAILURES)
def test_failing_call(command, images, target, fault, number):
    """A call that fails for good is exit 6, with its offset."""
    ended = command(
        "write", "-y", "--memory=4M", "--block=256K", images.paths["raw"], target.path, fault=fault, on=target.path
    )
    hit = next(hit for hit in ended.hits if hit.kind in ("eio", "enospc", "einval"))

    assert (ended.code, ended.json["kind"], ended.json["errno"]) == (6, "MediumError", number)
    if hit.op != "flush" and not fault.endswith("inf"):
        assert ended.json["offset"] == hit.offset
        assert str(hit.offset) in ended.json["error"]
    assert target.is_untouched_from(len(images.bytes))


@pytest.mark.parametrize("fault", WRONG_BYTES)
def test_wrong_bytes(command, images, target, fault):
    """A write that says it is done, and is not, is exit 6 with the range that is wrong."""
    image = images.paths["chunked.zst" if "read" in fault else "raw"]
    ended = command("write", "-y", "--memory=4M", "--block=256K", image, target.path, fault=fault, on=target.path)
    hits = [hit for hit in ended.hits if hit.kind in ("flip", "drop")]
    first, last = ended.json["offset"], ended.json["offset"] + ended.json["length"]

    assert (ended.code, ended.json["kind"]) == (6, "MismatchError")
    assert any(first < hit.offset + hit.length and hit.offset < last for hit in hits)
    assert str(first) in ended.json["error"]
    assert target.is_untouched_from(len(images.bytes))


@pytest.mark.parametrize("fault", SURVIVED)
def test_survived(command, images, target, fault):
    """What can be tried again, or done in another way, is; and then every byte is right."""
    ended = command(
        "write", "-y", "--memory=4M", "--block=256K", images.paths["zst"], target.path, fault=fault, on=target.path
    )

    assert ended.hits
    assert (ended.code, ended.json.get("error")) == (0, None)
    assert ended.json["verified"] is True
    assert ended.json["direct"] == ("nodirect" not in fault and "einval" not in fault.replace("zero:einval", ""))
    assert target.holds(images.bytes)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("write:flip:9", 6),  # the tail
        ("write:odd:1:6", 0),
        ("write:nodirect:1:inf", 0),
        ("zero:drop:1", 6),
        ("zero:eio:1", 6),
        ("zero:eopnotsupp:1:inf", 0),
        ("read:nodirect:1:inf", 0),
        ("read:odd:1:4", 0),
    ],
)
def test_file(command, images, slot, fault, code):
    """The same on a regular file, where zeroes are made in another way; the C test has all faults on one."""
    ended = command(
        "write", "-y", "--memory=4M", "--block=256K", images.paths["raw"], slot.path, fault=fault, on=slot.path
    )

    assert ended.hits
    assert ended.code == code
    assert slot.is_untouched_from(len(images.bytes))
    assert code or slot.holds(images.bytes)


@pytest.mark.parametrize("fault", ["write:odd:1:6", "write:short:1:6", "read:odd:1:4", "write:nodirect:1:inf"])
def test_large_sectors(command, images, large_sectors, fault):
    """The same with sectors of 4096 bytes, inside which a short call may end."""
    target = large_sectors
    ended = command(
        "write", "-y", "--memory=4M", "--block=256K", images.paths["raw"], target.path, fault=fault, on=target.path
    )

    assert ended.hits
    assert ended.code == 0
    assert target.holds(images.bytes)


@pytest.mark.parametrize(("fault", "number"), [("write:eio:4", EIO), ("zero:eio:1", EIO), ("flush:eio:1", EIO)])
def test_without_read_back(command, images, target, fault, number):
    """Failing calls are caught without the read-back too. (Wrong bytes are not: that is what it is for.)"""
    argv = ["write", "-y", "--no-verify", "--memory=4M", "--block=256K", images.paths["chunked.zst"], target.path]
    ended = command(*argv, fault=fault, on=target.path)

    assert ended.hits
    assert (ended.code, ended.json["errno"]) == (6, number)


def test_eagain_for_ever(command, images, slot):
    """A target that never becomes ready is given up."""
    ended = command("write", "-y", images.paths["raw"], slot.path, fault="write:eagain:1:inf", on=slot.path)

    assert (ended.code, ended.json["errno"]) == (6, EAGAIN)


@pytest.mark.parametrize(
    ("fault", "code"), [("read:flip:2", 0), ("read:odd:1:4", 0), ("read:eio:2", 6), ("write:drop:1", 6)]
)
def test_skip_unchanged(command, images, target, fault, code):
    """A block that reads wrong at first is written; one that is not written is noticed in the end."""
    argv = ["write", "-y", "--skip-unchanged", "--memory=4M", "--block=256K", images.paths["chunked.zst"], target.path]
    if not fault.startswith("write"):
        assert command(*argv).code == 0
    ended = command(*argv, fault=fault, on=target.path)

    assert ended.hits
    assert ended.code == code
    assert target.is_untouched_from(len(images.bytes))
    if code == 0:
        assert target.holds(images.bytes)


@pytest.mark.parametrize("image", ["zst", "chunked.zst"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [("read:flip:3", 6), ("read:eio:3", 6), ("read:drop:3", 6), ("read:odd:1:4", 0), ("read:nodirect:1:inf", 0)],
)
def test_verify(command, images, slot, image, fault, code):
    """`hupfast verify` is as careful, by the image and by a chunk table alone."""
    slot.path.write_bytes(images.bytes)
    ended = command("verify", "--memory=4M", images.paths[image], slot.path, fault=fault, on=slot.path)

    assert ended.hits
    assert ended.code == code
    assert slot.path.read_bytes() == images.bytes


@pytest.mark.parametrize("fault", ["", "read:nodirect:1:inf", "read:einval:1"])
@pytest.mark.parametrize("image", ["raw", "chunked.zst"])
def test_cache_does_not_answer(command, images, device, image, fault):
    """What the medium holds counts, and not what the page cache remembers of it, with direct I/O and without."""
    assert command("write", "-y", images.paths[image], device.path).code == 0
    assert device.holds(images.bytes)
    with open(device.path, "rb") as cached:
        cached.read()  # now the cache has it
        with open(device.backing, "r+b") as medium:
            medium.seek(1000)
            medium.write(b"rust")
        ended = command("verify", "--memory=4M", images.paths[image], device.path, fault=fault, on=device.path)

    assert bool(ended.hits) == bool(fault)
    assert (ended.code, ended.json.get("kind")) == (6, "MismatchError")


def test_large_folios(command, tmp_path, mounted):
    """The page cache keeps a file in pieces that are larger than a read; these are given up too."""
    image, folder, backing = tmp_path / "image", mounted("ext4", 24 * MIB), tmp_path / "ext4"
    data = random.Random(7).randbytes(12 * MIB)
    image.write_bytes(data)
    slot = folder / "slot"
    assert command("write", "-y", image, slot).code == 0

    for place in (MIB, 5 * MIB, 11 * MIB):
        on_disk = backing.read_bytes().index(data[place : place + 512])
        with open(slot, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read() == data  # now the cache has it
        with open(backing, "r+b") as medium:
            medium.seek(on_disk)
            medium.write(b"rust")
        ended = command("verify", "--memory=1M", image, slot, fault="read:nodirect:1:inf", on=slot)
        with open(backing, "r+b") as medium:
            medium.seek(on_disk)
            medium.write(data[place : place + 4])

        assert (ended.code, ended.json.get("kind")) == (6, "MismatchError")
        assert ended.json["offset"] == place
