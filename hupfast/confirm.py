"""
After the reboot: make the running system permanent, or go back to the other one.

Exit codes beyond the errors that every command can end in:

confirm   0 permanent now, or nothing was on trial; 1 a health check failed; 8 the last update fell back;
          10 a reboot is needed first
rollback  0 the trial was called off before its reboot; 4 the other slot holds no complete system;
          10 a reboot leads back

`confirm` keeps ending in 8 until the next update begins, so that whoever calls it after an update learns that
the running system is the old one, no matter who has called it before. `status` tells the same and ends in 0.

A failed health check changes nothing but the journal: the trial goes on, a later `confirm` may pass, and when
the tries of the bootloader are used up it goes back by itself, with the cause on record. `confirm --or-rollback`
goes back at once; that is what a board does by itself at boot (systemd/hupfast-confirm.service).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hupfast.board import load_board
from hupfast.errors import EXIT_REBOOT, HupfastError, Refused, RolledBack
from hupfast.health import Check, run_checks
from hupfast.journal import Transaction
from hupfast.lock import exclusive
from hupfast.machine import Machine
from hupfast.system import boot_id, under


class _Unhealthy(HupfastError):
    """A health check failed."""


@dataclass(frozen=True)
class Aftermath:
    """
    How confirm or rollback ended that did not raise.

    outcome: "confirmed", "nothing" (nothing is on trial), "called off" (the trial, before its reboot), "kept"
    (the trial has all its tries again), or "reboot" (a reboot leads to `slot`). slot: the one that boots from
    now on. checks: health checks that were run.
    """

    outcome: str
    slot: str
    version: str
    checks: tuple[Check, ...] = ()

    @property
    def exit_code(self) -> int:
        """What the command ends in."""
        return EXIT_REBOOT if self.outcome == "reboot" else 0

    def as_dict(self) -> dict[str, object]:
        """For JSON output."""
        return asdict(self)


def confirm(
    *, board: str | None = None, root: str | os.PathLike[str] = "/", or_rollback: bool = False, reboot: bool = False
) -> Aftermath:
    """
    Make the running system permanent when it is on trial and healthy.

    or_rollback: when it is not healthy, do not wait for the tries to be used up, but go back at once: the
    outcome is "reboot" then, and the cause is on record. reboot: do so when the outcome is "reboot".
    Raises: RolledBack (8) when the last update fell back, HupfastError (1) when a health check fails, Busy (9).
    """
    with _opened(board, root) as machine:
        transaction, this_boot = machine.state.transaction, boot_id(machine.root)
        result = _judge(machine, or_rollback)
        if reboot and result.outcome == "reboot":
            told_before = transaction is not None and machine.state.transaction is not None
            if told_before and transaction is not None and transaction.boot_id not in ("", this_boot):
                raise HupfastError(
                    f"the bootloader was told to boot slot {result.slot}, the board was rebooted since, and it runs the"
                    " other one: rebooting again would not help; look whether the profile is that of this board"
                )
            machine.reboot()
        return result


def _judge(machine: Machine, or_rollback: bool) -> Aftermath:
    situation = machine.recover()
    running = situation.running
    version = machine.running_version(running)
    if situation.kind == "trial":
        try:
            checks = _checked(machine, running, version)
        except _Unhealthy:
            if not or_rollback:
                raise
            return _fall_back(machine, running)
        machine.bootloader.confirm()
        machine.note_confirmed(running)
        return Aftermath("confirmed", running, version, checks)
    if situation.boot.next != running:
        following = machine.record(situation.boot.next)
        return Aftermath("reboot", situation.boot.next, following.version if following else "")
    last = machine.state.last
    if last is not None and last.result == "fell back" and situation.kind == "idle":
        raise RolledBack(
            f"{last.name} {last.version} is not running: {last.reason}; the old system in slot {running} is"
        )
    return Aftermath("nothing", running, version)


def keep_trial(*, board: str | None = None, root: str | os.PathLike[str] = "/") -> Aftermath:
    """
    Give the trial that is running all its tries again: a system that is shut down cleanly has not failed.

    Returns "kept", or "nothing" when nothing is on trial.
    """
    with _opened(board, root) as machine:
        situation = machine.recover()
        if situation.kind == "trial":
            machine.bootloader.switch(situation.running, trial=True)
        outcome = "kept" if situation.kind == "trial" else "nothing"
        return Aftermath(outcome, situation.running, machine.running_version(situation.running))


def rollback(*, board: str | None = None, root: str | os.PathLike[str] = "/") -> Aftermath:
    """
    Go back to the other slot; before the reboot of an update, call the update off.

    A system that was never confirmed is tried only, as an update is. Raises: Refused (4) when the other slot
    holds no complete system, Busy (9).
    """
    with _opened(board, root) as machine:
        situation = machine.recover()
        running = situation.running
        if situation.kind == "pending":
            machine.bootloader.switch(running, trial=False)
            machine.end("rolled back", "it was called off by `hupfast rollback` before the reboot")
            return Aftermath("called off", running, machine.running_version(running))
        other = machine.board.other(running).name
        record = machine.record(other)
        version = record.version if record else ""
        if situation.kind == "trial":
            machine.bootloader.switch(other, trial=False)
            machine.end("rolled back", "`hupfast rollback` was asked for while it was on trial")
            return Aftermath("reboot", other, version)
        if situation.boot.next != running:
            return Aftermath("reboot", other, version)
        if record is None:
            why = "an update into it was cut off" if situation.kind == "interrupted" else "nothing was installed there"
            raise Refused(f"slot {other} holds no complete system ({why}), so there is nothing to go back to")
        if record.confirmed:
            machine.bootloader.switch(other, trial=False)
            machine.note_left(running, "`hupfast rollback` was asked for after it had been confirmed")
            return Aftermath("reboot", other, version)
        _try_again(machine, running, other)
        return Aftermath("reboot", other, version)


def _try_again(machine: Machine, running: str, other: str) -> None:
    """Put a system that is whole, and was never confirmed, on trial."""
    record = machine.state.slots[other]
    transaction = Transaction(
        name=record.name,
        version=record.version,
        manifest=record.manifest,
        target=other,
        previous=running,
        stage="boot",
        boot_id=boot_id(machine.root),
    )
    if machine.bootloader.state().failed is not None:
        machine.bootloader.switch(running, trial=False)
    machine.journal.save(replace(machine.state, transaction=transaction))
    machine.bootloader.switch(other, trial=True)
    machine.journal.advance("switched")


def _checked(machine: Machine, running: str, version: str) -> tuple[Check, ...]:
    """Run the health checks, and note the first problem. Raises: HupfastError when there is one."""
    checks = run_checks(machine.board.health, root=machine.root, slot=running, version=version)
    failed = [check for check in checks if check.problem]
    if not failed:
        return tuple(checks)
    reason = f"{failed[0].name} {failed[0].problem}"
    transaction = machine.state.transaction
    if transaction is not None:
        machine.journal.save(replace(machine.state, transaction=replace(transaction, health=reason)))
    raise _Unhealthy(
        f"the system in slot {running} is not healthy: {reason}"
        f" ({len(failed)} of {len(checks)} health checks failed); it stays on trial:"
        " repair it and run `hupfast confirm` again, or go back with `hupfast rollback`"
    )


def _fall_back(machine: Machine, running: str) -> Aftermath:
    """Leave a trial that is not healthy. Cut off in here, the journal still has the cause."""
    other = machine.board.other(running).name
    transaction, record = machine.state.transaction, machine.record(other)
    health = transaction.health if transaction is not None else "a health check failed"
    machine.bootloader.switch(other, trial=False)
    machine.end("fell back", f"slot {running} was tried and was not healthy: {health}")
    return Aftermath("reboot", other, record.version if record else "")


@contextmanager
def _opened(board: str | None, root: str | os.PathLike[str]) -> Iterator[Machine]:
    system_root = Path(root)
    profile = load_board(board, system_root)
    with exclusive(under(system_root, profile.state)):
        yield Machine(profile, system_root)
