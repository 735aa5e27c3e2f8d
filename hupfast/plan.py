"""
The plan: everything that can be refused is refused here, before the first byte is written.

`make_plan` looks at the manifest, the board and its situation, and either returns what will be done, or
raises NothingToDo (exit 3) or Refused (exit 4) with the reason and the way out.
"""

import os
import stat
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from hupfast.board import Board, missing_programs
from hupfast.bootfiles import BootPlan, plan_boot_files
from hupfast.detect import read_facts
from hupfast.engine import probe, version
from hupfast.errors import DataError, MemoryBudgetError, NothingToDo, Refused
from hupfast.machine import Machine
from hupfast.manifest import ImageMember, Manifest
from hupfast.shipped import load_shipped
from hupfast.situation import Situation
from hupfast.slot import Stamp, plan_stamp
from hupfast.slots import Slot
from hupfast.system import free_space, nearest
from hupfast.table import chunk_count, table_size
from hupfast.target import check_target
from hupfast.version import version_key

STEPS = ("image", "slot", "boot", "switch")
"""The stages that write, in order."""

_STATE_RESERVE = 1 << 20


@dataclass(frozen=True)
class Plan:
    """
    What an update will do. Sizes in bytes.

    again: the slot held this bundle, or a part of it, when it was last seen, so that what is there is read, and only
    what differs is written: the journal tells what was done, never what the slot holds now. disarm:
    the bootloader must first forget an older trial. memory_needed: the least budget the image asks for.
    spool: bytes of boot files that wait on the state partition, because the bundle is a stream.
    warnings: sentences on what this board cannot do as safely as others.
    """

    board: str
    name: str
    version: str
    running: str
    running_version: str
    target: str
    target_path: Path
    slot_size: int
    image_size: int
    bundle_image_size: int
    memory: int
    memory_needed: int
    again: bool
    disarm: bool
    stamp: Stamp
    boot: BootPlan
    spool: int
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The plan for JSON output."""
        boot = {
            "directory": str(self.boot.directory),
            "needed": self.boot.peak,
            "free": self.boot.free,
            "files": [
                {"path": change.path, "action": change.action, "size": change.size} for change in self.boot.changes
            ],
        }
        own = {key: value for key, value in vars(self).items() if key not in ("boot", "stamp", "target_path", "disarm")}
        return {
            **own,
            "target_path": str(self.target_path),
            "steps": STEPS,
            "slot": asdict(self.stamp),
            "boot": boot,
        }


@dataclass(frozen=True)
class Wish:
    """What the user asked for beyond the bundle. memory: the engine's budget in bytes."""

    memory: int
    allow_downgrade: bool = False


def make_plan(
    machine: Machine, situation: Situation, manifest: Manifest, digest: str, wish: Wish, *, is_stream: bool
) -> Plan:
    """
    Plan one update. Changes nothing. digest: names the bundle (Front.digest).

    Raises: NothingToDo, Refused, TargetError, MemoryBudgetError, DataError.
    """
    board = machine.board
    running = board.slot(situation.running)
    _check_board(board, manifest)
    _check_deny(machine, manifest)
    _check_situation(machine, situation, manifest)
    _check_versions(machine, situation, manifest, wish)
    _check_programs(board)
    target = board.other(running.name)
    target_path, active_path = machine.path_of(target), machine.path_of(running)
    _check_slots(target, target_path, running, active_path)
    _check_mounts(machine, active_path, manifest)
    base = machine.root if target.partition else "/"
    found = check_target(target_path, image_size=manifest.image.image_size, root=base)
    needed = memory_needed(manifest.image)
    if needed > wish.memory:
        raise MemoryBudgetError(
            f"the image needs a memory budget of {needed} bytes, and {wish.memory} are allowed;"
            f" give --memory {-(-needed // (1 << 20))}M",
            needed=needed,
        )
    boot = plan_boot_files(
        machine.boot_directory,
        target.boot_prefix,
        manifest.boot,
        user_files=board.boot.user_files,
        limit=board.boot.size,
        shipped=load_shipped(machine.state_directory),
        edits=board.boot.edits,
    )
    spool = sum(member.size for member in boot.members) if is_stream else 0
    _check_space(machine, boot, spool)
    transaction, record = machine.state.transaction, machine.record(target.name)
    there = {found.manifest for found in (transaction, record) if found is not None}
    return Plan(
        board=board.name,
        name=manifest.name,
        version=manifest.version,
        running=running.name,
        running_version=machine.running_version(running.name),
        target=target.name,
        target_path=target_path,
        slot_size=found.size,
        image_size=manifest.image.image_size,
        bundle_image_size=manifest.image.size,
        memory=wish.memory,
        memory_needed=needed,
        again=digest in there,
        disarm=situation.boot.trial is not None or situation.boot.failed is not None,
        stamp=plan_stamp(board, target, machine.running_files(running.name)),
        boot=boot,
        spool=spool,
        warnings=_warnings(machine, target, boot),
    )


