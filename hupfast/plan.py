"""
The plan: everything that can be refused is refused here, before the first byte is written.

`make_plan` looks at the manifest, the board and its situation, and either returns what will be done, or
raises NothingToDo (exit 3) or Refused (exit 4) with the reason and the way out.
"""

import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hupfast.bench.settings import WriteSettings, saved_settings
from hupfast.boardconfig import ConfigPlan, plan_config
from hupfast.bootfiles import BootPlan, plan_boot_files
from hupfast.bundle import Bundle
from hupfast.engine import probe
from hupfast.enlarge import Enlargement, plan_enlargement
from hupfast.errors import DataError, MemoryBudgetError, Refused
from hupfast.fetch import SURVEY_MEMORY, Survey
from hupfast.gates import check_gates, check_mounts, check_slots, warnings
from hupfast.machine import Machine
from hupfast.manifest import BootMember, ImageMember, Manifest
from hupfast.raw import RawChange, members_to_fetch, plan_raw, undo_size
from hupfast.shipped import load_shipped
from hupfast.situation import Situation
from hupfast.slot import Stamp, plan_stamp
from hupfast.slots import Slot
from hupfast.spool import waiting_size
from hupfast.system import free_space
from hupfast.table import chunk_count, table_size
from hupfast.target import check_target

STEPS = ("image", "slot", "boot", "switch")
"""The stages that write, in order."""

_STATE_RESERVE = 1 << 20
_OWN = ("older", "survey", "trace", "measured")
"""Of a plan, what its document has in another form, or not at all."""
_STREAM_WARNING = (
    "this source cannot be read from where it was cut off: the update would start again from its beginning"
)


@dataclass(frozen=True)
class Plan:
    """
    What an update will do. Sizes in bytes.

    again: the slot held this bundle, or a part of it, when it was last seen, so that what is there is read, and only
    what differs is written: the journal tells what was done, never what the slot holds now. disarm:
    the bootloader must first forget an older trial. memory_needed: the least budget the image asks for.
    spool: bytes of boot files that will wait on the state partition, because the bundle is not on this machine.
    warnings: sentences on what this board cannot do as safely as others, or is not as it was shipped. config:
    whether config.json has to come from where an older system had it. raw: bootloaders outside of partitions.
    enlargement: of the boot partition; when it has to grow, that is all that this update does. older: the running
    slot. durable: bytes of the image that a run that was cut off need not write again. rate: bytes a second at the
    slot, 0: no limit. trace: file for the timeline. measured: what `hupfast bench --save` has found for the medium.
    background: others on the machine come first. survey: what would be fetched and written (--dry-run).
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
    config: ConfigPlan
    raw: tuple[RawChange, ...]
    enlargement: Enlargement
    older: Path
    durable: int
    rate: int
    measured: WriteSettings | None = None
    trace: Path | None = None
    background: bool = False
    survey: Survey | None = None

    @property
    def to_fetch(self) -> list[BootMember]:
        """What will be read from the bundle before its image."""
        return [*self.boot.members, *members_to_fetch(self.raw)]

    @property
    def bytes_to_fetch(self) -> int:
        """Of the bundle: what the image lacks, else all of it, and boot files that are not waiting yet."""
        return self.spool + (self.survey.fetched if self.survey else self.bundle_image_size)

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
        apart = ("boot", "stamp", "target_path", "disarm", "config", "raw", "enlargement", *_OWN)
        own = {key: value for key, value in vars(self).items() if key not in apart}
        return {
            **own,
            "target_path": str(self.target_path),
            "steps": STEPS,
            "slot": asdict(self.stamp),
            "boot": boot,
            "raw": [
                {"name": change.member.path, "offset": change.offset, "action": change.action} for change in self.raw
            ],
            "grow": self.enlargement.sentence or None,
            "survey": self.survey.as_dict() if self.survey else None,
            "bytes_to_fetch": self.bytes_to_fetch,
            "measured": asdict(self.measured) if self.measured else None,
            "config_from": str(self.config.source) if self.config.source else None,
        }


@dataclass(frozen=True)
class Wish:
    """What the user asked for beyond the bundle. memory: the engine's budget in bytes. The rest: see Plan."""

    memory: int
    allow_downgrade: bool = False
    rate: int = 0
    trace: Path | None = None
    background: bool = False


