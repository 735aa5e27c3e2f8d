"""
Documents of `hupfast bench` as real boards would give them, made up by a few rules, the same for the same seed.

A medium is a rate for large blocks, a cost of each command that depth hides, now and then a stall, and a cache that
fills up. `document` makes the JSON value; tests change what they want to see changed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

KIB, MIB, GIB = 2**10, 2**20, 2**30
BLOCKS = (64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB, 2 * MIB, 4 * MIB)
DEPTHS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Medium:
    """
    write, read: bytes a second of large blocks. cost: seconds of a command beside its data, which depth hides.
    stall, stall_share: how long a slow command takes, and which share of them is slow. noise: relative, of a round.
    cache: bytes that are written `burst` times as fast as the rest.
    """

    kind: str
    model: str
    size: int
    write: float
    read: float
    cost: float
    stall: float
    stall_share: float
    flush: float
    noise: float = 0.015
    cache: int = 0
    burst: float = 1.0
    health: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Machine:
    """decompress, sha256, xxh3: bytes a second of one processor."""

    model: str
    profile: str | None
    cpu: str
    cpus: int
    memory: int
    decompress: float
    sha256: float
    xxh3: float


SD = Medium("sd", "SC32G", 31914983424, 18e6, 44e6, 0.0016, 0.35, 0.004, 0.03, noise=0.03)
EMMC = Medium(
    "mmc", "DG4008", 7818182656, 52e6, 140e6, 0.0004, 0.09, 0.002, 0.006, cache=700 * MIB, burst=1.9,
    health=(("life_time", "0x01 0x02"), ("pre_eol_info", "0x01")),
)  # fmt: skip
NVME = Medium("nvme", "Samsung SSD 980 500GB", 500107862016, 1.45e9, 2.9e9, 0.00003, 0.004, 0.001, 0.0006)
PI = Machine("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberrypi3", "Cortex-A53", 4, 948 * MIB, 62e6, 71e6, 1.6e9)
ARM = Machine("BeagleBone Black", "beaglebone-black", "Cortex-A8", 1, 490 * MIB, 38e6, 29e6, 0.8e9)
PC = Machine("NUC7i5BNH", "intel-nuc", "Intel Core i5-7260U", 4, 8 * GIB, 640e6, 410e6, 11e9)


def middle(values: Sequence[float]) -> dict[str, float]:
    """Median, and median absolute deviation."""
    found = median(values)
    return {"median": found, "spread": median(abs(value - found) for value in values)}


def percentile(values: Sequence[int], share: float) -> int:
    """The smallest value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1))]


def run(
    rates: Sequence[float],
    *,
    operation: str = "write",
    method: str = "threads",
    block: int = MIB,
    depth: int = 4,
    flush_every: int = 0,
    size: int = 64 * MIB,
    latencies: Sequence[int] = (),
    flush: float = 0.01,
) -> dict[str, Any]:
    """One run, whose rounds have these rates."""
    flushes = size // flush_every if flush_every else 1
    took = list(latencies) or [int(1e6 * block * depth / median(rates))] * 20
    rounds = [
        {
            "bytes": size,
            "seconds": size / rate,
            "flush_seconds": min(flush * flushes, size / rate / 2),
            "flushes": flushes,
            "latencies_us": took[index :: len(rates)] or took[:1],
        }
        for index, rate in enumerate(rates)
    ]
    everything = [value for item in rounds for value in item["latencies_us"]]
    return {
        "operation": operation,
        "method": method,
        "block": block,
        "depth": depth,
        "flush_every": flush_every,
        "rounds": rounds,
        "rate": middle([item["bytes"] / item["seconds"] for item in rounds]),
        "latency_us": {
            "p50": percentile(everything, 0.5),
            "p90": percentile(everything, 0.9),
            "p99": percentile(everything, 0.99),
            "max": max(everything),
        },
    }


