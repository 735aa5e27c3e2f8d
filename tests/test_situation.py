"""Every combination of journal, bootloader and running slot has its one meaning."""

import itertools

import pytest

from hupfast.bootloaders import BootState
from hupfast.journal import STAGES, State, Transaction
from hupfast.situation import judge

IDLE_A = BootState("a", None, 0, None)
IDLE_B = BootState("b", None, 0, None)
TRIAL = BootState("a", "b", 2, None)
FAILED = BootState("a", None, 0, "b")


def update(stage: str, health: str = "") -> State:
    """An update from slot a to slot b, begun in the boot "one"."""
    return State(transaction=Transaction("os", "2", "11", "b", "a", stage, "one", health))


@pytest.mark.parametrize(
    ("state", "boot", "running", "boot_id", "kind"),
    [
        (State(), IDLE_A, "a", "one", "idle"),
        (State(), IDLE_B, "a", "one", "idle"),
        (State(), TRIAL, "a", "one", "pending"),
        (State(), TRIAL, "b", "two", "trial"),
        *[(update(stage), IDLE_A, "a", boot, "interrupted") for stage in STAGES[:5] for boot in ("one", "two")],
        (update("boot"), TRIAL, "a", "one", "pending"),
        (update("boot"), TRIAL, "b", "two", "trial"),
        (update("boot"), FAILED, "a", "two", "fell back"),
        (update("switched"), TRIAL, "a", "one", "pending"),
        (update("switched"), TRIAL, "b", "two", "trial"),
        (update("switched"), BootState("a", "b", 0, None), "b", "two", "trial"),
        (update("switched"), FAILED, "a", "two", "fell back"),
        (update("switched"), IDLE_A, "a", "two", "fell back"),
        (update("switched"), IDLE_A, "a", "one", "called off"),
        (update("switched"), IDLE_A, "a", "", "called off"),
        (update("switched"), IDLE_A, "b", "two", "called off"),
        (update("switched"), IDLE_B, "b", "two", "confirmed"),
        (update("boot"), IDLE_B, "b", "two", "confirmed"),
        (update("image"), FAILED, "a", "one", "interrupted"),
    ],
)
def test_each_moment_has_its_name(state: State, boot: BootState, running: str, boot_id: str, kind: str) -> None:
    """The table of moments, cut-off ones included."""
    assert judge(state, boot, running, boot_id).kind == kind


def test_a_fallback_has_its_reason() -> None:
    """The slots are named, and the last failed health check."""
    assert "slot b was tried" in judge(update("switched"), FAILED, "a", "two").reason
    assert "10-net failed" in judge(update("switched", "10-net failed"), FAILED, "a", "two").reason


def test_what_is_on_trial_is_never_taken_for_permanent() -> None:
    """
    Over all combinations: "confirmed" needs the target as default, "trial" and "pending" need the trial.
    """
    states = [State(), *map(update, STAGES)]
    boots = [BootState(d, t, 1 if t else 0, f) for d in "ab" for t in (None, "a", "b") for f in (None, "a", "b")]
    for state, boot, running, boot_id in itertools.product(states, boots, "ab", ("", "one", "two")):
        kind = judge(state, boot, running, boot_id).kind
        if kind == "confirmed":
            assert (boot.default, boot.trial, running) == ("b", None, "b")
        if kind in ("trial", "pending"):
            assert boot.trial is not None
            assert (boot.trial == running) == (kind == "trial")
        if kind == "interrupted":
            assert boot.trial is None
            assert running == "a"
