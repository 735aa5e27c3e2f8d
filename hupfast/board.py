"""
A board as data: `hupfast/boards/NAME.toml`, or `<root>/etc/hupfast/boards/NAME.toml`, which goes first.

```
extends = "balena-2"             optional: keys that are not here are those of layouts/balena-2.toml beside this file
name = "virtual"                 the same as the file's
description = "..."              one line
compatible = ["virtual"]         names that bundles may use for it; its own name when left out
state = "/data/hupfast"          directory for journal and lock; survives updates, is never part of a slot
sysroot = "/"                    optional: where the running slot is mounted, when "/" is an overlay over it

[detect]                         optional: what tells the board (detect.py)
device_tree = ["raspberrypi,4-model-b"]           entries of the device tree's compatible
dmi = ["NUC*"]                   product or board names of the firmware
device_type = ["raspberrypi4-64"]                 deviceType of balena's config.json
os_release = ["ID=balena-os"]    lines of os-release: one of these must be there too

[[deny]]                         optional: combinations that are known to end badly
model = "Raspberry Pi 4 Model B Rev 1.4"          of the device tree or DMI; may have * and ?
version = "2.83.10*"             of the bundle
reason = "..."

[boot]                           where the boot files live
directory = "/boot"
size = "64M"                     optional: no more than this in it, when it is no partition of its own
user_files = ["config.json", "overlays/user/"]    never touched; below directory; "/" at the end: all in it
edited = "save"                  optional: a file of ours that the user has edited is copied to state + "/edited",
                                 then replaced; "keep": it stays as it is; "refuse": no update then
from_root = "/usr/lib/boot"      optional: the boot files are those in this directory of the new root file system
                                 (rootboot.py), and bundles have none
grow = "40M"                     optional: a boot partition with less grows before an update (enlarge.py)

[filesystem]                     what is changed in a slot after the image is in it
kind = "ext4"                    "ext4", or "none": the image is left as it is
uuid = "fresh"                   "fresh": a new random one, "image": that of the image
keep = ["/etc/hostname"]         what is copied from the running system: files, symbolic links, directories
                                 ("/var/lib/x/"), also to another path ("/old:/new"); see keep.py

[[slots]]                        two of them
name = "a"
partition = 2                    the slot is this partition of the disk that the running system is on, or
file = "/slots/a.img"            the slot is this file
boot_prefix = "a/"               boot files of this slot go to boot.directory + this; not below that of the other;
                                 in no slot: both share their boot files
label = "hup-root-a"             optional filesystem label

[bootloader]
kind = "virtual"                 one of hupfast/bootloaders/; the other keys are its own, told in its module

[[raw]]                          optional: places of the disk for a bundle's bootloaders (raw.py)
name = "MLO"                     member raw/MLO
offsets = ["128K", "256K"]       its copies, in the order in which the boot ROM looks
size = "128K"

[trust]                          optional: what is asked of bundles, beside a signature (policy.py)
expiry = "check"                 optional, "ignore"; "require"
minimum_version = "2.0"          optional; older bundles are refused

[health]                         what must hold before `confirm` makes a system permanent
directory = "/etc/hupfast/health.d"               optional; every executable in it must end with 0
timeout = 60                                      optional; seconds for each
attempts = 15                                     optional, 1; all are repeated until all pass,
interval = 60                                     optional, 10; with a pause of so many seconds,
deadline = 960                                    optional, 900; for so many seconds at most
units = "none failed"                             optional; systemd must have no failed units
hosts = ["192.0.2.1"]                             optional; these must answer a ping
ports = ["127.0.0.1:48484"]                       optional; here a TCP connection must be taken

[update]                         how the rest of the system is treated meanwhile (hold.py)
stop = ["app.service"]           optional; units that stop, and start again when no reboot follows
locks = ["/run/app/*.lock"]      optional; files that hold off the reboot, with * and ?,
lock_wait = 600                  optional, 0; for so many seconds at most; then it is left to somebody else
inhibit = "yes"                  optional; nobody else shuts down from the first boot file to the switch
custom_modules = "warn"          optional; kernel modules that the new system will not have: "refuse", "ignore"

[config]                         optional: balena's config.json (boardconfig.py)
file = "/mnt/boot/config.json"   where it belongs
sources = ["/mnt/conf/config.json"]               where an older system had it: copied from there when it is missing
required = ["deviceType"]        keys without which no update is made

[fingerprints]                   optional: what was changed since it was shipped is told (fingerprint.py)
root = "/root.sha256"            output of sha256sum or md5sum; likewise `boot`, of the boot directory
ignore = ["var/log/"]            likewise `ignore_boot`

[reboot]                         (restart.py)
command = ["reboot"]             optional; {root} and {python} are filled in
force_after = 300                optional; seconds, then `force` is run; 0: never
force = ["reboot", "--force"]    optional
kernel_after = 300               optional; seconds more, then the kernel is told to sync and reset; 0: never
```
A wrong profile raises Refused with file, line, key and reason (profile.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hupfast.boardconfig import Config, read_config
from hupfast.bootloaders import Bootloader, bootloader_factory
from hupfast.detect import Deny, Signs, best_match, read_deny, read_facts, read_signs
from hupfast.errors import Refused, UsageError
from hupfast.fingerprint import Fingerprints, read_fingerprints
from hupfast.health import Health, read_health
from hupfast.hold import Hold, read_hold
from hupfast.keep import Keep, read_keep
from hupfast.policy import Policy, read_policy
from hupfast.profile import Table, load_profile
from hupfast.raw import RawRange, read_ranges
from hupfast.restart import Restart, read_restart
from hupfast.slots import Slot
from hupfast.system import find_program, read_small, under

SHIPPED = Path(__file__).parent / "boards"
LOCAL = "/etc/hupfast/boards"
NAME_FILE = "/etc/hupfast/board"
"""A file with the name of the board, written by whoever builds the system; --board goes before it."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


