"""`hupfast bench compare`: what is slower is found, noise is not, and the exit code says which."""

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from bench import samples
from bench.samples import EMMC, KIB, MIB, PC, PI, run
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from hupfast.bench.compare import Comparison, compare, items
from hupfast.bench.document import Document, parse
from hupfast.cli import main

rates = st.floats(1e5, 1e10)


def document(runs: Sequence[dict[str, Any]], **parts: Any) -> Document:
    """A document of these runs and nothing else, but for parts."""
    empty = {"sustained": None, "stages": [], "pipeline": None}
    return parse(json.dumps({**_WHOLE, **empty, "runs": list(runs), **parts}), "made up")


_WHOLE = samples.document(blocks=(64 * KIB, MIB), depths=(1, 4))


def noisy(seed: int, noise: float, *, rounds: int = 3, count: int = 40, slow: int | None = None) -> Document:
    """`count` runs with normal noise; the one with the number `slow` is 20% slower."""
    chance = random.Random(seed)
    return document(
        [
            run([5e7 * chance.gauss(1, noise) * (0.8 if n == slow else 1) for _ in range(rounds)], block=(n + 1) * KIB)
            for n in range(count)
        ]
    )


def labels(found: Comparison, change: str) -> list[str]:
    return [one.label for one in found.changed(change)]


# ---- statistics ----


@given(st.lists(st.lists(rates, min_size=1, max_size=6), max_size=6))
def test_a_document_is_as_fast_as_itself(runs):
    """Whatever its spread is."""
    one = document([run(values, block=(n + 1) * KIB) for n, values in enumerate(runs)])
    found = compare(one, one, 0.0)
    assert len(found.differences) == len(runs)
    assert {difference.change for difference in found.differences} <= {"same"}
    assert (found.only_old, found.only_new) == ((), ())


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 39), st.sampled_from([3, 5]), st.floats(0.001, 0.02))
def test_a_slow_run_is_found(seed, slow, rounds, noise):
    """20% slower with a spread of up to 2%, among 40 runs: found always, and it is the worst."""
    found = compare(noisy(seed, noise, rounds=rounds), noisy(seed + 1, noise, rounds=rounds, slow=slow))
    assert labels(found, "slower")[:1] == [f"write, threads, {slow + 1} KiB x 4"]
    assert found.differences[0].ratio == pytest.approx(0.8, abs=0.08)


def test_noise_is_not_found():
    """Noise of 3% in three rounds: of 40 comparisons of 40 runs each, two at most say that something has changed."""
    alarms = 0
    for seed in range(40):
        found = compare(noisy(2 * seed, 0.03), noisy(2 * seed + 1, 0.03))
        alarms += any(one.change != "same" for one in found.differences)
    assert alarms <= 2


def test_stalls_are_not_found():
    """A medium that loses 15% of its speed in one round of seven: of 20 comparisons, one at most tells of a change."""

    def stalling(seed: int) -> Document:
        chance = random.Random(seed)
        speeds = [[5e7 * chance.gauss(1, 0.01) * chance.choice([1] * 6 + [0.85]) for _ in range(3)] for _ in range(40)]
        return document([run(values, block=(n + 1) * KIB) for n, values in enumerate(speeds)])

    pairs = [compare(stalling(2 * seed), stalling(2 * seed + 1)) for seed in range(20)]
    assert sum(any(one.change != "same" for one in found.differences) for found in pairs) <= 1


def test_noise_of_its_own():
    """A run that was noisy itself is not found among quiet ones, and a quiet one with the same medians is."""
    quiet = [run([5e7, 5.01e7, 4.99e7], block=(n + 1) * KIB) for n in range(9)]
    before = document([*quiet, run([5e7, 5.01e7, 4.99e7], block=MIB), run([5e7, 7e7, 3e7], block=2 * MIB)])
    after = document([*quiet, run([4e7, 4.01e7, 3.99e7], block=MIB), run([4e7, 6e7, 2e7], block=2 * MIB)])
    assert labels(compare(before, after), "slower") == ["write, threads, 1 MiB x 4"]


def test_close_rounds_are_no_proof():
    """Rounds that are close by chance, among runs that are not: the noise of the others counts for them too."""
    others = [run([5e7, 5.5e7, 4.5e7], block=(n + 1) * KIB) for n in range(9)]
    before, after = (document([*others, run([rate] * 3, block=MIB)]) for rate in (5e7, 4.5e7))
    assert labels(compare(before, after), "slower") == []


def test_one_round_each():
    """Nothing was measured twice: 20% may be noise, a third of the speed is not; and it is said."""
    base = document([run([9e7])])
    found = compare(base, document([run([7.2e7])]))
    assert labels(found, "slower") == []
    assert any("10%" in remark for remark in found.remarks)
    assert labels(compare(base, document([run([3e7])])), "slower") == ["write, threads, 1 MiB x 4"]


