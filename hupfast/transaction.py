"""
The transaction: one update, from source to bootloader.

```
open bundle -> trust -> manifest -> plan | fetch -> begin -> image -> slot -> boot files -> switch -> (reboot)
                     nothing is written  |  each stage durable, then noted in the journal
```
What is done here is the order of things; how each stage works is in the module of its name. What comes after
the reboot is in confirm.py.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.board import load_board
from hupfast.boardconfig import migrate_config
from hupfast.bootfiles import BootPlan, ReadFunction, apply_boot_files, save_edits, shipped_by, sync_boot
from hupfast.bundle import Bundle, open_bundle
from hupfast.engine import MEMORY_DEFAULT
from hupfast.enlarge import enlarge
from hupfast.errors import EXIT_REBOOT, Cancelled, HupfastError, Refused, SourceError
from hupfast.ext4 import Ext4
from hupfast.hold import held_locks, inhibited, stopped
from hupfast.journal import SlotRecord, Transaction
from hupfast.lock import exclusive
from hupfast.machine import Machine
from hupfast.manifest import Manifest
from hupfast.plan import STEPS, Plan, Wish, check_boot_space, make_plan, plan_boot
from hupfast.rawwrite import apply_raw
from hupfast.request import Request, attempts_of, repeatable, save_request
from hupfast.rootboot import root_boot_files
from hupfast.shipped import load_shipped, note_changed, save_shipped
from hupfast.situation import Situation
from hupfast.slot import apply_stamp
from hupfast.spool import empty_spool, fetch_boot_files
from hupfast.system import boot_id, under
from hupfast.trust import check_key, check_trust
from hupfast.writer import write_image

if TYPE_CHECKING:
    from hupfast.source import SourceLike
    from hupfast.writer import ProgressFunction, Report

StageFunction = Callable[[str], None]
"""
Called with the name of a stage when it begins: "fetch", then those of hupfast.plan.STEPS, then "reboot"; or "grow"
and "reboot", when the boot partition has to grow first.
"""


@dataclass(frozen=True)
class UpdateResult:
    """
    How an update ended that did not raise.

    outcome: "planned" (--dry-run), "installed" (a reboot tries it), "pending" (it was installed before, the
    reboot is missing), "grown" (the boot partition: after a reboot the update goes on) or "rebooting". plan: None
    when pending. report: of the image, None when it was not
    written. locks: files of applications that have held off the reboot that was asked for.
    """

    outcome: str
    name: str
    version: str
    slot: str
    plan: Plan | None
    report: "Report | None"
    locks: tuple[Path, ...] = ()

    @property
    def exit_code(self) -> int:
        """What the command ends in."""
        return EXIT_REBOOT if self.outcome in ("installed", "pending", "grown") else 0

    def as_dict(self) -> dict[str, object]:
        """For JSON output."""
        return {
            "outcome": self.outcome,
            "name": self.name,
            "version": self.version,
            "slot": self.slot,
            "plan": self.plan.as_dict() if self.plan else None,
            "report": self.report.as_dict() if self.report else None,
            "locks": [str(path) for path in self.locks],
        }


def update(
    source: "SourceLike",
    *,
    board: str | None = None,
    root: "str | os.PathLike[str]" = "/",
    dry_run: bool = False,
    reboot: bool = False,
    key: "str | os.PathLike[str] | None" = None,
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    memory: int = MEMORY_DEFAULT,
    progress: "ProgressFunction | None" = None,
    on_stage: StageFunction | None = None,
) -> UpdateResult:
    """
    Install a bundle on the slot that is not running, and have the bootloader try it at the next boot.

    source: path, http(s) URL, "-" or an open file. board: name of the profile, None to detect it. root: where
    the board's system is. memory: bytes that the engine may use. progress: see hupfast.writer. on_stage: see
    StageFunction; what it raises stops the update between two stages.

    Calling it again after it was cut off continues or repeats it, until the reboot. Raises: NothingToDo,
    Refused and UsageError before anything is written; DataError, MediumError, SourceError and HupfastError
    while the running system stays as it is, and stays what boots next; Busy.
    """
    system_root = Path(root)
    profile = load_board(board, system_root)
    check_key(None if key is None else Path(key))
    again = repeatable(source)
    request = None
    if again is not None and not dry_run:
        key_path = None if key is None else os.path.abspath(key)
        request = Request(again, board, key_path, allow_unsigned, allow_downgrade, memory, reboot)
    announce = on_stage or _nobody
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(exclusive(under(system_root, profile.state)))
        machine = Machine(profile, system_root)
        bundle = stack.enter_context(open_bundle(source))
        check_trust(bundle.front, allow_unsigned=allow_unsigned)
        manifest, digest = bundle.accept(), bundle.front.digest
        situation = machine.situation() if dry_run else machine.recover()
        if _is_pending(machine, situation, digest):
            if not dry_run:
                save_request(machine.state_directory, None)
            return _finish(machine, manifest, situation.boot.next, None, None, reboot and not dry_run, announce)
        wish = Wish(memory, allow_downgrade)
        plan = make_plan(machine, situation, manifest, digest, wish, is_stream=bundle.is_stream)
        if dry_run:
            return UpdateResult("planned", manifest.name, manifest.version, plan.target, plan, None)
        if plan.enlargement.growth is not None:
            _grow(machine, plan, request, announce)
            return _finish(machine, manifest, plan.target, plan, None, reboot, announce)
        with stopped(profile.hold.stop, system_root) as services:
            report = _install(machine, plan, bundle, manifest, digest, request, progress, announce)
            result = _finish(machine, manifest, plan.target, plan, report, reboot, announce)
            if result.outcome != "rebooting":
                services.start()
            return result


def _is_pending(machine: Machine, situation: Situation, digest: str) -> bool:
    transaction = machine.state.transaction
    return situation.kind == "pending" and transaction is not None and transaction.manifest == digest


def _install(
    machine: Machine,
    plan: Plan,
    bundle: Bundle,
    manifest: Manifest,
    digest: str,
    request: Request | None,
    progress: "ProgressFunction | None",
    announce: StageFunction,
) -> "Report | None":
    """Carry out a plan; note why, when it fails."""
    report = None
    announce("fetch")
    read = fetch_boot_files(bundle, plan.to_fetch, machine.spool_directory)
    critical = ExitStack()
    try:
        _begin(machine, plan, manifest, digest)
        _remember(machine, request)
        for step in STEPS:
            announce(step)
            machine.log.note(step)
            if step == "boot":
                critical.enter_context(inhibited(machine.root, wanted=machine.board.hold.inhibit))
            if step == "image":
                report = write_image(
                    bundle.image(),
                    plan.target_path,
                    memory=plan.memory,
                    image_size=plan.image_size,
                    table_sha256=manifest.image.table_sha256,
                    skip_unchanged=plan.again,
                    progress=progress,
                )
                machine.journal.advance("image")
            elif step == "slot":
                _prepare_slot(machine, plan)
            elif step == "boot":
                migrate_config(plan.config)
                _install_boot_files(machine, *_boot_files(machine, plan, read))
                apply_raw(plan.raw, read, machine.raw_undo_directory)
                _note_complete(machine, plan, digest)
            else:
                machine.bootloader.switch(plan.target, trial=True)
                note_changed(machine.state_directory, machine.boot_directory, machine.bootloader.changed_files)
                machine.journal.advance("switched")
                machine.log.note(f"{plan.name} {plan.version} in slot {plan.target} installed: a reboot tries it")
    except (HupfastError, KeyboardInterrupt) as error:
        _disarm(machine, plan)
        cancelled = isinstance(error, (KeyboardInterrupt, Cancelled))
        # The error that stopped the update is the one to be seen, also when it cannot even be noted.
        with suppress(HupfastError):
            machine.note_failure("cancelled" if cancelled else "failed", str(error) or "interrupted")
            if not isinstance(error, SourceError):
                save_request(machine.state_directory, None)
        raise
    finally:
        critical.close()
    save_request(machine.state_directory, None)
    empty_spool(machine.spool_directory)
    empty_spool(machine.scratch_directory)
    return report


def _grow(machine: Machine, plan: Plan, request: Request | None, announce: StageFunction) -> None:
    """The inactive slot gives a part of it, so it stops being a system first. The request stays, to be gone on with."""
    announce("grow")
    machine.log.note(plan.enlargement.sentence)
    if plan.disarm:
        machine.bootloader.switch(plan.running, trial=False)
    machine.journal.save(replace(machine.state.with_slot(plan.target, None), transaction=None))
    _remember(machine, request)
    with inhibited(machine.root, wanted=machine.board.hold.inhibit):
        enlarge(machine, plan.enlargement)
    machine.log.note("the boot partition has grown: after a reboot, the update goes on")


def _remember(machine: Machine, request: Request | None) -> None:
    """The attempts of an update that is gone on with stay counted."""
    if request is not None:
        request = replace(request, attempts=attempts_of(machine.state_directory, request))
    save_request(machine.state_directory, request)


def _begin(machine: Machine, plan: Plan, manifest: Manifest, digest: str) -> None:
    """The target slot stops being a system: for the bootloader first, then for the journal."""
    if plan.disarm:
        machine.bootloader.switch(plan.running, trial=False)
    transaction = Transaction(
        name=manifest.name,
        version=manifest.version,
        manifest=digest,
        target=plan.target,
        previous=plan.running,
        stage="begun",
        boot_id=boot_id(machine.root),
    )
    state = machine.state.with_slot(plan.target, None)
    if machine.record(plan.running) is None:  # it was not installed by hupfast, and it works: it is running
        state = state.with_slot(plan.running, SlotRecord("", plan.running_version, "", confirmed=True))
    machine.log.note(f"update {plan.name} {plan.version} into slot {plan.target}, from {plan.running_version or '?'}")
    machine.journal.save(replace(state, transaction=transaction))


def _disarm(machine: Machine, plan: Plan) -> None:
    """After a failure the board boots what it booted before, also when the switch was cut off behind its write."""
    with suppress(HupfastError):
        if machine.bootloader.state().trial == plan.target:
            machine.bootloader.switch(plan.running, trial=False)


def _prepare_slot(machine: Machine, plan: Plan) -> None:
    if not plan.stamp.is_empty:
        machine.journal.advance("stamping")
        old = machine.running_files(plan.running)
        apply_stamp(plan.stamp, plan.target_path, old, machine.scratch_directory)
    machine.journal.advance("slot")


def _boot_files(machine: Machine, plan: Plan, read: ReadFunction) -> tuple[BootPlan, ReadFunction]:
    """Those of the plan, or those that the new root file system has. Raises: HupfastError when these cannot be used."""
    directory = machine.board.boot.from_root
    if directory is None:
        return plan.boot, read
    members, read = root_boot_files(Ext4(plan.target_path), directory, machine.scratch_directory)
    try:
        boot = plan_boot(machine, machine.board.slot(plan.target), members, found=True)
        check_boot_space(boot)
    except Refused as error:  # something was written: the image
        raise HupfastError(str(error)) from None
    return boot, read


def _install_boot_files(machine: Machine, boot: BootPlan, read: ReadFunction) -> None:
    """What is ours is noted before and after, so that no moment in between looks like a user's edit."""
    before = load_shipped(machine.state_directory)
    save_shipped(machine.state_directory, shipped_by(boot, before, done=False))
    save_edits(boot, machine.state_directory / "edited")
    apply_boot_files(boot, read, machine.undo_directory)
    sync_boot(boot.directory)
    save_shipped(machine.state_directory, shipped_by(boot, before, done=True))


def _note_complete(machine: Machine, plan: Plan, digest: str) -> None:
    """
    The target slot holds a complete system from here on; the boot that the switch is made in is noted too.
    """
    state = machine.state.with_slot(plan.target, SlotRecord(plan.name, plan.version, digest, confirmed=False))
    transaction = state.transaction
    if transaction is None:
        raise HupfastError("the journal has lost the update that is under way")
    machine.journal.save(replace(state, transaction=replace(transaction, stage="boot", boot_id=boot_id(machine.root))))
    machine.forget_undo()


def _finish(
    machine: Machine,
    manifest: Manifest,
    slot: str,
    plan: Plan | None,
    report: "Report | None",
    reboot: bool,
    announce: StageFunction,
) -> UpdateResult:
    outcome = "pending" if plan is None else "installed" if plan.enlargement.growth is None else "grown"
    locks = held_locks(machine.board.hold, machine.root) if reboot else ()
    if reboot and not locks:
        announce("reboot")
        machine.reboot()
        outcome = "rebooting"
    return UpdateResult(outcome, manifest.name, manifest.version, slot, plan, report, locks)


def _nobody(stage: str) -> None:
    """Nobody wants to know the stage."""