@dataclass(frozen=True)
class Boot:
    """
    Where boot files live. size: limit in bytes, or None. The rest: see the module's docstring.
    """

    directory: str
    size: int | None
    user_files: tuple[str, ...]
    edits: str
    from_root: str | None
    grow: int | None


@dataclass(frozen=True)
class Filesystem:
    """What is changed in a slot after the image is in it."""

    kind: str
    fresh_uuid: bool
    keep: tuple[Keep, ...]


@dataclass(frozen=True)
class Board:
    """A profile that was read and checked. layout: the one it extends. Paths are as seen from the system root."""

    name: str
    description: str
    path: Path
    layout: Path | None
    compatible: tuple[str, ...]
    state: str
    signs: Signs
    deny: tuple[Deny, ...]
    slots: tuple[Slot, ...]
    boot: Boot
    filesystem: Filesystem
    trust: Policy
    health: Health
    config: Config
    fingerprints: Fingerprints
    hold: Hold
    restart: Restart
    raw: tuple[RawRange, ...]
    bootloader_kind: str
    bootloader: Callable[[Path], Bootloader]

    def slot(self, name: str) -> Slot:
        """The slot of that name. Raises: Refused when the board has none."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise Refused(f"the board {self.name} has no slot {name!r}")

    def other(self, name: str) -> Slot:
        """The slot that is not `name`. Raises: Refused when `name` is no slot of the board."""
        self.slot(name)
        return next(slot for slot in self.slots if slot.name != name)


def find_profiles(root: Path) -> dict[str, Path]:
    """Every profile by name, sorted; those of the system before those that hupfast brings along."""
    found: dict[str, Path] = {}
    for directory in (under(root, LOCAL), SHIPPED):
        if directory.is_dir():
            for path in directory.glob("*.toml"):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def detect(root: Path) -> str | None:
    """
    The name of the board that runs below `root`: by the file NAME_FILE, else by the signs of the profiles.

    None when nothing tells it. Raises: Refused when several profiles fit equally well.
    """
    data = read_small(under(root, NAME_FILE), 4096)
    if name := data.decode("utf-8", "replace").strip() if data else "":
        return name
    signs = {}
    for name, path in find_profiles(root).items():
        try:
            signs[name] = read_signs(load_profile(path, layouts_of(path)).table("detect", optional=True))
        except Refused:  # a profile that is wrong is told when it is used; it must not hide the others
            continue
    return best_match(signs, read_facts(root))


def load_board(name: str | None, root: Path) -> Board:
    """
    The profile of a board; of the one that is detected when `name` is None.

    Raises: UsageError when there is no such profile or the root is no directory, Refused when it is wrong
    or nothing tells which board this is.
    """
    if not root.is_dir():
        raise UsageError(f"the system root {root} is no directory")
    told = name or detect(root)
    if told is None:
        raise Refused(
            "cannot tell which board this is: no profile knows its device tree, DMI names or config.json;"
            f" give --board NAME, or write its name into {under(root, NAME_FILE)}"
        )
    profiles = find_profiles(root)
    if told not in profiles:
        raise UsageError(f"there is no profile for the board {told!r}; known are: {', '.join(profiles)}")
    return read_board(profiles[told])


def read_board(path: Path) -> Board:
    """Read and check one profile. Raises: Refused."""
    top = load_profile(path, layouts_of(path))
    name = top.text("name", pattern=_NAME)
    if name != path.stem:
        raise top.fail("name", f"it must be {path.stem!r} like the file")
    sysroot = top.path("sysroot", "/")
    slots = tuple(_slot(table, sysroot) for table in top.tables("slots"))
    _check_slots(top, slots)
    bootloader = top.table("bootloader")
    kind = bootloader.text("kind")
    board = Board(
        name=name,
        description=top.text("description"),
        path=path,
        layout=top.layout,
        compatible=top.texts("compatible", (name,)),
        state=top.path("state"),
        signs=read_signs(top.table("detect", optional=True)),
        deny=tuple(read_deny(table) for table in top.tables("deny", optional=True)),
        slots=slots,
        boot=_boot(top.table("boot")),
        filesystem=_filesystem(top.table("filesystem", optional=True), slots),
        trust=read_policy(top.table("trust", optional=True)),
        health=read_health(top.table("health", optional=True)),
        config=read_config(top.table("config", optional=True)),
        fingerprints=read_fingerprints(top.table("fingerprints", optional=True)),
        hold=read_hold(top.table("update", optional=True)),
        restart=read_restart(top.table("reboot", optional=True)),
        raw=read_ranges(top.tables("raw", optional=True)),
        bootloader_kind=kind,
        bootloader=bootloader_factory(kind, bootloader, slots),
    )
    for table in (bootloader, top):
        table.finish()
    return board


def layouts_of(path: Path) -> tuple[Path, ...]:
    """Where a profile's `extends` is looked for: beside it, then among those of hupfast."""
    return path.parent / "layouts", SHIPPED / "layouts"


