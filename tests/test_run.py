"""A run of the engine: what is refused, and statuses that become exceptions."""

import pytest

from hupfast import errors
from hupfast.run import Range, Run


def test_errors_carry_what_the_engine_knows(tmp_path):
    """A failed system call comes out with its errno, its text and the path."""
    with pytest.raises(errors.TargetError, match=r"none cannot be opened: No such file") as caught:
        Run("write", tmp_path / "none")
    assert caught.value.errno == 2
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "bad",
    [{"block": 65536 * 3}, {"block": 1024}, {"depth": 33}, {"memory": 0}, {"ranges": [Range(0, 0)]}],
)
def test_wrong_settings_are_refused(bad, tmp_path):
    """Settings that make no sense are a UsageError before the target is opened."""
    with pytest.raises(errors.UsageError):
        Run("write", tmp_path / "none", **bad)


def test_closed_run_is_an_error_not_a_crash(tmp_path):
    """Using a run after it was closed raises; closing twice does nothing."""
    target = tmp_path / "target"
    target.write_bytes(bytes(4096))
    run = Run("write", target)
    run.close()
    run.close()
    with pytest.raises(errors.UsageError, match="closed"):
        run.acquire()
