"""The page of `hupfast bench report`: that it tells what the documents say, and nothing else gets into it."""

import copy
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import samples
from bench.pages import Drawing, Page
from bench.samples import EMMC, KIB, MIB, NVME, PC, PI, SD, Machine, Medium, run
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'hupfast[report]'")

from hupfast.bench.document import Sustained, parse
from hupfast.bench.panels import windows
from hupfast.bench.report import report_page
from hupfast.cli import main
from hupfast.errors import HupfastError

STYLE = Path(__file__).parents[2] / "hupfast" / "bench" / "style.css"


def small(medium: Medium = EMMC, machine: Machine = PI, **how: Any) -> dict[str, Any]:
    """A document with few runs."""
    return samples.document(medium, machine, blocks=(64 * KIB, 256 * KIB, MIB), depths=(1, 4), **how)


def page_of(*documents: dict[str, Any]) -> str:
    """The page of some documents."""
    parsed = [parse(json.dumps(document), "made up") for document in documents]
    return report_page(parsed, [f"{index}.json" for index in range(len(parsed))])


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return small()


@pytest.fixture(scope="module")
def page(document: dict[str, Any]) -> str:
    return page_of(document)


@pytest.fixture(scope="module")
def boards() -> list[dict[str, Any]]:
    return [lean(one) for one in (small(SD, throttled=True), small(), small(NVME, PC), small(EMMC, PC, seed=4))]


@pytest.fixture(scope="module")
def four(boards: list[dict[str, Any]]) -> str:
    return page_of(*boards)


# ---- drawings ----


def test_points_are_where_the_document_says(page, document):
    """Throughput: each point is at its block size and at its rate, read off the ticks."""
    drawing = Drawing(page, "at0")
    columns = {"64 KiB": 64 * KIB, "256 KiB": 256 * KIB, "1 MiB": MIB}
    places = drawing.ticks("x")
    assert list(places) == list(columns)
    for depth in (1, 4):
        points = drawing.points(f"write-threads-{depth}")
        assert len(points) == 3
        for (x, y), (label, block) in zip(points, columns.items(), strict=True):
            (rate,) = [
                one["rate"]["median"]
                for one in document["runs"]
                if (one["operation"], one["method"], one["block"], one["depth"], one["flush_every"])
                == ("write", "threads", block, depth, 0)
            ]
            assert x == pytest.approx(places[label], abs=0.1)
            assert drawing.value("y", y) == pytest.approx(rate / 1e6, rel=0.005)


def test_block_sizes_are_a_scale_of_powers_of_two(page):
    """From 64 to 256 KiB is as far as from 256 KiB to 1 MiB."""
    places = list(Drawing(page, "at0").ticks("x").values())
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.05)


@pytest.mark.parametrize("name", ["at0", "at1", "at2", "af", "as", "ad"])
def test_rates_begin_at_zero(page, name):
    """The lowest tick is 0, and it is the bottom of the axes."""
    drawing = Drawing(page, name)
    label, place = next(iter(drawing.ticks("y").items()))
    bottom = max(y for _, y in drawing.points("patch_2"))
    assert label == "0"
    assert place == pytest.approx(bottom, abs=0.05)


def test_spread_is_an_error_bar(document):
    """The bar reaches from median - spread to median + spread."""
    wide = copy.deepcopy(document)
    wide["runs"] = [run([40e6, 50e6, 60e6], block=block, depth=1) for block in (MIB, 2 * MIB)]
    drawing = Drawing(page_of(wide), "at0")
    bars = drawing.points("LineCollection_1")
    assert [drawing.value("y", y) for _, y in bars] == pytest.approx([40, 60], abs=0.3)


def test_settings_to_use_are_ringed(page, document):
    """The ring is around the point of the verdict's block and depth."""
    drawing = Drawing(page, "at0")
    ring = next(item for item in drawing.find("best").iter() if item.tag == "use")
    assert (float(ring.get("x")), float(ring.get("y"))) == pytest.approx(
        drawing.points(f"write-threads-{document['verdict']['depth']}")[-1], abs=0.1
    )