def memory_needed(image: ImageMember) -> int:
    """The least memory budget for an image, by what its chunk table must begin with. Raises: DataError."""
    count = chunk_count(image.image_size, image.chunk_size)
    table = table_size(count)
    if table >= 1 << 32:
        raise DataError(f"the manifest tells of {image.image_size} bytes in chunks of {image.chunk_size}: too many")
    if image.size <= table:
        raise DataError(f"{image.name} has {image.size} bytes, too few for the image that the manifest tells of")
    head = struct.pack(
        "<II8sQIIQ32x",
        0x184D2A5C,
        table - 8,
        b"HUPCHNK1",
        image.image_size,
        image.chunk_size,
        count,
        image.size - table,
    )
    return probe(head).memory


def _warnings(machine: Machine, target: Slot, boot: BootPlan) -> tuple[str, ...]:
    found = []
    if not machine.bootloader.falls_back:
        found.append(
            f"the bootloader of the board {machine.board.name} cannot count tries: a system that does not come up far"
            " enough to run `hupfast confirm` or `hupfast rollback` stays"
        )
    if not target.boot_prefix and any(change.action == "replace" for change in boot.changes):
        found.append(
            "both slots share their boot files: from the first replaced file to the switch, the board boots"
            " new boot files with the old root file system"
        )
    return tuple(found)


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


def _check_versions(machine: Machine, situation: Situation, manifest: Manifest, wish: Wish) -> None:
    for what, has in (("hupfast", _own_version()), ("system", machine.running_version(situation.running))):
        least = manifest.minimum_versions.get(what)
        if least is not None and has and version_key(has) < version_key(least):
            raise Refused(
                f"{manifest.name} {manifest.version} needs {what} {least} or later, and this is {what} {has};"
                " update to a version in between first"
            )
    record = machine.record(situation.running)
    version = machine.running_version(situation.running)
    if not version or (record is not None and record.name not in ("", manifest.name)):
        return
    if version_key(version) == version_key(manifest.version):
        raise NothingToDo(f"{manifest.name} {version} is running already")
    if version_key(manifest.version) < version_key(version) and not wish.allow_downgrade:
        raise Refused(
            f"{manifest.name} {manifest.version} is older than {version}, which is running;"
            " --allow-downgrade installs it nevertheless"
        )


def _own_version() -> str:
    """ "0.1.0" of the engine's "hupfast 0.1.0, zstd 1.5.4"."""
    return version().partition(",")[0].removeprefix("hupfast").strip()


def _check_programs(board: Board) -> None:
    missing = missing_programs(board)
    if missing:
        raise Refused(f"the board {board.name} needs {', '.join(missing)} to prepare a slot; install e2fsprogs")


def _check_slots(target: Slot, target_path: Path, running: Slot, active_path: Path) -> None:
    if os.path.samefile(target_path, active_path):
        raise Refused(
            f"slot {target.name} ({target_path}) and the running slot {running.name} ({active_path})"
            " are the same; writing would destroy the running system; correct the profile or the links"
        )


def _check_mounts(machine: Machine, active: Path, manifest: Manifest) -> None:
    """Journal and boot files must not be in a slot: there they would go with the system that they are to save."""
    if not stat.S_ISBLK(active.stat().st_mode):
        return
    needed = [(machine.state_directory, "the state directory")]
    if manifest.boot:
        needed.append((machine.boot_directory, "the boot directory"))
    for directory, what in needed:
        there = nearest(directory)
        if there.stat().st_dev in (active.stat().st_rdev, machine.root.stat().st_dev):
            raise Refused(
                f"{what} {directory} is part of the running slot, not of a partition of its own;"
                " mount that first, or correct the profile"
            )


def _check_space(machine: Machine, boot: BootPlan, spool: int) -> None:
    if boot.peak > boot.free:
        raise Refused(
            f"the boot files need {boot.peak} bytes in {boot.directory} at the peak of the copy,"
            f" and {boot.free} are free; remove files that are not needed there"
        )
    state = free_space(machine.state_directory)
    needed = boot.undo_size + spool + _STATE_RESERVE
    if needed > state.free:
        raise Refused(
            f"the update needs {needed} bytes in {machine.state_directory}, and {state.free} are free; make room there"
        )
