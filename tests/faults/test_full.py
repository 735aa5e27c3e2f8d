"""A filesystem without room: refused before the first byte where the image's size is known, else exit 6."""

import errno
import os

import pytest

MIB = 2**20


@pytest.fixture(params=["tmpfs", "ext4"])
def folder(request, mounted):
    """A folder on a filesystem with room for less than the image."""
    return mounted(request.param, 2 * MIB)


@pytest.mark.parametrize("image", ["raw", "zst", "chunked.zst"])
def test_size_known(command, images, folder, image):
    """Exit 4, and the file that was about to be made is not there."""
    target = folder / "image"
    ended = command("write", "-y", images.paths[image], target)

    assert (ended.code, ended.json["errno"]) == (4, errno.ENOSPC)
    assert str(len(images.bytes)) in ended.json["error"]
    assert not target.exists()


@pytest.mark.parametrize("image", ["unsized.zst", "gz"])
def test_size_unknown(command, images, folder, image):
    """Exit 6, with the place where the room ended; half an image is not left."""
    target = folder / "image"
    ended = command("write", "-y", "--memory=8M", images.paths[image], target)

    assert (ended.code, ended.json["errno"]) == (6, errno.ENOSPC)
    assert 0 < ended.json["offset"] < len(images.bytes)
    assert not target.exists()


def test_sparse_slot(command, images, folder):
    """A file of the right size that has no blocks: exit 6 when there are none for it."""
    target = folder / "slot"
    target.write_bytes(b"")
    os.truncate(target, 4 * MIB)
    ended = command("write", "-y", "--memory=4M", images.paths["raw"], target)

    assert (ended.code, ended.json["errno"]) == (6, errno.ENOSPC)
