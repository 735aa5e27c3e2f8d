"""
Which board is this? Facts of the running system, and the signs by which profiles know their board.

    /proc/device-tree/compatible     texts, each ended by a zero byte, the most exact first
    /proc/device-tree/model          one text
    /sys/class/dmi/id/product_name, board_name      one line each
    config.json                      balena: {"deviceType": "raspberrypi4-64", ...}, on the boot partition
    /etc/os-release                  KEY=value lines

A profile fits when one sign of its machine (device tree, DMI, deviceType) is there, and, if it names lines of
os-release, one of these. So a profile for a layout (os_release) goes before the one for the machine alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hupfast.errors import Refused
from hupfast.profile import Table
from hupfast.system import parse_os_release, read_small, under

CONFIG_JSON = ("/mnt/boot/config.json", "/boot/config.json", "/mnt/conf/config.json", "/mnt/data-disk/config.json")
"""Where balenaOS has kept its config.json, the newest place first."""


@dataclass(frozen=True)
class Facts:
    """What the running system tells of its board. device_type: "" when there is no config.json."""

    device_tree: tuple[str, ...]
    model: str
    dmi: tuple[str, ...]
    device_type: str
    os_release: tuple[str, ...]


@dataclass(frozen=True)
class Signs:
    """The [detect] table of a profile; patterns may have * and ?."""

    device_tree: tuple[str, ...]
    dmi: tuple[str, ...]
    device_type: tuple[str, ...]
    os_release: tuple[str, ...]

    def fit(self, facts: Facts) -> int:
        """How well the facts fit: 0 not at all, 1 the machine, 2 the machine and its layout."""
        machine = (
            _any(self.device_tree, facts.device_tree)
            or _any(self.dmi, facts.dmi)
            or _any(self.device_type, (facts.device_type,))
        )
        if not machine:
            return 0
        if not self.os_release:
            return 1
        return 2 if _any(self.os_release, facts.os_release) else 0


@dataclass(frozen=True)
class Deny:
    """A combination of machine and version that must not be. Patterns may have * and ?."""

    model: str
    version: str
    reason: str

    def forbids(self, model: str, version: str) -> bool:
        """Whether this version must not go on a machine of this model."""
        return fnmatchcase(model, self.model) and fnmatchcase(version, self.version)


def read_signs(table: Table) -> Signs:
    """The [detect] table. Raises: Refused."""
    keys = ("device_tree", "dmi", "device_type", "os_release")
    signs = Signs(*(table.texts(key, ()) for key in keys))
    table.finish()
    return signs


def read_deny(table: Table) -> Deny:
    """One [[deny]] table. Raises: Refused."""
    deny = Deny(table.text("model", "*"), table.text("version", "*"), table.text("reason"))
    table.finish()
    return deny


def read_facts(root: Path) -> Facts:
    """What tells the board below `root`."""
    dmi = tuple(_line(root, f"/sys/class/dmi/id/{name}") for name in ("product_name", "board_name"))
    return Facts(
        device_tree=_texts(root, "/proc/device-tree/compatible"),
        model="".join(_texts(root, "/proc/device-tree/model")[:1]) or next(filter(None, dmi), ""),
        dmi=tuple(filter(None, dmi)),
        device_type=_device_type(root),
        os_release=_os_release(root),
    )


def best_match(signs: Mapping[str, Signs], facts: Facts) -> str | None:
    """
    The profile that fits best, or None when none does. Raises: Refused when several fit equally well.
    """
    fits = {name: fit for name, each in signs.items() if (fit := each.fit(facts))}
    best = [name for name, fit in fits.items() if fit == max(fits.values())]
    if len(best) > 1:
        raise Refused(f"this board fits several profiles ({', '.join(best)}): tell which one with --board NAME")
    return best[0] if best else None


def _any(patterns: tuple[str, ...], values: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns for value in values)


def _device_type(root: Path) -> str:
    for path in CONFIG_JSON:
        data = read_small(under(root, path))
        if data is None:
            continue
        try:
            value = json.loads(data).get("deviceType", "")
        except (ValueError, AttributeError, RecursionError):
            continue  # a damaged config.json tells nothing; the other facts may
        return value if isinstance(value, str) else ""
    return ""


def _os_release(root: Path) -> tuple[str, ...]:
    data = read_small(under(root, "/etc/os-release")) or read_small(under(root, "/usr/lib/os-release")) or b""
    return tuple(f"{key}={value}" for key, value in parse_os_release(data).items())


def _texts(root: Path, path: str) -> tuple[str, ...]:
    data = read_small(under(root, path)) or b""
    return tuple(text for text in data.decode("utf-8", "replace").split("\0") if text)


def _line(root: Path, path: str) -> str:
    return (read_small(under(root, path)) or b"").decode("utf-8", "replace").strip()
