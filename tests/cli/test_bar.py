"""Progress: true figures, lines that fit, and silence when nobody listens."""

import io
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.cli import bar
from hupfast.cli.bar import Bar, Lines, Meter, bar_line, clock, end_line, log_line

MIB = 2**20


@dataclass
class Now:
    """What hupfast.run.Progress has."""

    phase: str
    done: int
    total: int | None
    bytes_in: int = 0


class Origin:
    format = "auto"
    size = 1000
    taken = 0

    @property
    def origin(self) -> "Origin":
        return self


@pytest.fixture
def time(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(bar, "time", clock)
    return clock


class Screen(io.StringIO):
    """A terminal of one size, which knows what can be read on it."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def fileno(self) -> int:
        return 1000 + self.columns

    @property
    def rows(self) -> list[str]:
        rows = [""]
        for part in self.getvalue().replace("\r", "\0\r").replace("\n", "\0\n").split("\0"):
            if part.startswith("\n"):
                rows.append("")
            text = part.lstrip("\r\n")
            rows[-1] = text + rows[-1][len(text) :]
        return [row.rstrip() for row in rows]


@pytest.fixture
def screen(monkeypatch):
    class Size:
        def __init__(self, columns: int) -> None:
            self.columns = columns

    monkeypatch.setattr(bar.os, "get_terminal_size", lambda fd: Size(fd - 1000))
    return Screen


def run(show, time, phases, *, step=0.5, total=100 * MIB, pieces=10):
    """Drive a display through phases as the engine does, at an even pace."""
    for phase in phases:
        for piece in range(pieces + 1):
            show(Now(phase, total * piece // pieces, total))
            time.now += step
    show(Now("done", total, total))


def test_figures(time):
    """Percent, rate of the last seconds and time left follow from the bytes."""
    meter = Meter()
    meter.feed(Now("write", 0, 1000 * MIB))
    assert (meter.percent, meter.rate, meter.left) == (0, 0.0, None)
    for second in range(1, 21):
        time.now += 1
        meter.feed(Now("write", (10 if second <= 10 else 100 + 20 * (second - 10)) * MIB, 1000 * MIB))

    assert meter.percent == 30
    assert meter.rate == 20 * MIB
    assert meter.left == 35.0
    assert meter.elapsed == 20.0


def test_new_phase_starts_at_once(time):
    """The rate of one phase does not leak into the next."""
    meter = Meter()
    meter.feed(Now("write", 0, 100))
    time.now += 1
    meter.feed(Now("write", 100, 100))
    meter.feed(Now("verify", 0, 100))
    assert (meter.rate, meter.elapsed, meter.percent) == (0.0, 0.0, 0)


@settings(deadline=None)
@given(done=st.integers(0, 2**40), total=st.integers(1, 2**40))
def test_never_100_before_the_end(done, total):
    """100% is shown when all is done, and not before."""
    meter = Meter()
    meter.feed(Now("write", min(done, total), total))
    assert (meter.percent == 100) == (done >= total)


def test_percent_by_input(time):
    """While the raw size is unknown, the input tells the percentage, which stays below 100."""
    source = Origin()
    meter = Meter(source)
    meter.feed(Now("write", 10, None, 0))
    time.now += 3
    meter.feed(Now("write", 5000, None, 300))
    assert meter.percent == 30
    assert meter.left == pytest.approx(7.0)
    meter.feed(Now("write", 9000, None, 1000))
    assert meter.percent == 99

    source.format, source.taken = "raw", 500  # gzip: what the engine took is not what was read
    assert meter.percent == 50
    assert Meter().percent is None


def test_bar_on_80_columns(time):
    """A bar has phase, percent, bytes, rate and time left."""
    meter = Meter()
    meter.feed(Now("write", 0, 1024 * MIB))
    time.now += 2
    meter.feed(Now("write", 430 * MIB, 1024 * MIB))
    line = bar_line(meter, 79)
    assert line == "write    41% [######          ]   430 MiB of 1.00 GiB   215 MiB/s     0:03 left"
    assert len(line) == 79
    assert bar_line(meter, 39) == "write    41%   215 MiB/s     0:03 left"


@settings(deadline=None)
@given(
    width=st.integers(1, 200),
    done=st.integers(0, 2**45),
    total=st.none() | st.integers(0, 2**45),
    seconds=st.floats(0.001, 1e6),
    phase=st.sampled_from(["write", "flush", "verify", "check", "pack", "compare"]),
)
def test_bar_fits(width, done, total, seconds, phase):
    """No bar is wider than the terminal, whatever it shows."""
    meter = Meter(names={"verify": "compare"})
    meter.feed(Now(phase, 0, total))
    meter.started -= seconds
    meter._samples[0] = (meter._samples[0][0] - min(seconds, 4), 0)
    meter.feed(Now(phase, done if total is None else min(done, total), total))
    assert len(bar_line(meter, width)) <= width
    assert len(end_line(meter, width)) <= width
    assert "\n" not in log_line(meter)


@pytest.mark.parametrize("columns", [80, 40])
def test_screen_after_a_run(columns, time, screen):
    """Each phase leaves one line that says what it came to; the flush leaves none, nor do old bars."""
    screen = screen(columns)
    show = Bar(screen, Meter())
    run(show, time, ["write", "flush", "verify"])
    show.close()

    assert screen.rows == [
        "write   100%  100 MiB in 5.5 s" + (", 18.2 MiB/s" if columns == 80 else ""),
        "verify  100%  100 MiB in 5.5 s" + (", 18.2 MiB/s" if columns == 80 else ""),
        "",
    ]


def test_screen_in_the_middle(time, screen):
    """The bar of the moment stands on the last row; close leaves it, and goes to the next one."""
    screen = screen(80)
    show = Bar(screen, Meter())
    show(Now("write", 0, 100))
    time.now += 1
    show(Now("write", 50, 100))
    assert screen.rows[-1].startswith("write    50% [#######")

    show.close()
    show.close()
    assert len(screen.rows) == 2
    assert screen.rows[1] == ""


def test_flush_shows_how_long_it_takes(time, screen):
    """A flush has no bytes, but its time."""
    screen = screen(80)
    show = Bar(screen, Meter())
    show(Now("write", 100, 100))
    show(Now("flush", 100, 100))
    time.now += 75
    show(Now("flush", 100, 100))
    assert screen.rows[-1] == "flush    waiting for the medium, 1:15"


def test_bar_is_not_drawn_too_often(time, screen):
    """Ten times a second is enough."""
    screen = screen(80)
    show = Bar(screen, Meter())
    for done in range(1000):
        show(Now("write", done, 1000))
        time.now += 0.001
    assert screen.getvalue().count("\r") <= 11


def test_terminal_without_a_size(time):
    """A stream that is no terminal, or a serial console that knows no size, is taken to have 80 columns."""
    stream = io.StringIO()
    show = Bar(stream, Meter())
    show(Now("write", 1, 100))
    assert len(stream.getvalue()) <= 80


def test_lines_for_every_tenth(time):
    """A log gets a line for each tenth, and one for the end of each phase."""
    stream = io.StringIO()
    show = Lines(stream, Meter(names={"verify": "compare"}))
    run(show, time, ["write", "flush", "verify"], step=0.05, pieces=1000)
    show.close()

    lines = stream.getvalue().splitlines()
    percents = [line.split(":")[0] for line in lines if ":" in line and "flush" not in line]
    assert percents[:9] == [f"write {n}%" for n in range(10, 100, 10)]
    assert percents[9:] == [f"compare {n}%" for n in range(10, 100, 10)]
    assert [line for line in lines if "100%" in line] == [
        "write   100%  100 MiB in 50.1 s, 2.00 MiB/s",
        "compare 100%  100 MiB in 50.1 s, 2.00 MiB/s",
    ]


def test_lines_every_ten_seconds(time):
    """A slow run says every ten seconds that it lives, also when its size is unknown."""
    stream = io.StringIO()
    show = Lines(stream, Meter())
    for _ in range(305):
        show(Now("write", 7 * MIB, None))
        time.now += 0.1
    assert stream.getvalue().splitlines() == ["write: 7.00 MiB, 0 B/s"] * 3


@pytest.mark.parametrize("kind", [Bar, Lines])
def test_nobody_listens(kind, time):
    """A stream that fails is written to once, and the work goes on."""

    class Broken(io.StringIO):
        tries = 0

        def write(self, text: str) -> int:
            self.tries += 1
            raise BrokenPipeError(32, "Broken pipe")

    stream = Broken()
    show = kind(stream, Meter())
    run(show, time, ["write", "verify"])
    show.close()
    assert stream.tries == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (4.6, "0:05"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (1e9, "99:59:59")],
)
def test_clock(seconds, text):
    """Times are minutes and seconds, with hours where there are any."""
    assert clock(seconds) == text
