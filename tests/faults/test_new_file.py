"""A target that the write makes itself: it is there when it is whole, and not before; in between nothing is."""

import errno
import os

import pytest


@pytest.fixture
def new(tmp_path):
    """The name of a file that is to be made, in a folder of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "new"


@pytest.mark.parametrize("image", ["raw", "zst", "unsized.zst", "chunked.zst", "gz"])
def test_killed(command, images, new, image):
    """Killed, and called again: right bytes, whatever is known of the size, and no leftover in the way."""
    argv = ["write", "-y", "--memory=8M", images.paths[image], new]
    process = command.start(*argv, fault="source:slow:9:inf", on=images.paths[image])
    command.wait_for_fault(process)
    process.kill()
    process.communicate()

    assert process.returncode < 0
    assert command(*argv).code == 0
    assert new.read_bytes() == images.bytes
    assert list(new.parent.iterdir()) == [new]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("write:eio:3", 6),
        ("write:flip:3", 6),
        ("write:drop:2", 6),
        ("flush:eio:1", 6),
        ("read:flip:3", 6),
        ("space:enospc:1", 4),
        ("space:eio:1", 4),
    ],
)
def test_failed(command, images, new, fault, code):
    """After a failure there is no file."""
    ended = command("write", "-y", "--memory=4M", images.paths["chunked.zst"], new, fault=fault, on=new)

    assert (ended.code, len(ended.hits)) == (code, 1)
    assert list(new.parent.iterdir()) == []


def test_name_is_not_flushed(command, images, new):
    """A file whose name may not outlive a power cut is not called written."""
    ended = command("write", "-y", images.paths["zst"], new, fault="flush:eio:1", on=new.parent)

    assert (ended.code, ended.json["errno"], len(ended.hits)) == (6, errno.EIO, 1)
    assert list(new.parent.iterdir()) == []


@pytest.mark.parametrize(
    "fault", ["write:odd:1:6", "write:nodirect:1:inf", "read:nodirect:1:inf", "space:eopnotsupp:1", "space:eintr:1:3"]
)
def test_survived(command, images, new, fault):
    """What can be done in another way is done so in a new file too."""
    ended = command("write", "-y", "--memory=4M", images.paths["zst"], new, fault=fault, on=new)

    assert ended.code == 0
    assert new.read_bytes() == images.bytes


def test_dangling_link(command, images, new):
    """A link that leads nowhere is refused before the write, and not after it."""
    new.symlink_to(new.with_name("nowhere"))
    ended = command("write", "-y", images.paths["raw"], new, fault="write:slow:1:inf", on=new.parent / "nowhere")

    assert (ended.code, ended.hits) == (4, [])
    assert os.listdir(new.parent) == ["new"]


def test_name_is_taken_meanwhile(command, images, new):
    """A file that somebody else makes under that name while the write goes on is not overwritten."""
    image = images.paths["raw"]
    process = command.start("write", "-y", "--json", "-q", image, new, fault="source:slow:9:inf", on=image)
    command.wait_for_fault(process)
    if new.exists():
        process.kill()
        process.communicate()
        pytest.skip("this filesystem has no files without a name")
    new.write_text("mine")
    ended = command.finish(process)

    assert (ended.code, ended.json["errno"]) == (4, errno.EEXIST)
    assert new.read_text() == "mine"
    assert list(new.parent.iterdir()) == [new]