def test_waterfall_is_the_report(page, document):
    """Each phase begins where the one before has ended, and is as long as the report says."""
    report = document["pipeline"]["report"]
    drawing = Drawing(page, "aw")
    write, flush, verify = (report[f"{key}_seconds"] for key in ("write", "flush", "verify"))
    expected = {
        "bar-0-0": (0, write),
        "bar-2-0": (write, write + flush),
        "bar-3-0": (write + flush, write + flush + verify),
        "bar-4-0": (write + flush + verify, report["seconds"]),
    }
    for key, ends in expected.items():
        places = [x for x, _ in drawing.points(key)]
        assert [drawing.value("x", x) for x in (min(places), max(places))] == pytest.approx(ends, abs=0.02)


def test_a_decoder_waits_as_the_report_says(page, document):
    """Waits of all decoders together are divided by their number, and end where the writing does."""
    report = document["pipeline"]["report"]
    drawing = Drawing(page, "aw")
    lengths = []
    for number in range(3):
        places = [drawing.value("x", x) for x, _ in drawing.points(f"bar-1-{number}")]
        lengths.append(max(places) - min(places))
    decode = report["stages"]["decode"]
    source, target = (decode[f"{key}_wait"] / decode["threads"] for key in ("input", "output"))
    assert lengths == pytest.approx([report["write_seconds"] - source - target, source, target], abs=0.03)


def test_knee_is_where_it_was_seen(page, document):
    """The line is at knee_bytes."""
    drawing = Drawing(page, "as")
    x = drawing.points("knee")[0][0]
    assert drawing.value("x", x) == pytest.approx(document["sustained"]["knee_bytes"] / 2**30, abs=0.01)


def test_the_medium_limits_with_its_sustained_rate(page, document):
    """The line beside decompression is the rate of the verdict's sentence, or what an early document has for it."""
    rates = document["verdict"]["rates"]
    early = copy.deepcopy(lean(document))
    del early["verdict"]["rates"]["sustained"]
    for text, rate, words in (
        (page, rates["sustained"], "its write speed in the long run."),
        (page_of(early), rates["write"], "its write speed."),
    ):
        drawing = Drawing(text, "ad")
        for _, y in drawing.points("medium"):
            assert drawing.value("y", y) == pytest.approx(rate / 1e6, rel=0.02)
        assert words in text


def test_a_flush_is_not_drawn():
    """The curve is of bytes: the time without them at its end would be a fall that is none."""
    points = tuple((float(i), 10 * i) for i in range(200))
    curve = Sustained(MIB, 4, (*points, (300.0, 1990)), 1.0, 1.0, None)
    assert set(windows(curve)[1]) == {10.0}


def test_latencies_are_logarithmic(page, document):
    """A point is read off by its logarithm, between the ticks of 10 and 100 ms."""
    drawing = Drawing(page, "albwrite")
    ticks = drawing.ticks("y")
    decade = ticks["100 ms"] - ticks["10 ms"]
    (worst,) = [
        one["latency_us"]["max"]
        for one in document["runs"]
        if (one["operation"], one["method"], one["block"], one["depth"], one["flush_every"])
        == ("write", "threads", 64 * KIB, 4, 0)
    ]
    y = drawing.points("write-block-max")[0][1]
    assert 10 ** ((y - ticks["10 ms"]) / decade) * 10_000 == pytest.approx(worst, rel=0.02)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 2**28)), max_size=400))
