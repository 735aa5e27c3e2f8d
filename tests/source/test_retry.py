"""When something is tried again, and when a server wants it to be."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from hupfast.errors import SourceError
from hupfast.source.retry import Attempts, Temporary, retry_after
from hupfast.source.transport import Transport


def test_progress_starts_the_count_again(clock):
    """Failures with something new between them never add up."""
    attempts = Attempts(clock.transport(retries=1))
    for _ in range(50):
        attempts.failed(Temporary("broken"))
        attempts.progress()
    assert clock.slept == [0.5] * 50


def test_waits_are_random():
    """Boards that fail together do not come back together."""
    waits = []
    attempts = Attempts(Transport(retries=100, sleep=waits.append))
    for _ in range(100):
        attempts.failed(Temporary("broken"))
    assert all(0 <= wait <= 30 for wait in waits)
    assert len(set(waits)) > 90
    assert max(waits[10:]) > 15 > min(waits[10:])


def test_run_returns_what_comes_in_the_end(clock):
    """A call is repeated until it does not fail."""
    results = [Temporary("one"), Temporary("two"), "done"]

    def call() -> str:
        result = results.pop(0)
        if isinstance(result, Temporary):
            raise result
        return result

    assert Attempts(clock.transport()).run(call) == "done"
    assert clock.slept == [0.5, 1]


def test_run_gives_up(clock):
    """What comes out at last is a plain SourceError, which tells how often it was tried."""

    def call() -> None:
        raise Temporary("it is broken", errno=5)

    with pytest.raises(SourceError, match=r"it is broken \(3 tries\); run the same command again") as caught:
        Attempts(clock.transport(retries=2)).run(call)
    assert (type(caught.value), caught.value.errno) == (SourceError, 5)


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), ("0", 0), (" 120 ", 120), ("soon", None), ("-1", None), ("9" * 99, 999999999)]
)
def test_retry_after_seconds(value, seconds):
    """Retry-After as a number; nonsense is none."""
    assert retry_after(value) == seconds


@pytest.mark.parametrize("ahead", [100, -100])
def test_retry_after_date(ahead):
    """Retry-After as a date; one that is over is now."""
    date = datetime.now(UTC) + timedelta(seconds=ahead)
    assert retry_after(format_datetime(date, usegmt=True)) == pytest.approx(max(ahead, 0), abs=3)
