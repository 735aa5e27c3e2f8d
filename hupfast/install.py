"""
Carrying out a plan: image, slot, boot files, switch, each durable and noted in the journal before the next.

What the boot files stage replaces can be put back until the switch is durable: a run that fails or is cut off before
leaves the old boot files, or has them put back by whatever command comes next (Machine.recover).
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hupfast.boardconfig import migrate_config
from hupfast.bootfiles import BootPlan, ReadFunction, apply_boot_files, save_edits, shipped_by, sync_boot
from hupfast.bundle import Bundle
from hupfast.enlarge import enlarge
from hupfast.errors import Cancelled, HupfastError, Refused, SourceError
from hupfast.ext4 import Ext4
from hupfast.fetch import fetch_image
from hupfast.hold import inhibited, stopped
from hupfast.journal import SlotRecord, Transaction
from hupfast.machine import Machine
from hupfast.manifest import Manifest
from hupfast.plan import STEPS, Plan, check_boot_space, plan_boot
from hupfast.rawwrite import apply_raw
from hupfast.request import Request, save_request
from hupfast.rootboot import root_boot_files
from hupfast.shipped import Digests, load_shipped, note_changed, save_shipped
from hupfast.slot import apply_stamp
from hupfast.spool import fetch_boot_files
from hupfast.system import boot_id
from hupfast.writer import write_image

if TYPE_CHECKING:
    from hupfast.writer import ProgressFunction, Report


def install(
    machine: Machine,
    plan: Plan,
    bundle: Bundle,
    manifest: Manifest,
    digest: str,
    request: Request | None,
    progress: "ProgressFunction | None",
    announce: Callable[[str], None],
) -> "Report | None":
    """
    Carry out a plan; when it fails, what was replaced is put back, and the reason is noted.

    Raises: HupfastError and its kinds, KeyboardInterrupt: the running system is what boots next then.
    """
    report = None
    announce("fetch")
    try:
        read = fetch_boot_files(bundle, plan.to_fetch, machine.spool_directory)
    except (HupfastError, KeyboardInterrupt) as error:
        if not _goes_on(error):
            with suppress(HupfastError):
                machine.empty_waiting()
        raise
    critical = ExitStack()
    try:
        _begin(machine, plan, manifest, digest)
        save_request(machine.state_directory, request)
        for step in STEPS:
            announce(step)
            machine.log.note(step)
            if step == "image":
                report = _write_image(machine, plan, bundle, manifest, progress)
                machine.journal.advance("image")
            elif step == "slot":
                _prepare_slot(machine, plan)
            elif step == "boot":
                critical.enter_context(inhibited(machine.root, wanted=machine.board.hold.inhibit))
                shipped = _install_boot_files(machine, plan, read)
                _note_complete(machine, plan, digest)
            else:
                machine.bootloader.switch(plan.target, trial=True)
                machine.journal.advance("switched")
    except (HupfastError, KeyboardInterrupt) as error:
        _give_up(machine, plan, error)
        raise
    finally:
        critical.close()
    _tidy_up(machine, plan, shipped)
    save_request(machine.state_directory, None)
    machine.empty_waiting()
    return report


def grow(machine: Machine, plan: Plan, request: Request | None, announce: Callable[[str], None]) -> None:
    """
    Let the boot partition grow: all that an update does that has to. The request stays, to be gone on with.

    The inactive slot gives a part of it, so it stops being a system first. Raises: as install().
    """
    announce("grow")
    machine.log.note(plan.enlargement.sentence)
    if plan.disarm:
        machine.bootloader.switch(plan.running, trial=False)
    machine.journal.save(replace(machine.state.with_slot(plan.target, None), transaction=None))
    save_request(machine.state_directory, request)
    try:
        with (
            stopped(machine.board.hold.stop, machine.root) as services,
            inhibited(machine.root, wanted=machine.board.hold.inhibit),
        ):
            enlarge(machine, plan.enlargement)
            with suppress(HupfastError):  # the reboot that follows starts them too
                services.start()
    except (HupfastError, KeyboardInterrupt) as error:
        machine.log.note(f"the boot partition has not grown: {error}")
        if not _goes_on(error):
            machine.drop_request()
        raise
    machine.log.note("the boot partition has grown: after a reboot, the update goes on")


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
        durable=plan.durable,
    )
    state = machine.state.with_slot(plan.target, None)
    if machine.record(plan.running) is None:  # it was not installed by hupfast, and it works: it is running
        state = state.with_slot(plan.running, SlotRecord("", plan.running_version, "", confirmed=True))
    machine.log.note(f"update {plan.name} {plan.version} into slot {plan.target}, from {plan.running_version or '?'}")
    machine.journal.save(replace(state, transaction=transaction))


def _write_image(
    machine: Machine, plan: Plan, bundle: Bundle, manifest: Manifest, progress: "ProgressFunction | None"
) -> "Report":
    """Only what is missing, where the source can seek; a stream comes whole, and at most it is not written again."""
    source = bundle.image()
    block, depth = (plan.measured.block, plan.measured.depth) if plan.measured else (0, 0)
    if source.seekable:
        run = partial(
            fetch_image,
            source,
            manifest.image,
            plan.target_path,
            older=plan.older if source.remote else None,
            trusted=plan.durable,
            mark=machine.note_durable,
        )
    else:
        run = partial(
            write_image,
            source,
            plan.target_path,
            image_size=plan.image_size,
            table_sha256=manifest.image.table_sha256,
            skip_unchanged=plan.again,
        )
    return run(
        memory=plan.memory,
        rate=plan.rate,
        block=block,
        depth=depth,
        trace=plan.trace,
        background=plan.background,
        progress=progress,
    )


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


def _install_boot_files(machine: Machine, plan: Plan, read: ReadFunction) -> Digests:
    """
    Config, boot files, raw ranges. Returns what will be ours on the boot partition once the switch is made.

    Until then the old bytes and the new ones are ours: no moment in between looks like a user's edit.
    """
    try:
        migrate_config(plan.config)
    except Refused as error:  # something was written: the image
        raise HupfastError(str(error)) from None
    boot, read = _boot_files(machine, plan, read)
    before = load_shipped(machine.state_directory)
    save_shipped(machine.state_directory, shipped_by(boot, before, done=False))
    save_edits(boot, machine.state_directory / "edited")
    apply_boot_files(boot, read, machine.undo_directory)
    sync_boot(boot.directory)
    apply_raw(plan.raw, read, machine.raw_undo_directory)
    return shipped_by(boot, before, done=True)


def _note_complete(machine: Machine, plan: Plan, digest: str) -> None:
    """
    The target slot holds a complete system from here on; the boot that the switch is made in is noted too.
    """
    state = machine.state.with_slot(plan.target, SlotRecord(plan.name, plan.version, digest, confirmed=False))
    transaction = state.transaction
    if transaction is None:
        raise HupfastError("the journal has lost the update that is under way")
    machine.journal.save(replace(state, transaction=replace(transaction, stage="boot", boot_id=boot_id(machine.root))))


def _tidy_up(machine: Machine, plan: Plan, shipped: Digests) -> None:
    """The switch is made: there is nothing to put back. What does not succeed here, the next command does."""
    with suppress(HupfastError):
        machine.forget_undo()
        save_shipped(machine.state_directory, shipped)
        note_changed(machine.state_directory, machine.boot_directory, machine.bootloader.changed_files)
    machine.log.note(f"{plan.name} {plan.version} in slot {plan.target} installed: a reboot tries it")


def _give_up(machine: Machine, plan: Plan, error: BaseException) -> None:
    """
    After a failure the board boots what it booted before, also when the switch was cut off behind its write.

    The error that stopped the update is the one to be seen, also when none of this succeeds.
    """
    with suppress(HupfastError):
        if machine.bootloader.state().trial == plan.target:
            machine.bootloader.switch(plan.running, trial=False)
    with suppress(HupfastError):
        machine.put_back()
    with suppress(HupfastError):
        cancelled = isinstance(error, (KeyboardInterrupt, Cancelled))
        machine.note_failure("cancelled" if cancelled else "failed", str(error) or "interrupted")
    with suppress(HupfastError):
        machine.empty_scratch()
    if not _goes_on(error):
        machine.drop_request()


def _goes_on(error: BaseException) -> bool:
    """
    An update that failed has ended. Not when its source failed, which may be there after the next boot, and not when
    the system is going down (SIGTERM) or its terminal has gone.
    """
    return isinstance(error, SourceError) or str(error) in ("SIGTERM", "SIGHUP")