def test_windows_lose_nothing(steps):
    """Of a curve in windows: time and bytes are those of the curve, as far as both go on."""
    points, clock, done = [(0.0, 0)], 0.0, 0
    for seconds, size in steps:
        clock, done = clock + seconds, done + size
        points.append((clock, done))
    places, rates = windows(Sustained(MIB, 4, tuple(points), 1.0, 1.0, None))
    assert len(places) == len(rates) <= 151
    edges = [0.0]
    for place in places:
        edges.append(2 * place - edges[-1])
    assert edges == sorted(edges)
    assert edges[-1] <= done
    if steps and min(seconds for seconds, _ in steps) > 1e-3 and min(size for _, size in steps) > 0:
        assert edges[-1] == done
        took = sum((high - low) / rate for low, high, rate in zip(edges, edges[1:], rates, strict=False))
        assert took == pytest.approx(clock)


# ---- tables and words ----


def test_tables_have_every_run(page, document):
    """Each run's rate and worst latency are in the tables, and no other."""
    read = Page(page)
    caption = {("write", "threads"): "Write, threads", ("read", "threads"): "Read", ("write", "io_uring"): "Write, io"}
    for (operation, method), title in caption.items():
        rows = read.table(title).rows
        cells = {(row[0], depth): cell for row in rows[1:] for depth, cell in zip(rows[0][1:], row[1:], strict=True)}
        runs = [
            one
            for one in document["runs"]
            if (one["operation"], one["method"], one["flush_every"]) == (operation, method, 0)
        ]
        assert len(cells) == len(runs) == 6
        for one in runs:
            block = "1 MiB" if one["block"] == MIB else f"{one['block'] // KIB} KiB"
            median, spread = cells[block, f"{one['depth']} in flight"].split(" ± ")
            assert float(median) == pytest.approx(one["rate"]["median"] / 1e6, abs=0.051)
            assert float(spread) == pytest.approx(one["rate"]["spread"] / 1e6, abs=0.051)
    worst = [float(row[-1]) for row in read.table("Time of one operation").rows[1:]]
    assert worst == pytest.approx([one["latency_us"]["max"] / 1e3 for one in document["runs"]], abs=0.0051)


def test_verdict_comes_first(four, boards):
    """The sentences, and what is to be doubted, are above every drawing and table."""
    start = Page(four[: min(four.index("<svg"), four.index("<table"))])
    for board in boards:
        assert board["verdict"]["sentence"] in start.text
    assert boards[0]["noise"]["remarks"][0] in start.text
    assert start.text.count("throttled") == 1


def test_commands_repeat_it(page, document):
    """The command names the path and the mode, quoted for a shell."""
    odd = {**document, "storage": {**document["storage"], "path": "/mnt/my card"}}
    text = Page(page_of(odd)).text
    assert "hupfast bench '/mnt/my card' --full --size 2G --rounds 3 -o 0.json" in text
    assert "hupfast bench report 0.json -o report.html" in text
    more = {**odd["settings"], "seconds": 0.0, "in_flight": 2**26, "memory": 2**24}
    text = Page(page_of({**odd, "settings": more})).text
    assert " --rounds 3 --seconds 0 --in-flight 64M --memory 16M -o 0.json" in text


def test_several_boards_have_one_scale():
    """Boards that are not far apart: the same tick is at the same place, and above the fastest of them."""
    text = page_of(lean(small()), lean(small(Medium("sd", "fast", 2**35, 80e6, 90e6, 0.0004, 0.1, 0.001, 0.01))))
    first, second = Drawing(text, "sx0b0"), Drawing(text, "sx0b1")
    assert first.ticks("y") == pytest.approx(second.ticks("y"))
    assert float(list(first.ticks("y"))[-1]) >= 60


def test_boards_far_apart_are_shares(four):
    """An SSD beside a card: each is drawn as a share of its own best, and the page says so."""
    assert "each board as a share of its own best" in four
    for index in range(4):
        drawing = Drawing(four, f"sx0b{index}")
        best = max(drawing.value("y", y) for depth in (1, 4) for _, y in drawing.points(f"write-threads-{depth}"))
        assert best == pytest.approx(100, abs=0.5)


