"""The tables that people read, and the JSON that programs do."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.contenders import BASELINE, MIB, PROBE_READ, PROBE_WRITE, Contender
from benchmarks.fetched import Fetch
from benchmarks.rounds import Sample
from benchmarks.stats import Spread, Summary, needed, rate
from benchmarks.streams import BOARD, STREAM
from benchmarks.targets import Table, Verdict

FORMAT = 1
"""Number of the layout of the JSON file."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns: the first to the left, the others to the right, the last is a remark."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, ["-" * width for width in widths], *rows):
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([first, *rest, row[-1]]).rstrip())
    return "\n".join(lines)


def seconds(spread: Spread, runs: int) -> str:
    """A median, and what it was found between."""
    if runs == 1:
        return f"{spread.median:.2f}"
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})"


def mebibytes(size: float | None) -> str:
    """A size, to a tenth of a MiB where that says something."""
    if size is None:
        return "-"
    return f"{size / MIB:.1f}" if size < 100 * MIB else f"{size / MIB:.0f}"


def _remark(found: Summary, size: int) -> str:
    """What is to be said of a run beside its numbers."""
    if found.failure:
        return found.failure
    if found.limit_hits:
        return f"{found.limit_hits} times at its limit"
    speed = rate(found, size) if found.contender in {PROBE_READ, PROBE_WRITE} else None
    return f"{speed / 1e6:.1f} MB/s" if speed else ""


def _row(contender: Contender, found: Summary | None, ideal: float | None, size: int) -> list[str]:
    if found is None:
        return [contender.title, *["-"] * 8, f"absent: {contender.absent}"]
    return [
        contender.title,
        seconds(found.wall, found.runs),
        f"{found.wall.median / ideal:.2f}" if ideal else "-",
        f"{found.cpu.median:.2f}",
        mebibytes(found.resident),
        mebibytes(found.tree),
        mebibytes(found.anonymous),
        mebibytes(found.cache if found.cache is not None else found.cache_warm),
        mebibytes(found.written.median) if found.device != BOARD else "-",
        _remark(found, size),
    ]


def _ideal(found: Summary | None, against: str, summaries: Table, size: int, zeroes: str) -> float | None:
    """
    The seconds that a wall is held against: what decoding takes on the fast device, what writing takes on
    the card, what the contender `against` takes elsewhere.
    """
    if found is None:
        return None
    if found.device != "card":
        base = summaries.get((found.device, BASELINE if found.device == "fast" else against or found.contender))
        return base.wall.median if base and not base.failure else None
    probe = summaries.get((found.device, PROBE_WRITE))
    speed = rate(probe, size) if probe else None
    return needed(found, size, zeroes) / speed if speed else None


_DEVICES_OF_ALL = ("fast", "card")
"""Where every contender runs that is of no other table."""


def device_table(device: str, contenders: Sequence[Contender], summaries: Table, *, size: int, zeroes: str) -> str:
    """What everybody needed on one device. Contenders that were not meant to run there have no row."""
    against = {"fast": "x zstd", "card": "x ideal"}.get(device, "x file")
    head = ["", "wall s", against, "CPU s", "process", "tree", "anon", "cache", "written", ""]
    rows = []
    for each in contenders:
        found = summaries.get((device, each.name))
        if (each.where or device) != device or (not each.where and device not in _DEVICES_OF_ALL):
            continue
        if found or (each.absent and (device == "fast" or each.limit is None)):
            rows.append(_row(each, found, _ideal(found, each.against, summaries, size, zeroes), size))
    return table(head, rows)


LEGEND = """\
wall: median of the rounds (smallest-largest). x zstd: against `zstd -dc > /dev/null` in the same rounds;
x ideal: against the bytes that it wrote, at the rate of plain O_DIRECT writes in the same rounds.
x file: against the same from a file in the same rounds; the server's processor time is in the wall, and only there.
CPU: user and system of all its processes. In MiB: process: peak resident memory of its largest process;
tree: of all together, as polled; anon: peak of allocated memory; cache: page cache that it made grow, with
its source not cached before (rows with a memory limit: cached); written: what the kernel saw it write."""


FETCH_LEGEND = """\
fetched: what left nginx, all runs of the update together, with the heads of its answers. When hupfast was killed:
unread: of that, what was in its socket; unsent: what nginx had counted as sent, but was still in its own. told: by
--dry-run, with the boot files. Sizes in MiB. The changed images are made by mkfs.ext4 -d, as it comes;
`python -m benchmarks.deltas` compares other ways."""