def missing_programs(board: Board) -> list[str]:
    """Programs that the board's filesystem kind needs and this system lacks."""
    return [name for name in FILESYSTEM_PROGRAMS[board.filesystem.kind] if find_program(name) is None]


FILESYSTEM_PROGRAMS = {"ext4": ("tune2fs", "debugfs", "e2fsck"), "none": ()}


def _slot(table: Table, sysroot: str) -> Slot:
    is_partition = table.has("partition")
    if is_partition == table.has("file"):
        raise table.fail("", "a slot is either a partition or a file: give one of the two keys")
    slot = Slot(
        name=table.text("name", pattern=r"[A-Za-z0-9]{1,16}"),
        file="" if is_partition else table.path("file"),
        partition=table.number("partition", least=1, most=255) if is_partition else 0,
        boot_prefix=table.text("boot_prefix", "", pattern=r"([A-Za-z0-9][A-Za-z0-9._-]*/)+"),
        label=table.text("label", "", pattern=r"[A-Za-z0-9._-]{1,16}"),
        sysroot=sysroot,
    )
    table.finish()
    return slot


def _check_slots(top: Table, slots: tuple[Slot, ...]) -> None:
    if len(slots) != 2:
        raise top.fail("slots", f"there are {len(slots)} slots, and there must be two")
    first, second = slots
    for key in ("name", "file", "partition", "label", "boot_prefix"):
        if getattr(first, key) and getattr(first, key) == getattr(second, key):
            raise top.fail("slots", f"both slots have the {key} {getattr(first, key)!r}")
    if bool(first.file) != bool(second.file):
        raise top.fail("slots", "one slot is a file and the other a partition")
    if bool(first.boot_prefix) != bool(second.boot_prefix):
        raise top.fail("slots", "one slot has a boot_prefix, so the other needs one too")
    prefixes = sorted(slot.boot_prefix.casefold() for slot in slots)
    if prefixes[0] and prefixes[1].startswith(prefixes[0]):
        raise top.fail("slots", f"the boot_prefix {prefixes[1]!r} lies in {prefixes[0]!r}, that of the other slot")


def _boot(table: Table) -> Boot:
    boot = Boot(
        directory=table.path("directory"),
        size=table.size("size"),
        user_files=table.texts("user_files", ()),
        edits=table.choice("edited", ("save", "keep", "refuse"), "save"),
        from_root=table.path("from_root") if table.has("from_root") else None,
        grow=table.size("grow"),
    )
    for name in boot.user_files:
        parts = name.rstrip("/").split("/")
        if "" in parts or "." in parts or ".." in parts:
            raise table.fail("user_files", f"{name!r} is no path below the boot directory")
    table.finish()
    return boot


def _filesystem(table: Table, slots: tuple[Slot, ...]) -> Filesystem:
    kind = table.choice("kind", tuple(FILESYSTEM_PROGRAMS), "none")
    filesystem = Filesystem(kind, table.choice("uuid", ("fresh", "image"), "image") == "fresh", read_keep(table))
    if kind == "none" and (filesystem.fresh_uuid or filesystem.keep or any(slot.label for slot in slots)):
        raise table.fail("kind", 'labels, a fresh UUID and kept files need the kind of filesystem, such as "ext4"')
    table.finish()
    return filesystem