@given(rates, st.floats(0.01, 0.9))
def test_the_threshold_is_kept(rate, threshold):
    """Without noise: slower by more than the threshold is told, by less is not."""
    for factor, expected in ((1 - threshold * 1.01, "slower"), (1 - threshold * 0.99, "same"),
                             (1 + threshold * 1.01, "faster"), (1 + threshold * 0.99, "same")):  # fmt: skip
        found = compare(document([run([rate] * 3)]), document([run([rate * factor] * 3)]), threshold)
        assert [one.change for one in found.differences] == [expected]


@given(st.lists(rates, min_size=3, max_size=3), st.lists(rates, min_size=3, max_size=3))
def test_the_other_way_round(first, second):
    """What is slower one way is faster the other way, with the inverse ratio."""
    one, other = document([run(first)]), document([run(second)])
    there, back = (compare(*pair, 0.0).differences[0] for pair in ((one, other), (other, one)))
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert {there.change, back.change} in ({"same"}, {"slower", "faster"})


def test_worst_first():
    """Slower ones from the worst on, faster ones from the best on."""
    before = document([run([5e7] * 3, block=(n + 1) * KIB) for n in range(4)])
    after = document([run([speed] * 3, block=(n + 1) * KIB) for n, speed in enumerate((4e7, 2e7, 6e7, 9e7))])
    found = compare(before, after)
    assert labels(found, "slower") == ["write, threads, 2 KiB x 4", "write, threads, 1 KiB x 4"]
    assert labels(found, "faster") == ["write, threads, 4 KiB x 4", "write, threads, 3 KiB x 4"]


# ---- what is compared ----


def test_only_what_is_measured_the_same_way():
    """Another operation, method, block, depth or flush is another run."""
    ways = [{}, {"operation": "read"}, {"method": "io_uring"}, {"block": KIB}, {"depth": 1}, {"flush_every": 16 * MIB}]
    found = compare(document([run([5e7] * 3, **way) for way in ways]), document([run([5e7] * 3)]))
    assert [one.label for one in found.differences] == ["write, threads, 1 MiB x 4"]
    assert len(found.only_old) == 5
    assert "write, threads, 1 MiB x 4, flushed every 16 MiB" in found.only_old
    assert found.only_new == ()


def test_stages_sustained_and_pipeline():
    """They are compared too; of seconds, more is slower."""
    slow = copy.deepcopy(_WHOLE)
    slow["pipeline"]["seconds"]["rounds"] = [2 * value for value in slow["pipeline"]["seconds"]["rounds"]]
    slow["sustained"]["sustained_rate"] /= 2
    slow["stages"][0]["rounds"] = [value / 2 for value in slow["stages"][0]["rounds"]]
    before, after = (parse(json.dumps(value), "x") for value in (_WHOLE, slow))
    found = labels(compare(before, after), "slower")
    assert {label.split(",")[0] for label in found} == {"whole update", "sustained write", "decompress"}
    assert compare(before, after).differences[0].ratio == pytest.approx(0.5)


def test_labels_are_unique():
    """No two measurements of a document have the same label."""
    found = [item.label for item in items(parse(json.dumps(samples.document()), "x"))]
    assert len(found) == len(set(found)) > 100


def test_what_nothing_can_be_is_left_out():
    """A rate of zero, as of a run without an operation, is not compared."""
    broken = copy.deepcopy(_WHOLE["runs"][0])
    for item in broken["rounds"]:
        item["bytes"] = 0
    assert compare(document([broken]), document([broken])).differences == ()


@pytest.mark.parametrize(
    ("part", "name", "value", "remark"),
    [
        ("board", "kernel", "6.12.1", "board kernel differs: 6.6.51-v8+ and 6.12.1"),
        ("board", "model", None, "board model differs"),
        ("storage", "serial", "0x1", "storage serial differs"),
        ("settings", "rounds", 9, "settings rounds differs: 3 and 9"),
        ("noise", "throttled", True, "the new one was throttled"),
        ("noise", "remarks", ["a compiler ran"], "of the new one: a compiler ran"),
    ],
)
def test_remarks(part, name, value, remark):
    """What makes a comparison doubtful is said."""
    changed = copy.deepcopy(_WHOLE)
    changed[part][name] = value
    before, after = (parse(json.dumps(one), "x") for one in (_WHOLE, changed))
    assert [one for one in compare(before, after).remarks if one.startswith(remark)]
    assert compare(before, before).remarks == ()


