"""An image that cannot be read is exit 7; one that comes in odd pieces arrives all the same."""

import errno
import hashlib
import os
import threading

import pytest


def is_old_or_right(target, image):
    """Each sector of the target has the image's bytes, or those from before."""
    now, old = target.read(), b"old " * 128
    return target.is_untouched_from(len(image), now) and all(
        now[at : at + 512] in (old, image[at : at + 512]) for at in range(0, len(image) // 512 * 512, 512)
    )


@pytest.mark.parametrize("image", ["raw", "chunked.zst", "gz"])
@pytest.mark.parametrize("n", [1, 9])
def test_read_error(command, images, slot, image, n):
    """A read error of the image, at its head or later, is exit 7."""
    path = images.paths[image]
    ended = command("write", "-y", path, slot.path, fault=f"source:eio:{n}", on=path)

    assert len(ended.hits) == 1
    assert (ended.code, ended.json["kind"], ended.json["errno"]) == (7, "SourceError", errno.EIO)
    assert is_old_or_right(slot, images.bytes)


def test_place_of_read_error(command, images, slot):
    """The message tells which file could not be read, and from where on."""
    path = images.paths["raw"]
    ended = command("write", "-y", path, slot.path, fault="source:eio:9", on=path)

    assert ended.json["offset"] == ended.hits[0].offset > 0
    assert str(ended.hits[0].offset) in ended.json["error"]


@pytest.mark.parametrize("image", ["raw", "chunked.zst", "gz"])
@pytest.mark.parametrize("fault", ["source:eintr:1:6", "source:short:7:3", "source:odd:7:3"])
def test_survived(command, images, slot, image, fault):
    """Interrupted and short reads are gone on with."""
    path = images.paths[image]
    ended = command("write", "-y", path, slot.path, fault=fault, on=path)

    assert ended.hits
    assert ended.code == 0
    assert slot.holds(images.bytes)


@pytest.mark.parametrize(("image", "codes"), [("raw", {7}), ("chunked.zst", {5, 7}), ("gz", {5, 7})])
def test_shrunk(command, images, slot, image, codes):
    """A file that ends before its size, because it was cut meanwhile, is noticed."""
    path = images.paths[image]
    ended = command("write", "-y", path, slot.path, fault="source:drop:9:inf", on=path)

    assert ended.hits
    assert ended.code in codes


@pytest.mark.parametrize("image", ["zst", "chunked.zst", "gz", "xz", "bz2"])
def test_flipped(command, images, slot, image):
    """A bit that is read wrong is noticed where the format has a checksum."""
    path = images.paths[image]
    ended = command("write", "-y", path, slot.path, fault="source:flip:9", on=path)

    assert (len(ended.hits), ended.code) == (1, 5)


def test_flipped_with_digest(command, images, slot):
    """With --sha256, also where it has none; nothing is written then."""
    path = images.paths["raw"]
    digest = hashlib.sha256(images.bytes).hexdigest()
    ended = command("write", "-y", "--sha256", digest, path, slot.path, fault="source:flip:9", on=path)

    assert (len(ended.hits), ended.code) == (1, 5)
    assert slot.is_untouched_from(0)


def test_changed_after_the_digest(command, images, slot, tmp_path):
    """The digest holds for what is written, and not only for what was there when it was checked."""
    path = tmp_path / "image"
    path.write_bytes(images.bytes)
    digest = hashlib.sha256(images.bytes).hexdigest()
    ended = command.with_image_changed("write", "-y", "--sha256", digest, path, slot.path, image=path)

    assert (ended.code, ended.json["kind"]) == (5, "DigestError")


@pytest.mark.parametrize(
    ("fault", "code"), [("source:eagain:2:5", 0), ("source:eintr:1:9", 0), ("source:odd:4:9", 0), ("source:eio:5", 7)]
)
@pytest.mark.parametrize("image", ["raw", "chunked.zst", "gz"])
def test_pipe(command, images, slot, tmp_path, image, fault, code):
    """A pipe may be slow, interrupted and come in odd pieces; it may fail too."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed():
        try:
            pipe.write_bytes(images.paths[image].read_bytes())
        except BrokenPipeError:
            assert code

    feeder = threading.Thread(target=feed, daemon=True)  # it hangs when nobody opens the pipe
    feeder.start()
    ended = command("write", "-y", pipe, slot.path, fault=fault, on=pipe)
    feeder.join(timeout=10)

    assert ended.hits
    assert ended.code == code
    if code == 0:
        assert slot.holds(images.bytes)
