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
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.board import load_board
from hupfast.bundle import Bundle, open_bundle
from hupfast.engine import MEMORY_DEFAULT
from hupfast.errors import EXIT_REBOOT, HupfastError
from hupfast.fetch import Survey, survey_image
from hupfast.hold import Stopped, held_locks, stopped
from hupfast.install import grow, install
from hupfast.keys import trusted_keys
from hupfast.lock import exclusive
from hupfast.machine import Machine
from hupfast.manifest import Manifest
from hupfast.plan import Plan, Wish, make_plan
from hupfast.request import Request, repeatable
from hupfast.situation import Situation
from hupfast.system import under
from hupfast.trace import check_trace
from hupfast.trust import check_trust

if TYPE_CHECKING:
    from hupfast.source import SourceLike
    from hupfast.source.transport import Transport
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
    transport: "Transport | None" = None,
    limit_write: int = 0,
    trace: "str | os.PathLike[str] | None" = None,
    background: bool = False,
    progress: "ProgressFunction | None" = None,
    on_stage: StageFunction | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> UpdateResult:
    """
    Install a bundle on the slot that is not running, and have the bootloader try it at the next boot.

    source: path, http(s) URL, "-" or an open file. board: name of the profile, None to detect it. root: where
    the board's system is. memory: bytes that the engine may use. progress: see hupfast.writer. on_stage: see
    StageFunction; what it raises stops the update between two stages. transport: how addresses are reached.
    limit_write: bytes a second that the slot is written and read with, 0: no limit. trace, background: see write_image.
    on_plan: called with the plan before anything is written.

    Calling it again after it was cut off continues or repeats it, until the reboot. Raises: NothingToDo,
    Refused and UsageError before anything is written; DataError, MediumError, SourceError and HupfastError
    while the running system stays as it is, and stays what boots next; Busy.
    """
    asked = Request(
        source=repeatable(source) or "",
        board=board,
        key=_absolute(key),
        allow_unsigned=allow_unsigned,
        allow_downgrade=allow_downgrade,
        memory=memory,
        reboot=reboot,
        ca_file=_absolute(transport.ca_file if transport else None),
        auth_file=_absolute(transport.auth_file if transport else None),
        limit_rate=transport.limit_rate if transport else 0,
        limit_write=limit_write,
        background=background,
    )
    return carry_out(
        source,
        asked,
        root=Path(root),
        dry_run=dry_run,
        transport=transport,
        trace=None if trace is None else Path(trace),
        progress=progress,
        on_stage=on_stage,
        on_plan=on_plan,
    )


def carry_out(
    source: "SourceLike",
    asked: Request,
    *,
    root: Path,
    dry_run: bool = False,
    transport: "Transport | None" = None,
    trace: Path | None = None,
    progress: "ProgressFunction | None" = None,
    on_stage: StageFunction | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> UpdateResult:
    """What update() and resume_update() share. asked: what is kept for another attempt, unless its source is ""."""
    announce = on_stage or _nobody
    if trace is not None:
        check_trace(trace)
    profile = load_board(asked.board, root)
    key = None if asked.key is None else Path(asked.key)
    keys = trusted_keys(root, key, allow_unsigned=asked.allow_unsigned)
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(exclusive(under(root, profile.state)))
        machine = Machine(profile, root)
        bundle = stack.enter_context(open_bundle(source, memory=asked.memory, transport=transport))
        check_trust(bundle.front, keys, allow_unsigned=asked.allow_unsigned)
        manifest = bundle.accept()
        situation = machine.situation() if dry_run else machine.recover()
        if not dry_run:
            machine.empty_scratch()
        if _is_pending(machine, situation, bundle.front.digest):
            if not dry_run:
                machine.drop_request()
            reboot = asked.reboot and not dry_run
            return _finish(machine, manifest, situation.boot.next, None, None, reboot, announce)
        wish = Wish(asked.memory, asked.allow_downgrade, asked.limit_write, trace, asked.background)
        plan = make_plan(machine, situation, manifest, wish, bundle)
        if dry_run:
            plan = replace(plan, survey=_survey(bundle, manifest, plan, progress))
            return UpdateResult("planned", manifest.name, manifest.version, plan.target, plan, None)
        for warning in plan.warnings:
            machine.log.note(f"warning: {warning}")
        if on_plan is not None:
            on_plan(plan)
        return _do(machine, plan, bundle, manifest, asked, progress, announce)


def _do(
    machine: Machine,
    plan: Plan,
    bundle: Bundle,
    manifest: Manifest,
    asked: Request,
    progress: "ProgressFunction | None",
    announce: StageFunction,
) -> UpdateResult:
    """The plan stands: carry it out, with services stopped that must not run meanwhile."""
    request, hold = asked if asked.source else None, machine.board.hold
    if plan.enlargement.growth is not None:
        grow(machine, plan, request, announce)
        return _finish(machine, manifest, plan.target, plan, None, asked.reboot, announce)
    with stopped(hold.stop, machine.root) as services:
        report = install(machine, plan, bundle, manifest, bundle.front.digest, request, progress, announce)
        if not asked.reboot or hold.locks:  # who holds the reboot off must be able to end that
            _start_again(machine, services)
    return _finish(machine, manifest, plan.target, plan, report, asked.reboot, announce)


def _absolute(path: "str | os.PathLike[str] | None") -> str | None:
    return None if path is None else os.path.abspath(path)


def _survey(bundle: Bundle, manifest: Manifest, plan: Plan, progress: "ProgressFunction | None") -> Survey | None:
    """What of the image would be fetched and written; None for a stream, which comes whole."""
    if bundle.is_stream:
        return None
    source = bundle.image()
    older = plan.older if source.remote else None
    return survey_image(
        source,
        manifest.image,
        plan.target_path,
        older=older,
        memory=plan.memory,
        rate=plan.rate,
        background=plan.background,
        progress=progress,
    )


def _start_again(machine: Machine, services: Stopped) -> None:
    """The update is installed: a service that does not come up again does not make it fail."""
    try:
        services.start()
    except HupfastError as error:
        machine.log.note(str(error))


def _is_pending(machine: Machine, situation: Situation, digest: str) -> bool:
    transaction = machine.state.transaction
    return situation.kind == "pending" and transaction is not None and transaction.manifest == digest


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
