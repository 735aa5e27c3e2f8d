"""
The gates of the plan: may this bundle be installed on this board now?

Each raises NothingToDo (exit 3) or Refused (exit 4) with the reason and the way out; `warnings` tells what is not
as safe as it could be, or not as it was shipped.
"""

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from hupfast.board import Board, missing_programs
from hupfast.bootfiles import BootPlan
from hupfast.detect import read_facts
from hupfast.engine import version
from hupfast.errors import HupfastError, NothingToDo, Refused
from hupfast.fingerprint import check_fingerprints
from hupfast.machine import Machine
from hupfast.manifest import Manifest
from hupfast.modules import custom_modules
from hupfast.policy import check_policy
from hupfast.raw import RawChange
from hupfast.situation import Situation
from hupfast.slots import Slot
from hupfast.system import nearest, read_small, under
from hupfast.version import version_key


def check_gates(machine: Machine, situation: Situation, manifest: Manifest, *, allow_downgrade: bool) -> None:
    """All that does not depend on where the slots are. Raises: NothingToDo, Refused."""
    _check_board(machine.board, manifest)
    _check_deny(machine, manifest)
    _check_situation(machine, situation, manifest)
    _check_versions(machine, situation, manifest, allow_downgrade=allow_downgrade)
    check_policy(machine.board.trust, manifest, time.time())
    _check_programs(machine.board)
    if machine.boot_directory.is_dir():
        _check_boot_mount(machine)
    if machine.board.hold.custom_modules == "refuse" and (found := custom_modules(machine.root)):
        raise Refused(
            f"kernel modules that are not part of the running system are loaded ({_listed(found)}), and the new system"
            " would be without them; add them to the new system, or unload them for the update"
        )


def warnings(machine: Machine, target: Slot, boot: BootPlan, raw: Sequence[RawChange]) -> tuple[str, ...]:
    """Sentences for the user; the update goes on."""
    found = [*_other_modules(machine), *_other_files(machine)]
    if not machine.bootloader.falls_back:
        found.append(
            f"the bootloader of the board {machine.board.name} cannot count tries: a system that does not come up far"
            " enough to run `hupfast confirm` or `hupfast rollback` stays"
        )
    if not target.boot_prefix and any(change.action == "replace" for change in boot.changes):
        found.append(
            "both slots share their boot files: from the first replaced file to the switch, the board boots"
            " new boot files with the old root file system, and they stay when the update is called off or falls back"
        )
    writes = [change for change in raw if change.action == "write"]
    if writes:
        found.append("both slots share the bootloader that is written: the board keeps it when it falls back")
    found += [
        f"there is one copy of {change.member.path} only: a power cut while it is written leaves a board that does not"
        " start"
        for change in writes
        if change.single
    ]
    return tuple(found)


def _other_modules(machine: Machine) -> list[str]:
    found = custom_modules(machine.root) if machine.board.hold.custom_modules == "warn" else []
    return [f"kernel modules that are not part of the running system are loaded: {_listed(found)}"] if found else []


def _other_files(machine: Machine) -> list[str]:
    """What was changed in the running system since it was shipped: to be known, not to stop for."""
    prints, sysroot = machine.board.fingerprints, under(machine.root, machine.board.slots[0].sysroot)
    pairs = [
        (prints.root, sysroot, prints.ignore),
        (prints.boot, machine.boot_directory, prints.ignore_boot),
    ]
    found = []
    for file, tree, ignore in pairs:
        if file is None:
            continue
        try:
            found.append(check_fingerprints(under(machine.root, file), tree, ignore).sentence)
        except HupfastError as error:
            found.append(f"it cannot be told whether the system is as it was shipped: {error}")
    return [sentence for sentence in found if sentence]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _check_board(board: Board, manifest: Manifest) -> None:
    if not set(manifest.boards) & {board.name, *board.compatible}:
        raise Refused(
            f"{manifest.name} {manifest.version} is for the board {' or '.join(manifest.boards)},"
            f" and this is the board {board.name}; get the bundle for it"
        )


def _check_deny(machine: Machine, manifest: Manifest) -> None:
    model = read_facts(machine.root).model
    for rule in machine.board.deny:
        if rule.forbids(model, manifest.version):
            raise Refused(
                f"{manifest.name} {manifest.version} must not be installed on {model or 'this'}: {rule.reason}"
            )