def test_another_board():
    """The generator's own boards differ as boards do: the faster processor is seen, the same medium is not."""
    before, after = (parse(json.dumps(samples.document(EMMC, board, seed=n)), "x") for n, board in enumerate((PI, PC)))
    found = compare(before, after)
    assert not [label for label in labels(found, "faster") if label.startswith(("write", "read", "zero"))]
    assert len([label for label in labels(found, "faster") if label.startswith("decompress")]) == 12


# ---- the command ----


def command(*argv: object) -> Result:
    """`hupfast bench ...`, without a terminal."""
    result = CliRunner().invoke(main, ["bench", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def files(tmp_path):
    """A document, and one in which a run is slower by half and another one is missing."""
    slow = copy.deepcopy(_WHOLE)
    slow["runs"][0] = run([2e7, 2.01e7, 1.99e7], block=64 * KIB, depth=1)
    del slow["runs"][1]
    paths = tmp_path / "old.json", tmp_path / "new.json"
    for path, value in zip(paths, (_WHOLE, slow), strict=True):
        path.write_text(json.dumps(value))
    return paths


def test_nothing_is_slower(files):
    """Exit code 0, and a line that says so."""
    result = command("compare", files[0], files[0])
    assert result.exit_code == 0
    count = len(list(items(parse(json.dumps(_WHOLE), "x"))))
    assert result.stdout.split("\n")[1] == f"{count} of {count} measurements differ by no more than the noise or 5%."


def test_something_is_slower(files):
    """Exit code 1, both medians, and what is missing."""
    result = command("compare", *files)
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("write, threads, 64 KiB x 1 ")]
    assert " 20.00 ±" in line
    assert line.endswith("%")
    assert "slower (1)" in result.stdout
    assert "faster" not in result.stdout
    assert f"Only in {files[0]}:\n  write, threads, 64 KiB x 4\n" in result.stdout


def test_faster_is_no_failure(files):
    """The other way round the exit code is 0."""
    result = command("compare", *files[::-1])
    assert result.exit_code == 0
    assert "faster (1)" in result.stdout


@pytest.mark.parametrize(("threshold", "code"), [("80%", 0), ("1", 1), ("0%", 1), ("2.5 %", 1)])
def test_threshold(files, threshold, code):
    """The slower run has lost half of its speed."""
    assert command("compare", *files, "--threshold", threshold).exit_code == code


@pytest.mark.parametrize("threshold", ["100%", "-1", "nan", "a bit", ""])
def test_wrong_threshold(files, threshold):
    """Exit code 2."""
    result = command("compare", *files, f"--threshold={threshold}")
    assert result.exit_code == 2
    assert "no share" in result.stderr


def test_json(files):
    """One document, with the exit code, and all differences, the worst first."""
    result = command("compare", *files, "--json")
    found = json.loads(result.stdout)
    assert (found["ok"], found["exit_code"], result.exit_code) == (False, 1, 1)
    worst = found["differences"][0]
    assert (worst["label"], worst["change"], worst["rounds"]) == ("write, threads, 64 KiB x 1", "slower", [3, 3])
    assert found["only_old"] == ["write, threads, 64 KiB x 4"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, 2),
        (b"", 5),
        (b"\xff{}", 5),
        (b'{"format": "other"}', 5),
        (b'{"format": "hupfast-bench", "version": 2}', 5),
    ],
)
def test_no_document(files, tmp_path, content, code):
    """A missing file, what is no document, and a version that is not known; the name of the file is said."""
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_bytes(content)
    result = command("compare", files[0], path)
    assert result.exit_code == code
    assert "bad.json" in result.stderr


def test_other_settings(files):
    """Settings that differ are said: with another budget, the image is not written in the same way."""
    value = copy.deepcopy(_WHOLE)
    for path, memory in zip(files, (8 * MIB, 16 * MIB), strict=True):
        value["settings"]["memory"] = memory
        path.write_text(json.dumps(value))
    assert "remark      settings memory differs: 8388608 and 16777216\n" in command("compare", *files).stdout


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_nothing_in_common(files, more):
    """Documents that share no measurement are not as fast as one another: exit code 2, for who compares in CI."""
    other = {**_WHOLE, "sustained": None, "stages": [], "pipeline": None, "runs": [run([1e7], block=7 * KIB)]}
    files[1].write_text(json.dumps(other))
    result = command("compare", *files, *more)
    assert result.exit_code == 2
    assert "nothing that was measured in the same way" in result.output


def test_names_do_not_command_the_terminal(files):
    """A disk whose name has escape sequences in it is shown without them."""
    for path, name in zip(files, ("\x1b[2J", "\ud800\x07"), strict=True):
        value = copy.deepcopy(_WHOLE)
        value["storage"]["model"] = name
        value["runs"][0]["operation"] += name
        path.write_text(json.dumps(value))
    result = command("compare", *files)
    assert "?[2J" in result.stdout
    assert all(letter.isprintable() or letter == "\n" for letter in result.stdout)