def make_plan(machine: Machine, situation: Situation, manifest: Manifest, wish: Wish, bundle: Bundle) -> Plan:
    """
    Plan one update. Changes nothing. manifest: of the bundle, accepted.

    Raises: NothingToDo, Refused, TargetError, MemoryBudgetError, DataError.
    """
    board = machine.board
    digest = bundle.front.digest
    running = board.slot(situation.running)
    check_gates(machine, situation, manifest, allow_downgrade=wish.allow_downgrade)
    target = board.other(running.name)
    target_path, active_path = machine.path_of(target), machine.path_of(running)
    check_slots(target, target_path, running, active_path)
    check_mounts(machine, active_path, manifest)
    base = machine.root if target.partition else "/"
    found = check_target(target_path, image_size=manifest.image.image_size, root=base)
    needed = memory_needed(manifest.image) + (0 if bundle.is_stream else SURVEY_MEMORY) + bundle.memory
    if needed > wish.memory:
        raise MemoryBudgetError(
            f"the image needs a memory budget of {needed} bytes, and {wish.memory} are allowed;"
            f" give --memory {-(-needed // (1 << 20))}M",
            needed=needed,
        )
    boot = plan_boot(machine, target, manifest.boot)
    config = plan_config(board.config, machine.root)
    enlargement = plan_enlargement(machine, target, manifest.image.image_size)
    raw = _plan_raw(machine, target, manifest)
    waiting = [] if bundle.is_local else [*boot.members, *members_to_fetch(raw)]
    spool = waiting_size(waiting, machine.spool_directory)
    stamp = plan_stamp(board, target, machine.running_files(running.name))
    if enlargement.growth is None:
        check_boot_space(boot)
    _check_space(machine, boot, spool + undo_size(raw) + sum(kept.size for kept in stamp.keep))
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
        stamp=stamp,
        boot=boot,
        spool=spool,
        warnings=(
            *(sentence for sentence in (config.warning, enlargement.sentence, enlargement.warning) if sentence),
            *warnings(machine, target, boot, raw),
            *([_STREAM_WARNING] if bundle.is_stream else []),
        ),
        config=config,
        raw=raw,
        enlargement=enlargement,
        older=active_path,
        durable=_durable(machine, target, manifest, digest),
        rate=wish.rate,
        trace=wish.trace,
        background=wish.background,
        measured=None if wish.background else saved_settings(str(target_path), str(machine.root), board.state),
    )


def plan_boot(machine: Machine, target: Slot, members: Sequence[BootMember], *, found: bool = False) -> BootPlan:
    """
    The boot files of an update. found: the members are those that were found in the new root file system; where the
    profile wants these, nothing is known of them before, and nothing but leftovers is planned.

    Raises: Refused.
    """
    boot = machine.board.boot
    later = boot.from_root is not None and not found
    if later and members:
        raise Refused(
            f"the bundle has boot files, and the profile {machine.board.path} takes them from {boot.from_root} of the"
            " new root file system; make the bundle without them"
        )
    return plan_boot_files(
        machine.boot_directory,
        "" if later else target.boot_prefix,
        members,
        user_files=boot.user_files,
        limit=boot.size,
        shipped=load_shipped(machine.state_directory),
        edits=boot.edits,
    )


def _durable(machine: Machine, target: Slot, manifest: Manifest, digest: str) -> int:
    """How much of exactly this image a run that was cut off has left in the slot, and has noted."""
    transaction = machine.state.transaction
    if transaction is None or (transaction.manifest, transaction.target) != (digest, target.name):
        return 0
    if transaction.stage == "image":
        return manifest.image.image_size
    return transaction.durable if transaction.stage == "begun" else 0


def _plan_raw(machine: Machine, target: Slot, manifest: Manifest) -> tuple[RawChange, ...]:
    if not manifest.raw:
        return ()
    disk = machine.disk(target)
    return plan_raw(machine.board.raw, manifest.raw, disk.path, disk.partitions, disk.size)


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
        b"HUPCHNK2",
        image.image_size,
        image.chunk_size,
        count,
        image.size - table,
    )
    return probe(head).memory


def check_boot_space(boot: BootPlan) -> None:
    """Raises: Refused when the boot files do not fit at the peak of their copy."""
    if boot.peak > boot.free:
        raise Refused(
            f"the boot files need {boot.peak} bytes in {boot.directory} at the peak of the copy,"
            f" and {boot.free} are free; remove files that are not needed there"
        )


def _check_space(machine: Machine, boot: BootPlan, waiting: int) -> None:
    """waiting: bytes that lie on the state partition for a while: boot files of a stream, kept files."""
    state = free_space(machine.state_directory)
    needed = boot.undo_size + waiting + _STATE_RESERVE
    if needed > state.free:
        raise Refused(
            f"the update needs {needed} bytes in {machine.state_directory}, and {state.free} are free; make room there"
        )