def fetch_table(fetches: Sequence[Fetch]) -> str:
    """What updates took from the server."""
    head = ["", "bundle", "fetched", "x bundle", "told", "unread", "unsent", "requests", ""]
    rows = [
        [
            each.title,
            mebibytes(each.bundle),
            mebibytes(each.left),
            f"{each.ratio:.3f}",
            mebibytes(each.told),
            *(mebibytes(size) if each.cuts else "-" for size in (each.unread, each.unsent)),
            str(each.requests),
            each.failure,
        ]
        for each in fetches
    ]
    return table(head, rows)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Each target: what was measured, what is allowed, and whether that is met."""
    rows = []
    for verdict in verdicts:
        goal = verdict.goal
        unit = "" if goal.unit == "x" else f" {goal.unit}"
        digits = {"x": 2, "B": 0}.get(goal.unit, 1)
        value = "-" if verdict.value is None else f"{verdict.value:.{digits}f}{unit}"
        remark = verdict.detail or verdict.reason
        if goal.wanted is not None and verdict.value is not None:
            remark += f"; wanted {goal.wanted:g}: {'met' if verdict.value <= goal.wanted else 'not met'}"
        rows.append([goal.target, value, f"<= {goal.bound:g}{unit}", verdict.state, remark])
    return table(["target", "measured", "allowed", "", "from"], rows)


DEVICES = {
    "fast": "Fast device: a loop device with direct I/O over a file that is all allocated",
    "card": "Simulated card: nbdkit's rate filter below nbdfuse below a loop device with direct I/O",
    STREAM: "hupfast write from a file and from nginx on loopback, onto the fast device",
    BOARD: "hupfast update of a virtual board from a file and from nginx on loopback",
}


def text(
    result: dict[str, Any],
    contenders: Sequence[Contender],
    summaries: Table,
    verdicts: Sequence[Verdict],
    without: dict[str, str],
    fetches: Sequence[Fetch],
    *,
    judged: bool,
) -> str:
    """
    All that is printed at the end.

    without: device -> why there was none. judged: whether the verdicts mean anything; else they are left out.
    """
    facts, images = result["machine"], result["images"]
    packed = [f"{name} {mebibytes(size)}" for name, size in images["packed"].items() if size]
    parts = [
        f"ext4 image, in MiB: {mebibytes(images['size'])}, {mebibytes(images['nonzero'])} of it not zero; "
        f"packed: {', '.join(packed)}\n"
        f"{facts['cpus']} x {facts['cpu']}, Linux {facts['kernel']}, load at start "
        f"{facts['load_at_start']:.2f}, memory counted by {facts['memory_counted_by']}"
    ]
    for name, title in DEVICES.items():
        if any(device == name for device, _ in summaries):
            size, zeroes = images["size"], result["options"]["card_zeroes"]
            rows = device_table(name, contenders, summaries, size=size, zeroes=zeroes)
            parts.append(f"{title}\n\n{rows}")
        elif name in without:
            parts.append(f"{title}\n\nabsent: {without[name]}")
    parts.append(LEGEND)
    if fetches:
        parts.append(f"Bytes that updates fetch\n\n{fetch_table(fetches)}\n\n{FETCH_LEGEND}")
    if judged and verdicts:
        parts.append(f"Targets\n\n{verdict_table(verdicts)}")
    elif not judged:
        parts.append("A quick run: its figures mean nothing, and no target is judged.")
    return "\n\n".join(parts)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    goal = verdict.goal
    return {
        "target": goal.target,
        "contender": goal.contender,
        "value": verdict.value,
        "bound": goal.bound,
        "wanted": goal.wanted,
        "unit": goal.unit,
        "state": verdict.state,
        "detail": verdict.detail or verdict.reason,
    }


def document(
    *,
    date: str,
    machine: dict[str, object],
    images: dict[str, object],
    options: dict[str, object],
    contenders: Sequence[Contender],
    summaries: Table,
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict],
    fetches: Sequence[Fetch],
) -> dict[str, Any]:
    """Everything that was measured, in bytes and seconds, for a JSON file."""
    return {
        "format": FORMAT,
        "date": date,
        "machine": machine,
        "images": images,
        "options": options,
        "contenders": {each.name: {"title": each.title, "absent": each.absent} for each in contenders},
        "summaries": [asdict(each) for each in summaries.values()],
        "targets": [_verdict(verdict) for verdict in verdicts],
        "fetches": [asdict(each) for each in fetches],
        "samples": [asdict(sample) for sample in samples],
    }


def save(directory: Path, result: dict[str, Any]) -> Path:
    """Write the result as results-DATE.json, and the same again as latest.json. Returns the former."""
    text = json.dumps(result, indent=1) + "\n"
    path = directory / f"results-{str(result['date']).replace(':', '')}.json"
    path.write_text(text)
    (directory / "latest.json").write_text(text)
    return path