def _check_situation(machine: Machine, situation: Situation, manifest: Manifest) -> None:
    running, boot = situation.running, situation.boot
    if situation.kind == "trial":
        record = machine.record(running)
        if record is not None and (record.name, record.version) == (manifest.name, manifest.version):
            raise NothingToDo(
                f"{manifest.name} {manifest.version} is running already, on trial; `hupfast confirm` makes it permanent"
            )
        raise Refused(
            f"the system in slot {running} is on trial,"
            " and an update would overwrite the one to fall back to;"
            " run `hupfast confirm` or `hupfast rollback` first"
        )
    if boot.trial is None and boot.default != running:
        raise Refused(f"slot {running} is running and slot {boot.default} is what boots next; reboot, then update")


def _check_versions(machine: Machine, situation: Situation, manifest: Manifest, *, allow_downgrade: bool) -> None:
    for what, has in (("hupfast", _own_version()), ("system", machine.running_version(situation.running))):
        least = manifest.minimum_versions.get(what)
        if least is not None and not has and not allow_downgrade:
            raise Refused(
                f"{manifest.name} {manifest.version} needs {what} {least} or later, and which one runs cannot be told:"
                " neither the journal nor /etc/os-release (VERSION_ID) says; if it is new enough, --allow-downgrade"
                " installs it nevertheless"
            )
        if least is not None and has and version_key(has) < version_key(least):
            raise Refused(
                f"{manifest.name} {manifest.version} needs {what} {least} or later, and this is {what} {has};"
                " update to a version in between first"
            )
    _check_replay(machine, situation, manifest, allow_downgrade=allow_downgrade)


def _check_replay(machine: Machine, situation: Situation, manifest: Manifest, *, allow_downgrade: bool) -> None:
    """Older than what runs, or than what has run: a board that went back must not be led further back."""
    record = machine.record(situation.running)
    version = machine.running_version(situation.running)
    newest = machine.state.newest.get(manifest.name, "")
    if version and (record is None or record.name in ("", manifest.name)):
        if version_key(version) == version_key(manifest.version):
            raise NothingToDo(f"{manifest.name} {version} is running already")
        if version_key(manifest.version) < version_key(version) and not allow_downgrade:
            raise Refused(
                f"{manifest.name} {manifest.version} is older than {version}, which is running;"
                " --allow-downgrade installs it nevertheless"
            )
    if newest and version_key(manifest.version) < version_key(newest) and not allow_downgrade:
        raise Refused(
            f"{manifest.name} {manifest.version} is older than {newest}, which was confirmed here before;"
            " --allow-downgrade installs it nevertheless"
        )


def _own_version() -> str:
    """ "0.1.0" of the engine's "hupfast 0.1.0, zstd 1.5.4"."""
    return version().partition(",")[0].removeprefix("hupfast").strip()


def _check_programs(board: Board) -> None:
    missing = missing_programs(board)
    if missing:
        raise Refused(f"the board {board.name} needs {', '.join(missing)} to prepare a slot; install e2fsprogs")


def check_slots(target: Slot, target_path: Path, running: Slot, active_path: Path) -> None:
    if os.path.samefile(target_path, active_path):
        raise Refused(
            f"slot {target.name} ({target_path}) and the running slot {running.name} ({active_path})"
            " are the same; writing would destroy the running system; correct the profile or the links"
        )


def _check_boot_mount(machine: Machine) -> None:
    """
    On a FAT that is mounted "sync" or "dirsync", a rename leaves two names for one file for a moment: after a power cut
    in it, removing one of them would destroy the other. Raises: Refused.
    """
    number = machine.boot_directory.stat().st_dev
    for line in (
        (read_small(under(machine.root, "/proc/self/mountinfo")) or b"").decode("utf-8", "replace").splitlines()
    ):
        before, _, behind = line.partition(" - ")
        fields, kind = before.split(), behind.split()
        if len(fields) > 5 and len(kind) > 2 and fields[2] == f"{os.major(number)}:{os.minor(number)}":
            options = {*fields[5].split(","), *kind[2].split(",")} & {"sync", "dirsync"}
            if kind[0] in ("vfat", "msdos") and options:
                raise Refused(
                    f"{machine.boot_directory} is mounted with {' and '.join(sorted(options))}, with which Linux's FAT"
                    " cannot replace a file safely; remount it without"
                )


def check_mounts(machine: Machine, active: Path, manifest: Manifest) -> None:
    """Journal and boot files must not be in a slot: there they would go with the system that they are to save."""
    if not stat.S_ISBLK(active.stat().st_mode):
        return
    needed = [(machine.state_directory, "the state directory")]
    if manifest.boot or machine.board.boot.from_root or machine.board.config.file:
        needed.append((machine.boot_directory, "the boot directory"))
    for directory, what in needed:
        there = nearest(directory)
        if there.stat().st_dev in (active.stat().st_rdev, machine.root.stat().st_dev):
            raise Refused(
                f"{what} {directory} is part of the running slot, not of a partition of its own;"
                " mount that first, or correct the profile"
            )
