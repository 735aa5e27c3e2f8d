"""
The machine that is measured: what it is, and what else it did meanwhile.

    /proc/loadavg              "0.35 ..."
    /proc/stat                 "cpu  user nice system idle iowait irq softirq ...", ticks of all processors
    /proc/cpuinfo              "model name : ...", on ARM perhaps "Hardware" or "CPU part" alone
    /proc/meminfo              "MemTotal:  948304 kB"
    /proc/device-tree/model    ends in a NUL; else /sys/class/dmi/id/product_name
    /sys/class/thermal/thermal_zone*/temp                       millidegrees
    /sys/class/thermal/cooling_device*/{type,cur_state}         cur_state above 0: it is cooling
    /sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq       kHz; scaling_max_freq: what it may be now,
                                         cpuinfo_max_freq: what it could be
    /sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count
    /sys/devices/platform/soc/soc:firmware/get_throttled        Raspberry Pi; bits 0-3: now, 16-19: since it booted

All are below a system root, and any may be missing.
"""

import glob
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from hupfast.bench.document import Board, Noise
from hupfast.errors import HupfastError
from hupfast.system import read_small, under

_BUSY_REMARK = 0.10
_SPREAD_REMARK = 0.10


def describe_board(root: Path, profile: str | None) -> Board:
    """What this machine is. profile: the name of its board profile, where one is known."""
    return Board(
        model=_model(root),
        profile=profile,
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpus=processors(),
        cpu=_cpu(root),
        memory=_memory(root),
    )


def processors() -> int:
    """How many of them this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Moment:
    """
    The state of the machine at one time.

    busy: seconds of processor time that the whole machine has used, and own: this process. temperature: of the
    hottest zone. frequency: of the slowest processor, in Hz. throttle_count: of events that the kernel has counted.
    """

    load: float
    busy: float
    own: float
    clock: float
    temperature: float | None
    frequency: float | None
    frequency_limit: float | None
    cooling: int
    throttle_count: int
    firmware: int


def look(root: Path) -> Moment:
    """The state now."""
    times = os.times()
    frequencies = _numbers(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    limits = _numbers(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq")
    temperatures = _numbers(root, "sys/class/thermal/thermal_zone*/temp")
    return Moment(
        load=float((_text(root, "proc/loadavg").split() or ["0"])[0]),
        busy=_busy(root),
        own=times.user + times.system,
        clock=times.elapsed,
        temperature=max(temperatures) / 1000 if temperatures else None,
        frequency=min(frequencies) * 1000.0 if frequencies else None,
        frequency_limit=min(limits) * 1000.0 if limits else None,
        cooling=sum(_cooling(root)),
        throttle_count=sum(_numbers(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")),
        firmware=_hexadecimal(_text(root, "sys/devices/platform/soc/soc:firmware/get_throttled")),
    )


def judge(before: Moment, after: Moment, cpus: int, spreads: dict[str, float]) -> Noise:
    """
    What went on between two moments. spreads: relative spread of each measurement, by what to call it.

    own time includes what the kernel did for this process; what its interrupts and its own threads did counts as
    somebody else's.
    """
    passed = max(after.clock - before.clock, 1e-9)
    elsewhere = max((after.busy - before.busy) - (after.own - before.own), 0.0) / passed / max(cpus, 1)
    elsewhere = min(elsewhere, 1.0)
    reasons = _throttled(before, after)
    remarks = [f"the processor was throttled: {reason}" for reason in reasons]
    if elsewhere > _BUSY_REMARK:
        remarks.append(f"other processes and the kernel had {elsewhere:.0%} of the processors")
    if before.load > 0.5 * cpus:
        remarks.append(f"the machine was busy before: a load average of {before.load:g} on {cpus} processors")
    noisy = sorted(((spread, name) for name, spread in spreads.items() if spread > _SPREAD_REMARK), reverse=True)
    if noisy:
        worst = ", ".join(f"{name} {spread:.0%}" for spread, name in noisy[:3])
        remarks.append(f"{len(noisy)} of {len(spreads)} measurements spread by more than 10% (most: {worst})")
    return Noise(
        load=before.load,
        busy_elsewhere=round(elsewhere, 4),
        throttled=bool(reasons),
        temperature=_pair(before.temperature, after.temperature),
        frequency=_pair(before.frequency, after.frequency),
        remarks=tuple(remarks),
    )


def _throttled(before: Moment, after: Moment) -> list[str]:
    reasons = []
    if after.throttle_count > before.throttle_count:
        reasons.append(f"the kernel counted it {after.throttle_count - before.throttle_count} times")
    if after.firmware & 0xF or (after.firmware & ~before.firmware) >> 16 & 0xF:
        reasons.append(f"the firmware says {after.firmware:#x} (low voltage, temperature)")
    if after.cooling > before.cooling:
        reasons.append("the kernel has begun to cool it")
    if before.frequency_limit and after.frequency_limit and after.frequency_limit < 0.95 * before.frequency_limit:
        reasons.append(
            f"it may run at {after.frequency_limit / 1e6:.0f} MHz only, and {before.frequency_limit / 1e6:.0f} before"
        )
    return reasons


def _pair(before: float | None, after: float | None) -> tuple[float, float] | None:
    return None if before is None or after is None else (before, after)


def _busy(root: Path) -> float:
    """Seconds of all processors: user, nice, system, irq, softirq."""
    fields = _text(root, "proc/stat").split("\n", 1)[0].split()[1:8]
    if len(fields) < 7:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _cooling(root: Path) -> list[int]:
    """States of what makes the processor slower; a fan that runs does not."""
    found = []
    for folder in sorted(glob.glob(str(under(root, "sys/class/thermal/cooling_device*")))):
        kind = _text(Path(folder), "type").lower()
        if "cpu" in kind or "processor" in kind:
            found += _numbers(Path(folder), "cur_state")
    return found


def _model(root: Path) -> str | None:
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if text := _text(root, path).strip("\0 \n"):
            return text
    vendor, name = _text(root, "sys/class/dmi/id/sys_vendor"), _text(root, "sys/class/dmi/id/product_name")
    return f"{vendor} {name}".strip() or None


def _cpu(root: Path) -> str:
    found: dict[str, str] = {}
    for line in _text(root, "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    for key in ("model name", "Model", "Hardware", "cpu model", "CPU part"):
        if found.get(key):
            return found[key]
    return platform.machine()


def _memory(root: Path) -> int:
    for line in _text(root, "proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal" and value.split()[:1]:
            return int(value.split()[0]) * 1024
    return 0


def _numbers(root: Path, pattern: str) -> list[int]:
    found = []
    for path in sorted(glob.glob(str(under(root, pattern)))):
        text = _text(Path(path), "")
        if text.lstrip("-").isdigit():
            found.append(int(text))
    return found


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def _text(root: Path, path: str) -> str:
    """A file of the kernel; "" when it is missing, or cannot be read just now."""
    try:
        data = read_small(under(root, path) if path else root)
    except HupfastError:
        return ""
    return data.decode("utf-8", "replace").strip() if data else ""
