"""benchmarks/targets.py: which number is held against which bound, and what is said when there is none."""

from dataclasses import replace

import pytest

from benchmarks.contenders import BASELINE, PROBE_READ, PROBE_WRITE
from benchmarks.fetched import Fetch
from benchmarks.stats import Spread, Summary
from benchmarks.targets import Judge, Verdict

MIB = 1 << 20
SIZE = 1000


def summary(device: str, name: str, wall: float, **other: object) -> Summary:
    """A summary with these numbers, all else small and harmless."""
    value = Spread(wall, wall, wall)
    made = Summary(
        contender=name,
        device=device,
        runs=3,
        wall=value,
        cpu=value,
        machine=value,
        written=Spread(SIZE, SIZE, SIZE),
        resident=20 * MIB,
        tree=20 * MIB,
        anonymous=8 * MIB,
        cache=MIB,
        cache_warm=0,
        charged=9 * MIB,
        limit_hits=0,
        own=None,
        report={},
        failure="",
    )
    return replace(made, **other)  # type: ignore[arg-type]


def seconds(value: float) -> Spread:
    return Spread(value, value, value)


@pytest.fixture
def table() -> dict[tuple[str, str], Summary]:
    """Everything that is needed, every target met."""
    rows = [
        summary("fast", BASELINE, 1.0),
        summary("fast", "hupfast-zst", 1.1),
        summary("fast", "hupfast-chunked3", 0.8),
        summary("fast", "hupfast-zst-verify", 1.6),
        summary("fast", "hupfast-chunked3-verify", 1.3),
        summary("fast", "hupfast-zst@40", 1.12),
        summary("fast", "hupfast-chunked3@40", 0.82),
        summary("fast", PROBE_READ, 0.7, own=seconds(0.5)),
        summary("card", BASELINE, 1.2),
        summary("card", "hupfast-zst", 20.2, cpu=seconds(1.1)),
        summary("card", "hupfast-chunked3", 20.4, cpu=seconds(1.1)),
        summary("card", "hupfast-zst-verify", 41),
        summary("card", "hupfast-chunked3-verify", 41),
        summary("card", PROBE_READ, 21, own=seconds(20)),
        summary("card", PROBE_WRITE, 21, own=seconds(20)),
        summary("stream", "hupfast-file", 1.0),
        summary("stream", "hupfast-http", 1.05),
        summary("stream", "hupfast-file-verify", 2.0),
        summary("stream", "hupfast-http-verify", 2.1),
        summary("board", "hupfast-update-file", 2.0),
        summary("board", "hupfast-update-http", 2.1),
        summary("board", "hupfast-update-https", 3.0, resident=39 * MIB),
    ]
    return {(row.device, row.contender): row for row in rows}


@pytest.fixture
def fetches() -> list[Fetch]:
    """What updates fetched, every target met."""
    names = [f"changed-{how}-{slots}" for how in ("same", "longer") for slots in ("one", "both")]
    cut = [Fetch(name, "", bundle=1000, body=1005, sent=1015, requests=9) for name in ("cut", "cut-limited")]
    return cut + [Fetch(name, "", bundle=1000, body=600, sent=650, requests=3, told=500, taken=500) for name in names]


def verdict_of(judge: Judge, target: str) -> Verdict:
    """The only verdict whose target starts so."""
    [found] = [verdict for verdict in judge.verdicts() if verdict.goal.target.startswith(target)]
    return found


def test_all_met(table: dict[tuple[str, str], Summary], fetches: list[Fetch]) -> None:
    """With good numbers no target is missed, and none is left unmeasured."""
    verdicts = Judge(table, size=SIZE, fetches=fetches).verdicts()

    assert {verdict.state for verdict in verdicts} == {"met"}
    assert len(verdicts) == 37


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("fast device, ordinary .zst: wall", 1.1),
        ("fast device, chunked: wall", 0.8),
        ("fast device, zst: CPU", 1.1),
        ("fast device, zst: wall in 40 MiB", 1.12 / 1.1),
        ("fast device, zst: read-back", 1.0),  # (1.6 - 1.1) / 0.5
        ("card, zst: wall / ideal", 20.2 / 20),  # 1000 bytes at 1000 bytes in 20 s
        ("card, chunked3: read-back", 20.6 / 20),
        ("zst: peak memory", 20),
        ("zst: page cache grown", 1),
    ],
)
def test_the_right_numbers_are_divided(table: dict[tuple[str, str], Summary], target: str, value: float) -> None:
    """Each value, reckoned here by hand."""
    assert verdict_of(Judge(table, size=SIZE), target).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("key", "change", "target"),
    [
        (("fast", "hupfast-zst"), {"wall": seconds(1.16)}, "fast device, ordinary .zst: wall"),
        (("fast", "hupfast-chunked3"), {"wall": seconds(0.86)}, "fast device, chunked: wall"),
        (("fast", "hupfast-zst"), {"cpu": seconds(1.16)}, "fast device, zst: CPU"),
        (("fast", "hupfast-zst@40"), {"wall": seconds(1.2)}, "fast device, zst: wall in 40 MiB"),
        (("fast", "hupfast-zst-verify"), {"wall": seconds(1.7)}, "fast device, zst: read-back"),
        (("fast", "hupfast-zst"), {"resident": 33 * MIB}, "zst: peak memory"),
        (("fast", "hupfast-zst"), {"cache": 5 * MIB}, "zst: page cache grown"),
        (("card", "hupfast-zst"), {"wall": seconds(20.7)}, "card, zst: wall / ideal"),
        # half of it zeroes that were never written: then half of the time was enough
        (("card", "hupfast-zst"), {"written": seconds(SIZE / 2)}, "card, zst: wall / ideal"),
    ],
)
def test_missed(
    table: dict[tuple[str, str], Summary], key: tuple[str, str], change: dict[str, object], target: str
) -> None:
    """A number just over its bound misses its target."""
    table[key] = replace(table[key], **change)  # type: ignore[arg-type]

    assert verdict_of(Judge(table, size=SIZE), target).state == "missed"


