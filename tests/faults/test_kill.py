"""A write that is killed at any moment leaves a target that the same command makes right."""

import random
import subprocess
import time

import pytest

SLOW = "write:slow:1:inf,zero:slow:1:inf,read:slow:1:inf"


def start_and_kill(command, argv, seconds, *, fault, on):
    """Start a write that is slow, kill it so long after the first slow call. Was it still at work?"""
    process = command.start(*argv, fault=fault, on=on)
    command.wait_for_fault(process)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode < 0


@pytest.mark.parametrize("image", ["raw", "zst", "chunked.zst"])
@pytest.mark.parametrize("where", ["slot", "device"])
def test_killed(command, images, request, image, where):
    """Killed in the middle, at moments that differ each time; then again: right bytes."""
    target = request.getfixturevalue(where)
    argv = ["write", "-y", "--memory=4M", images.paths[image], target.path]
    chaos, killed = random.Random(image), 0

    for _ in range(3):
        killed += start_and_kill(command, argv, chaos.uniform(0, 0.15), fault=SLOW, on=target.path)
        assert target.is_untouched_from(len(images.bytes))
    ended = command(*argv)

    assert killed
    assert ended.code == 0
    assert target.holds(images.bytes)


def test_killed_while_flushing(command, images, target):
    """Killed in the flush, which the caller never saw the end of."""
    argv = ["write", "-y", images.paths["chunked.zst"], target.path]

    assert start_and_kill(command, argv, 0, fault="flush:slow:1", on=target.path)
    assert command(*argv).code == 0
    assert target.holds(images.bytes)


def test_source_dies(command, images, slot):
    """The program at the other end of the pipe dies: a packed image is noticed to be cut short."""
    data = images.paths["chunked.zst"].read_bytes()
    argv = ("write", "-y", "--json", "--quiet", "-", slot.path)
    process = command.start(*argv, stdin=subprocess.PIPE)
    process.stdin.buffer.write(data[: len(data) // 2])
    process.stdin.close()
    process.stdin = None
    ended = command.finish(process)

    assert (ended.code, ended.json["kind"]) == (5, "DataError")