def test_summary_has_a_column_for_each_board(four, boards):
    """Rates of the verdicts, board by board."""
    rows = {row[0]: row[1:] for row in Page(four).table("Boards side by side").rows}
    shown = [float(number) * {"MB/s": 1e6, "GB/s": 1e9}[unit] for number, unit in map(str.split, rows["write"])]
    assert shown == pytest.approx([board["verdict"]["rates"]["write"] for board in boards], rel=0.005)
    assert rows["throttled"] == ["yes", "no", "no", "no"]


# ---- a page on its own ----


def test_page_needs_nothing_else(four):
    """No script, and nothing that a browser would fetch: every link is into the page."""
    read = Page(four)
    assert not {"script", "link", "img", "iframe", "object", "image"} & {tag for tag, _ in read.tags}
    links = [attrs["href"] for _, attrs in read.tags if "href" in attrs]
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert links
    assert {link[:1] for link in links} == {"#"}
    assert {link[1:] for link in links} <= set(ids)
    assert not re.search(r"url\((?!#)", four)
    assert "@import" not in four


def test_ids_are_not_used_twice(four):
    """Many drawings in one page do not get into each other's way."""
    ids = [attrs["id"] for _, attrs in Page(four).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_drawings_have_names_to_read_aloud(page):
    """Each drawing is an image with a label."""
    drawings = [attrs for tag, attrs in Page(page).tags if tag == "svg"]
    assert drawings
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)


