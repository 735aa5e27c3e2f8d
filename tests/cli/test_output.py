"""Sizes, questions and results."""

import io
import json
import os
import pty
import sys
import threading

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.cli.output import Size, as_size, ask, human, print_json, progress, say
from hupfast.errors import Refused


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64K", 65536),
        ("16M", 16 * 2**20),
        ("1g", 2**30),
        ("2T", 2**41),
        ("64 KiB", 65536),
        ("3mib", 3 * 2**20),
    ],
)
def test_size(text, size):
    """Sizes are bytes, or a number with a power of 1024."""
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize(
    "text", ["", "K", "1.5M", "-1", "16MB", "1KM", "1X", "0x10", "1e3", "٣", "9" * 20, "1 2", "M1"]
)
def test_no_size(text):
    """Anything else is wrong usage, named as it was typed."""
    with pytest.raises(click.BadParameter, match="is no size"):
        Size().convert(text, None, None)


@settings(deadline=None)
@given(st.integers(0, 2**49))
def test_size_round_trip(size):
    """as_size writes what Size reads."""
    assert Size().convert(as_size(size), None, None) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1536, "1.50 KiB"),
        (10 * 1024, "10.0 KiB"),
        (2**20 - 1, "1.00 MiB"),
        (999 * 2**20, "999 MiB"),
        (2**30, "1.00 GiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_human(size, text):
    """Sizes for people have three digits and a unit."""
    assert human(size) == text


@settings(deadline=None)
@given(st.floats(0, 2**50))
def test_human_is_short_and_near(size):
    """The text is short, and within 1% of the size (from 100 bytes on)."""
    text = human(size)
    number, unit = text.split()
    factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(unit)
    assert len(text) <= 8
    assert abs(float(number) * factor - size) <= max(size * 0.01, 1)


def answer(text: str, monkeypatch, **options: object) -> str:
    """Ask on a terminal where somebody types `text`; what was shown there."""
    leader, follower = pty.openpty()
    shown = io.StringIO()
    with open(follower, closefd=True) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stderr", shown)
        os.write(leader, text.encode())
        try:
            ask("Overwrite all of /dev/sdb?", yes=False, **options)  # type: ignore[arg-type]
        finally:
            os.close(leader)
    return shown.getvalue()


@pytest.mark.parametrize("text", ["y\n", "Y\n", "yes\n", " YES \n"])
def test_agreed(text, monkeypatch):
    """y or yes is an agreement; the question stood on standard error."""
    assert answer(text, monkeypatch) == "Overwrite all of /dev/sdb? [y/N] "


@pytest.mark.parametrize("text", ["n\n", "\n", "no\n", "yep\n", "\x04"])
def test_not_agreed(text, monkeypatch):
    """Anything else, Enter and the end of input too, is none."""
    with pytest.raises(Refused, match="did not agree"):
        answer(text, monkeypatch)


def test_not_asked(monkeypatch):
    """With yes nobody is asked, terminal or not."""
    monkeypatch.setattr(sys, "stdin", None)
    ask("Overwrite?", yes=True)


@pytest.mark.parametrize("stdin", [None, io.StringIO("y\n")])
def test_no_terminal(stdin, monkeypatch):
    """Without a terminal nothing is read as an agreement."""
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(Refused, match=r"no terminal.*--yes") as caught:
        ask("Overwrite?", yes=False)
    assert caught.value.exit_code == 4


def test_image_on_standard_input(monkeypatch):
    """Bytes of the image are never read as an answer, though it is a terminal."""
    with pytest.raises(Refused, match=r"standard input is the image.*--yes"):
        answer("y\n", monkeypatch, stdin_is_data=True)


def test_print_json(capsys):
    """A document is one line on standard output, whatever characters are in it."""
    print_json({"name": "x\udcff", "size": 1})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "x\udcff", "size": 1}
    assert (out.count("\n"), err) == (1, "")


def test_say_undecodable_names(capsysbinary):
    """A file name that is no UTF-8 does not break the output."""
    say("x\udcff")
    assert capsysbinary.readouterr().out == "x\ufffd\n".encode()


def test_progress_quiet_or_without_stderr(monkeypatch):
    """Nothing is shown when quiet, or when standard error is closed."""
    with progress(True) as show:
        assert show is None
    monkeypatch.setattr(sys, "stderr", None)
    with progress(False) as show:
        assert show is None


@pytest.mark.parametrize(("term", "kind"), [("xterm", "Bar"), ("", "Bar"), ("dumb", "Lines")])
def test_progress_on_a_terminal(term, kind, monkeypatch):
    """A terminal gets a bar, unless it says that it cannot move its cursor."""
    leader, follower = pty.openpty()
    drain = threading.Thread(target=os.read, args=(leader, 100))
    with open(follower, "w", closefd=True) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", term)
        with progress(False) as show:
            assert type(show).__name__ == kind
        drain.start()
        terminal.write("x")
    drain.join()
    os.close(leader)


def test_progress_elsewhere(capsys):
    """A pipe or a file gets lines."""
    with progress(False) as show:
        assert type(show).__name__ == "Lines"