def _measured(medium: Medium, chance: random.Random, rounds: int, **how: Any) -> dict[str, Any]:
    block, depth, operation = how["block"], how["depth"], how["operation"]
    peak = medium.read if operation == "read" else medium.write
    hidden = medium.cost * (1.15 if how["method"] == "threads" else 1.0) / depth**0.8
    flush_every = how.get("flush_every", 0)
    rate = block / (block / peak + hidden)
    if flush_every:
        rate = 1 / (1 / rate + medium.flush / flush_every)
    rates = [rate * max(0.3, chance.gauss(1, medium.noise)) for _ in range(rounds)]
    usual = 1e6 * block * depth / rate
    size = max(48, min(400, 64 * MIB // block))
    took = [
        int(usual * max(0.4, chance.lognormvariate(0, 0.12)))
        + (int(1e6 * medium.stall * chance.uniform(0.5, 1)) if chance.random() < medium.stall_share else 0)
        for _ in range(size * rounds)
    ]
    return run(rates, latencies=took, flush=medium.flush, **how)


def _stages(machine: Machine, chance: random.Random, rounds: int) -> list[dict[str, Any]]:
    found = []

    def add(name: str, level: int | None, threads: int, rate: float, ratio: float | None) -> None:
        rates = [rate * chance.gauss(1, 0.01) for _ in range(rounds)]
        found.append(
            {"name": name, "level": level, "threads": threads, "rounds": rates, "ratio": ratio, "rate": middle(rates)}
        )

    for level, speed, ratio in ((1, 1.12, 2.4), (3, 1.0, 2.7), (19, 0.93, 3.2)):
        for threads in range(1, machine.cpus + 1):
            add("decompress", level, threads, machine.decompress * speed * threads**0.93, ratio)
    add("sha256", None, 1, machine.sha256, None)
    add("xxh3", None, 1, machine.xxh3, None)
    return found


def _sustained(medium: Medium, chance: random.Random) -> dict[str, Any]:
    step, points, clock = 16 * MIB, [[0.0, 0]], 0.0
    burst = medium.write * medium.burst
    for done in range(step, 2 * GIB + 1, step):
        rate = (burst if done <= medium.cache else medium.write) * chance.gauss(1, 2 * medium.noise)
        clock += step / rate + (medium.stall if chance.random() < 8 * medium.stall_share else 0)
        points.append([clock, done])
    return {
        "block": MIB,
        "depth": 4,
        "points": points,
        "burst_rate": burst if medium.cache else medium.write,
        "sustained_rate": medium.write,
        "knee_bytes": medium.cache or None,
    }


def _pipeline(medium: Medium, machine: Machine) -> dict[str, Any]:
    size, packed, zero = 512 * MIB, 170 * MIB, 0.3
    write = max(size * (1 - zero) / medium.write, size / machine.decompress / machine.cpus) * 1.04
    verify, flush = size / medium.read, medium.flush * 4
    wait = write * machine.cpus * 0.8
    seconds = write + flush + verify + 0.05
    rounds = [seconds, seconds * 1.01, seconds * 0.992]
    report = {
        "format": "chunked", "direct": True, "verified": True, "workers": machine.cpus, "depth": 4, "block": MIB,
        "memory": 14 * MIB, "bytes_in": packed, "image_size": size, "written": int(size * (1 - zero)),
        "zeroed": int(size * zero), "unchanged": 0, "copied": 0, "unmapped": 0, "write_seconds": write,
        "flush_seconds": flush, "verify_seconds": verify, "seconds": seconds,
        "stages": {
            "decode": {
                "busy": write * machine.cpus - wait, "input_wait": wait * 0.05, "output_wait": wait * 0.95,
                "bytes": size, "pieces": 512, "threads": machine.cpus,
            },
        },
    }  # fmt: skip
    return {
        "image": "made",
        "image_size": size,
        "packed_size": packed,
        "zero_share": zero,
        "seconds": {**middle(rounds), "rounds": rounds},
        "report": report,
    }


def document(
    medium: Medium = EMMC,
    machine: Machine = PI,
    *,
    seed: int = 1,
    rounds: int = 3,
    blocks: Sequence[int] = BLOCKS,
    depths: Sequence[int] = DEPTHS,
    throttled: bool = False,
) -> dict[str, Any]:
    """A whole document of version 1."""
    chance = random.Random(seed)
    runs = [
        _measured(medium, chance, rounds, operation=operation, method=method, block=block, depth=depth)
        for operation, method in (("write", "threads"), ("write", "io_uring"), ("read", "threads"))
        for block in blocks
        for depth in depths
    ]
    block, depth = min(MIB, max(blocks)), min(4, max(depths))
    runs += [
        _measured(
            medium, chance, rounds, operation="write", method="threads", block=block, depth=depth, flush_every=every
        )
        for every in (MIB, 4 * MIB, 16 * MIB, 64 * MIB)
    ]
    runs.append(run([30 * medium.write] * rounds, operation="zero", block=block, depth=depth))
    pipeline = _pipeline(medium, machine)
    rates = {
        "write": medium.write,
        "read": medium.read,
        "zero": 30 * medium.write,
        "decompress": machine.decompress * machine.cpus**0.93,
        "sha256": machine.sha256,
        "xxh3": machine.xxh3,
        "pipeline": pipeline["image_size"] / pipeline["seconds"]["median"],
        "sustained": 0.9 * medium.write,
    }
    slower = "medium" if rates["write"] < rates["decompress"] else "processor"
    return {
        "format": "hupfast-bench",
        "version": 1,
        "hupfast": "hupfast 0.1.0, zstd 1.5.4",
        "date": "2026-11-27T05:00:00Z",
        "board": {
            "model": machine.model, "profile": machine.profile, "kernel": "6.6.51-v8+", "cpus": machine.cpus,
            "cpu": machine.cpu, "memory": machine.memory,
        },
        "storage": {
            "path": "/dev/nvme0n1p2" if medium.kind == "nvme" else "/dev/mmcblk0p3", "kind": medium.kind,
            "model": medium.model, "serial": "0x2f1c6a01", "cid": "150100444734303038" + "00" * 7,
            "size": medium.size, "sector": 512, "health": dict(medium.health), "filesystem": None, "direct": True,
        },
        "settings": {"mode": "full", "size": 2 * GIB, "rounds": rounds},
        "noise": {
            "load": 0.21, "busy_elsewhere": 0.02, "throttled": throttled,
            "temperature": [48.3, 79.9 if throttled else 55.1], "frequency": [1.4e9, 0.6e9 if throttled else 1.4e9],
            "remarks": ["the processor was slowed down from 1400 to 600 MHz at 79.9 °C"] if throttled else [],
        },
        "skipped": [],
        "runs": runs,
        "sustained": _sustained(medium, chance),
        "stages": _stages(machine, chance, rounds),
        "pipeline": pipeline,
        "verdict": {
            "limit": slower,
            "sentence": f"the {slower}: {medium.write / 1e6:.0f} MB/s; "
            f"decompression could do {rates['decompress'] / 1e6:.0f} MB/s on {machine.cpus} processors",
            "block": block, "depth": depth, "memory": block * depth, "rates": rates,
        },
    }  # fmt: skip