def test_same_documents_same_page(document, page):
    """In another process too, with other hashes."""
    script = (
        "import json, sys; from hupfast.bench.document import parse; from hupfast.bench.report import report_page;"
        "sys.stdout.write(report_page([parse(sys.stdin.read(), 'x')], ['0.json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(document), capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8", "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert done.stdout == page


EVIL = "<script>alert(1)</script>\"'&$x^$</style><b \ud800"


def poisoned(value: Any) -> Any:
    """Every text of a document becomes markup."""
    if isinstance(value, str):
        return EVIL + value
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return {key: poisoned(one) for key, one in value.items()} if isinstance(value, dict) else value


def test_text_stays_text(document):
    """Whatever a disk, a board or a file calls itself is shown, and never becomes a part of the page."""
    bad = {**poisoned(document), "format": document["format"]}
    bad["storage"]["health"] = {EVIL: EVIL}
    parsed = parse(json.dumps(bad), "x")
    for text in (report_page([parsed], [EVIL]), report_page([parsed, parsed], [EVIL, EVIL])):
        read = Page(text)
        assert not {"script", "b"} & {tag for tag, _ in read.tags}
        assert EVIL in read.text
        assert text.count("</style>") == 1


def lean(document: dict[str, Any]) -> dict[str, Any]:
    """A copy with the runs of one drawing, which are quick to draw."""
    found = copy.deepcopy(document)
    found["runs"] = found["runs"][:6]
    return found


def cut(document: dict[str, Any], what: str) -> dict[str, Any]:
    """A document in which something was not measured."""
    found = lean(document)
    if what in ("sustained", "pipeline"):
        found[what] = None
    elif what in ("stages", "runs"):
        found[what] = []
    elif what == "rates":
        found["verdict"]["rates"] = dict.fromkeys(found["verdict"]["rates"])
    elif what == "all but one run":
        found["runs"] = found["runs"][:1]
    elif what == "points":
        found["sustained"]["points"] = [[0, 0], [1, 0]]
    elif what == "numbers":
        for one in found["runs"]:
            one.update(
                block=0, depth=0, rate={"median": 0, "spread": 0}, latency_us=dict.fromkeys(one["latency_us"], 0)
            )
        found["pipeline"]["report"] = {"seconds": "many", "write_seconds": -5, "workers": None}
        found["pipeline"]["image_size"] = 0
    elif what == "everything":
        for name in ("sustained", "pipeline", "stages", "runs", "rates"):
            found = cut(found, name)
    return found


@pytest.mark.parametrize(
    "what",
    ["sustained", "pipeline", "stages", "runs", "rates", "all but one run", "points", "numbers", "everything"],
)
def test_missing_parts(document, what):
    """What was not measured is not drawn; the rest is, alone and beside a whole document."""
    part = cut(document, what)
    alone = page_of(part)
    assert part["verdict"]["sentence"] in Page(alone).text
    assert ("Sustained write" in alone) == (part["sustained"] is not None)
    assert "nan" not in re.sub(r"<style>.*?</style>", "", alone)
    if what in ("numbers", "everything"):
        assert Page(page_of(part, document)).text.count(part["verdict"]["sentence"]) >= 2


# ---- colours ----


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_can_be_seen():
    """In light, dark and print, each ink is defined, and stands out from the paper: 3 to 1, texts 4.5 to 1."""
    from hupfast.bench.svg import INKS

    found = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    assert len(found) == 3
    for block in found:
        colors = {
            name: value if len(value) == 7 else "#" + "".join(2 * digit for digit in value[1:])
            for name, value in re.findall(r"--(\w+): (#[0-9a-f]+)", block)
        }
        assert set(INKS) <= set(colors)
        for name in set(INKS) - {"grid", "paper"}:
            bright, dark = sorted((luminance(colors[name]), luminance(colors["panel"])), reverse=True)
            least = 4.5 if name in ("ink", "faint", "warn") else 3
            assert (bright + 0.05) / (dark + 0.05) >= least, name


# ---- what it needs ----


def test_without_matplotlib(document, monkeypatch):
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(HupfastError, match=r"pip install 'hupfast\[report\]'"):
        page_of(document)


def test_commands_import_no_drawing():
    """The module of the commands, and comparing, load neither matplotlib nor numpy: a board has none."""
    script = "import sys, hupfast.cli.bench_report, hupfast.bench.compare; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "numpy"} & set(done.stdout.split())


# ---- the command ----


def command(*argv: object) -> Result:
    """`hupfast bench ...`, without a terminal."""
    result = CliRunner().invoke(main, ["bench", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def source(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "0.json"
    path.write_text(json.dumps(document))
    return path


def test_command(source, tmp_path, page):
    """It writes the page, and nothing over it without --force."""
    out = tmp_path / "page.html"
    result = command("report", source, "-o", out)
    assert (result.exit_code, result.stdout) == (0, f"{out}: 1 board\n")
    assert out.read_text("utf-8") == page
    out.write_text("mine")
    result = command("report", source, "-o", out)
    assert (result.exit_code, out.read_text()) == (4, "mine")
    assert "--force" in result.stderr
    result = command("report", source, "-o", out, "--force", "--json")
    assert json.loads(result.stdout) == {"ok": True, "exit_code": 0, "output": str(out), "documents": [str(source)]}
    assert out.read_text("utf-8") == page


def test_failed_page(source, tmp_path):
    """What cannot be written whole leaves the old page as it was, and is told with its name."""
    out = tmp_path / "page.html"
    out.write_text("mine")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        result = command("report", source, "-o", out, "--force")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (result.exit_code, out.read_text(), len(os.listdir(tmp_path))) == (1, "mine", 2)
    assert f"cannot write {out}: File too large" in result.stderr


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["report", "-o", "x.html"], 2),
        (["report", "{0}"], 2),
        (["report", "{0}", "missing.json", "-o", "{1}/x.html"], 2),
        (["report", "{2}", "-o", "{1}/x.html"], 5),
        (["report", "{0}", "-o", "{1}/no/folder/x.html"], 1),
        (["report", "{0}", "-o", "{1}", "--force"], 1),
    ],
)
def test_wrong_calls(source, tmp_path, argv, code):
    """Each has its exit code, and one line that says why; no page is left."""
    other = tmp_path / "other.json"
    other.write_text("[]")
    result = command(*(word.format(source, tmp_path, other) for word in argv))
    assert result.exit_code == code
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))
