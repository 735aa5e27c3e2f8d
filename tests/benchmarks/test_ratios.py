"""benchmarks/ratios.py: which stages are slower, by more than the noise."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ratios import Session, Stage, Timing, judge, session, table

NAME = "benchmarks/test_digest.py::test_sha256[1]"


def rounds(*seconds: float, name: str = NAME, group: str = "processor: sha-256") -> list[Session]:
    """One stage, in as many rounds as there are times."""
    return [{name: Timing(group, each)} for each in seconds]


def around(seconds: float, noise: float, count: int = 8, seed: int = 1) -> list[float]:
    """Times with a relative deviation."""
    chaos = random.Random(seed)
    return [seconds * chaos.gauss(1, noise) for _ in range(count)]


def only(stages: Sequence[Stage]) -> Stage:
    """The one stage that there is."""
    [stage] = stages
    return stage


def test_twice_the_time_is_slower() -> None:
    """And the table says so, in the line of this stage."""
    stages = judge(rounds(*around(1, 0.02)), rounds(*around(2, 0.02, seed=2)))

    assert only(stages).change == "slower"
    assert only(stages).ratio == pytest.approx(2, rel=0.05)
    lines = list(table(stages))
    assert lines[1] == "processor: sha-256"
    assert lines[2].split()[0] == "sha256[1]"
    assert lines[2].endswith("slower")


def test_half_the_time_is_faster() -> None:
    """The other way round."""
    assert only(judge(rounds(*around(2, 0.02)), rounds(*around(1, 0.02, seed=2)))).change == "faster"


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=9))
def test_the_same_times_are_the_same(seconds: list[float]) -> None:
    """Whatever they are."""
    stage = only(judge(rounds(*seconds), rounds(*seconds)))

    assert (stage.change, stage.ratio) == ("same", 1)


def test_the_threshold_is_a_share_of_the_time() -> None:
    """What is certain but small does not count."""
    base, now = rounds(*around(1, 0.001)), rounds(*around(1.08, 0.001, seed=2))

    assert only(judge(base, now, 0.05)).change == "slower"
    assert only(judge(base, now, 0.10)).change == "same"


def test_a_difference_within_the_noise_is_none() -> None:
    """A median that is far above the threshold, of times that go up and down by more."""
    stage = only(judge(rounds(*around(1, 0.3)), rounds(*around(1.1, 0.3, seed=2))))

    assert stage.change == "same"
    assert stage.noise > 0.1


def test_rounds_that_were_disturbed_do_not_matter() -> None:
    """Half of them took three times as long, in both; a difference of a fifth is seen all the same."""
    base = [each * (3 if number % 2 else 1) for number, each in enumerate(around(1, 0.01))]
    now = [each * (3 if number % 2 else 1) for number, each in enumerate(around(1.2, 0.01, seed=2))]

    stage = only(judge(rounds(*base), rounds(*now)))

    assert stage.change == "slower"
    assert stage.noise < 0.1


def test_one_stage_is_not_taken_for_exact_in_a_noisy_family() -> None:
    """Its own few rounds lie close together, by chance; those of nine others do not."""
    exact = {"medium: write": ("a", [1.0] * 4, [1.2] * 4)}
    base: list[dict[str, Timing]] = [{} for _ in range(4)]
    now: list[dict[str, Timing]] = [{} for _ in range(4)]
    noisy = {f"n{i}": (around(1, 0.15, 4, seed=i), around(1, 0.15, 4, seed=i + 50)) for i in range(9)}
    for group, (name, old, new) in exact.items():
        for number in range(4):
            base[number][name] = Timing(group, old[number])
            now[number][name] = Timing(group, new[number])
    alone = next(stage for stage in judge(base, now) if stage.name == "a")
    for name, (old_times, new_times) in noisy.items():
        for number in range(4):
            base[number][name] = Timing("medium: write", old_times[number])
            now[number][name] = Timing("medium: write", new_times[number])

    beside = next(stage for stage in judge(base, now) if stage.name == "a")

    assert (alone.change, beside.change) == ("slower", "same")


def test_families_do_not_share_their_noise() -> None:
    """A processor is exact, however a medium behaves."""
    base, now = rounds(*around(1, 0.01)), rounds(*around(1.2, 0.01, seed=2))
    medium = [rounds(*around(1, 0.5, seed=seed), name="m", group="medium: write") for seed in (3, 4)]

    stages = judge(
        [{**a, **b} for a, b in zip(base, medium[0], strict=True)],
        [{**a, **b} for a, b in zip(now, medium[1], strict=True)],
    )

    assert [(stage.group, stage.change) for stage in stages] == [
        ("medium: write", "same"),
        ("processor: sha-256", "slower"),
    ]


def test_what_base_cannot_run_is_told() -> None:
    """It has no ratio, and is not slower."""
    stages = judge([{}, {}], rounds(1, 2))

    assert only(stages).change == "not there in BASE"
    assert only(stages).now == 1
    assert list(table(stages))[-1].endswith("not there in BASE")


def test_rounds_that_one_side_lacks_are_left_out() -> None:
    """A stage that failed now and then is judged by the others."""
    base, now = rounds(*[1.0] * 8), rounds(*[2.0] * 8)
    base[0] = {}

    stage = only(judge(base, now))

    assert (stage.change, stage.rounds) == ("slower", 7)


def test_chance_gives_few_false_alarms() -> None:
    """A hundred comparisons of fifty stages that are the same, some of them noisier than others."""
    chaos, alarms = random.Random(7), 0
    for _ in range(100):
        noise = [0.02 * chaos.lognormvariate(0, 0.9) for _ in range(50)]
        base, now = (
            [
                {f"s{i}": Timing("processor: x", chaos.lognormvariate(0, each)) for i, each in enumerate(noise)}
                for _ in range(8)
            ]
            for _ in range(2)
        )
        alarms += any(stage.change == "slower" for stage in judge(base, now))

    assert alarms <= 10


def test_the_second_of_eight_rounds_counts() -> None:
    """The low end, but not the smallest."""
    stage = only(judge(rounds(8, 1, 3, 2, 9, 7, 6, 5), rounds(*[4] * 8)))

    assert (stage.base, stage.now, stage.ratio) == (2, 4, pytest.approx(2))


def test_the_smallest_time_of_a_session_counts() -> None:
    """Of what pytest-benchmark has written."""
    stats = {"min": 0.5, "median": 1.0, "data": [0.5, 1.0, 1.5]}
    document = {"benchmarks": [{"fullname": "f::t", "group": None, "stats": stats}]}

    assert session(document) == {"f::t": Timing("other", 0.5)}
