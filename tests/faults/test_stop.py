"""A run that is stopped leaves no thread, no descriptor and no lock behind, however it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

SLOW = "write:slow:1:inf,zero:slow:1:inf,read:slow:1:inf"

STOPS = """
import json, os, signal, sys, threading, time
from hupfast.writer import ImageWriter, verify_image, write_image

how, image, target = sys.argv[1:]

class Enough(Exception):
    pass

def raise_in_the_middle(now):
    if now.done:
        raise Enough

def interrupt():
    while not os.path.exists(os.environ["HUP_FAULT_LOG"]):
        time.sleep(0.001)
    time.sleep(0.03)
    if how == "cancel":
        writer.cancel()
    else:
        os.kill(os.getpid(), signal.SIGINT)

def left():
    return sorted(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

helper = threading.Thread(target=interrupt)
raised = ""
image_bytes = open(image, "rb").read()
before = left()
try:
    if how == "callback":
        write_image(image, target, memory=2**22, progress=raise_in_the_middle)
    elif how == "callback while comparing":
        verify_image(image, target, memory=2**22, progress=raise_in_the_middle)
    elif how == "ctrl-c":
        helper.start()
        write_image(image, target, memory=2**22)
    else:
        with ImageWriter(target, memory=2**22) as writer:
            if how == "leave":
                writer.write(image_bytes[:2**20])
                raise Enough
            if how == "leave in the middle of a piece":
                writer.acquire()[:4] = b"half"
                raise Enough
            helper.start()
            writer.write(image_bytes)
            writer.finish()
except BaseException as error:
    raised = type(error).__name__
if helper.ident:
    helper.join()
after = left()
descriptor = os.open(target, os.O_RDWR | os.O_EXCL)  # EBUSY when a device is still held
os.close(descriptor)
print(json.dumps({"raised": raised, "before": before, "after": after}))
"""


@pytest.mark.parametrize("image", ["raw", "chunked.zst"])
@pytest.mark.parametrize(
    ("how", "raised"),
    [
        ("callback", "Enough"),
        ("callback while comparing", "Enough"),
        ("ctrl-c", "KeyboardInterrupt"),
        ("cancel", "Cancelled"),
        ("leave", "Enough"),
        ("leave in the middle of a piece", "Enough"),
    ],
)
def test_library(command, images, target, how, raised, image):
    """The exception comes out, and all that the run had is given back."""
    if how == "callback while comparing":
        assert command("write", "-y", images.paths["raw"], target.path).code == 0
    done = subprocess.run(
        [sys.executable, "-c", STOPS, how, images.paths[image], target.path],
        env=command.environment(SLOW, target.path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = json.loads(done.stdout)

    assert done.stderr == ""
    assert told["raised"] == raised
    assert told["after"] == told["before"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("seconds", [0, 0.1])
def test_command(command, images, target, number, seconds):
    """Ctrl-C and its relatives end the command in order, soon, with exit 1 and words about what is left."""
    argv = ("write", "-y", "-q", "--memory=4M", images.paths["raw"], target.path)
    process = command.start(*argv, fault=SLOW, on=target.path)
    command.wait_for_fault(process)
    time.sleep(seconds)
    process.send_signal(number)
    ended = command.finish(process, as_json=False)

    assert ended.code == 1
    assert ended.words.startswith("hupfast: interrupted")
    assert ended.words.count("\n") == 1
    os.close(os.open(target.path, os.O_RDWR | os.O_EXCL))


def test_silent_pipe(command, slot, tmp_path):
    """Ctrl-C is heard while nothing comes through the pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"x" * 5000)
    process = command.start("write", "-y", "-q", pipe, slot.path, fault="source:slow:1", on=pipe)
    command.wait_for_fault(process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    ended = command.finish(process, as_json=False)
    os.close(writer)

    assert time.monotonic() - started < 5
    assert (ended.code, ended.words[:20]) == (1, "hupfast: interrupted")
    assert slot.is_untouched_from(0)


def test_while_hashing(command, slot, tmp_path):
    """Ctrl-C is heard while the SHA-256 of a large image is taken, before the write."""
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(256 * 2**20)
    slot.path.write_bytes(b"")
    os.truncate(slot.path, 256 * 2**20)
    argv = ("write", "-y", "-q", "--sha256", "0" * 64, path, slot.path)
    process = command.start(*argv, fault="source:slow:8:inf", on=path)  # 20 s or more
    command.wait_for_fault(process)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    ended = command.finish(process, as_json=False)

    assert ended.code == 1
    assert time.monotonic() - started < 5