def test_wrong_bytes_miss_every_target(table: dict[tuple[str, str], Summary]) -> None:
    """A fast run that wrote something else has met nothing."""
    key = ("fast", "hupfast-zst")
    table[key] = replace(table[key], failure="WRONG BYTES on the target")

    verdict = verdict_of(Judge(table, size=SIZE), "fast device, ordinary .zst: wall")

    assert verdict.state == "missed"
    assert "WRONG BYTES" in verdict.reason


def test_a_peer_that_fails_is_no_fault_of_hupfast(table: dict[tuple[str, str], Summary]) -> None:
    """Without the baseline a ratio is not measured, which is not the same as missed."""
    key = ("fast", BASELINE)
    table[key] = replace(table[key], failure="exit 1: no message")

    assert verdict_of(Judge(table, size=SIZE), "fast device, zst: CPU").state == "not measured"


def test_no_card(table: dict[tuple[str, str], Summary]) -> None:
    """Targets on a device that could not be had say why."""
    fast_only = {key: row for key, row in table.items() if key[0] == "fast"}

    verdict = verdict_of(Judge(fast_only, size=SIZE, devices={"card": "no nbdkit"}), "card, zst: CPU")

    assert (verdict.state, verdict.reason) == ("not measured", "no nbdkit")


def test_absent_contender_says_why(table: dict[tuple[str, str], Summary]) -> None:
    """The reason why a contender did not run comes through."""
    del table["fast", "hupfast-zst@40"]
    judge = Judge(table, size=SIZE, absent={"hupfast-zst@40": "no memory cgroup"})

    verdict = verdict_of(judge, "fast device, zst: wall in 40 MiB")

    assert (verdict.state, verdict.reason) == ("not measured", "no memory cgroup")


def test_what_the_user_left_out_is_not_judged(table: dict[tuple[str, str], Summary]) -> None:
    """Neither the targets of a contender, nor those that need it as a second."""
    judge = Judge(table, size=SIZE, excluded={"hupfast-zst-verify"})

    targets = [verdict.goal.target for verdict in judge.verdicts()]

    assert "zst: peak memory" in targets
    assert "zst-verify: peak memory" not in targets
    assert "fast device, zst: read-back adds / one read" not in targets


@pytest.mark.parametrize(
    ("name", "spoilt", "target"),
    [
        ("cut", {"sent": 1021}, "cut off at full speed"),
        ("cut-limited", {"sent": 1021}, "cut off at a limited rate"),
        ("changed-same-one", {"taken": 501}, "changed-same-one: image"),
        ("changed-same-one", {"taken": 499}, "changed-same-one: image"),
        ("changed-longer-both", {"body": 501 + 2**16}, "changed-longer-both: server"),
        ("cut", {"failure": "WRONG BYTES in the slot"}, "cut off at full speed"),
    ],
)
def test_what_is_fetched_in_vain(
    table: dict[tuple[str, str], Summary],
    fetches: list[Fetch],
    name: str,
    spoilt: dict[str, object],
    target: str,
) -> None:
    """More than is allowed, more or less than was told, or wrong bytes in the end: only that target is missed."""
    changed = [replace(each, **spoilt) if each.name == name else each for each in fetches]  # type: ignore[arg-type]

    judge = Judge(table, size=SIZE, fetches=changed)

    assert verdict_of(judge, target).state == "missed"
    assert [verdict.state for verdict in judge.verdicts()].count("met") == 36


@pytest.mark.parametrize(
    ("name", "spoilt", "target"),
    [
        ("hupfast-http-verify", {"wall": seconds(2.21)}, "write over http: wall"),
        ("hupfast-update-https", {"resident": 41 * MIB}, "update over https: peak memory"),
        ("hupfast-update-https", {"cache": 5 * MIB}, "update over https: page cache"),
    ],
)
def test_streams_that_cost_too_much(
    table: dict[tuple[str, str], Summary], name: str, spoilt: dict[str, object], target: str
) -> None:
    """Against the same from a file, or in memory."""
    key = ("board" if "update" in name else "stream", name)
    table[key] = replace(table[key], **spoilt)  # type: ignore[arg-type]

    assert verdict_of(Judge(table, size=SIZE), target).state == "missed"


def test_no_server(table: dict[tuple[str, str], Summary]) -> None:
    """Without one nothing is fetched, and it is told why."""
    judge = Judge(table, size=SIZE, no_fetches="nginx not installed")

    verdict = verdict_of(judge, "cut off at full speed")

    assert (verdict.state, verdict.reason) == ("not measured", "nginx not installed")
