"""
`hupfast update`, `status`, `confirm` and `rollback`: one update of a board, and what comes after its reboot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from hupfast.cli.output import Size, as_size, human, json_option, print_json, progress, quiet_option, say
from hupfast.cli.transport import background_option, limit_write_option, trace_option, transport_of, transport_options

if TYPE_CHECKING:
    from hupfast.choose import Choice
    from hupfast.confirm import Aftermath
    from hupfast.plan import Plan
    from hupfast.status import SlotStatus, Status
    from hupfast.transaction import UpdateResult

_board_option = click.option("--board", metavar="NAME", help="Name of the board's profile.  [default: detected]")
_root_option = click.option(
    "--root", metavar="DIR", default="/", show_default=True, help="Where the board's system is."
)

_OF_A_REQUEST = (
    "dry_run",
    "reboot",
    "key",
    "allow_unsigned",
    "allow_downgrade",
    "memory",
    "ca_file",
    "auth_file",
    "limit_rate",
    "limit_write",
    "background",
    "trace",
)
"""Options that --resume takes from the update that was cut off."""

_STAGES = {
    "fetch": "checking the boot files",
    "image": "writing the image",
    "slot": "preparing the slot",
    "boot": "installing the boot files",
    "switch": "telling the bootloader to try it",
    "grow": "growing the boot partition",
    "reboot": "rebooting",
}


@click.command(short_help="Install a bundle on this board's inactive slot.")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--resume", is_flag=True, help="Go on with the update that was cut off, as it was asked for.")
@_board_option
@_root_option
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be done, and stop.")
@click.option("--reboot/--no-reboot", default=False, show_default=True, help="Reboot when all is installed.")
@click.option("--key", metavar="FILE", help="Public key (PEM) to trust.  [default: /etc/hupfast/keys/*.pem]")
@click.option("--allow-unsigned", is_flag=True, help="Trust the bundle without a signature.")
@click.option("--allow-downgrade", is_flag=True, help="Install a version older than the running one.")
@click.option("--memory", type=Size(), default="16M", show_default=True, help="Budget for buffers and decoders.")
@transport_options
@limit_write_option
@background_option
@trace_option
@json_option
@quiet_option
def update(
    sources: tuple[str, ...],
    resume: bool,
    board: str | None,
    root: str,
    dry_run: bool,
    reboot: bool,
    key: str | None,
    allow_unsigned: bool,
    allow_downgrade: bool,
    memory: int,
    ca_file: str | None,
    auth_file: str | None,
    limit_rate: int,
    limit_write: int,
    background: bool,
    trace: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """
    Install the bundle SOURCE on the slot that is not running, and have it tried at the next boot.

    SOURCE is a file, an http://, https:// or oci:// address, or - for standard input. Of several, of a folder, or of
    a pattern, the newest that is for this board is taken. When the update is cut off, run the same command again, or
    --resume without SOURCE: it goes on where it was (not from standard input).

    \b
    Exit codes:
      0   rebooting (--reboot), or planned (--dry-run)
      3   that version is running already
      4   refused, nothing was written
      5   the bundle is bad
      6   the medium is bad
      7   the source failed: run it again
      9   another update is running
      10  reboot needed: it is installed, or the boot partition has grown first
    """
    from hupfast.choose import choose_bundle
    from hupfast.resume import resume_update
    from hupfast.transaction import update as run_update

    if resume == bool(sources):
        raise click.UsageError("give either SOURCE or --resume")
    if resume and _given(*_OF_A_REQUEST):
        raise click.UsageError("--resume goes on as the update was asked for: no other option of that goes with it")
    on_stage = None if quiet else _announce
    on_plan = None if quiet else _warn
    transport = transport_of(ca_file, auth_file, limit_rate, quiet=quiet)
    with progress(quiet) as show:
        if not sources:
            result = resume_update(
                board=board, root=root, tell=transport.tell, progress=show, on_stage=on_stage, on_plan=on_plan
            )
        else:
            choice = choose_bundle(
                sources,
                board=board,
                root=root,
                key=key,
                allow_unsigned=allow_unsigned,
                allow_downgrade=allow_downgrade,
                transport=transport,
            )
            if choice.others and not quiet:
                _tell_choice(choice)
            result = run_update(
                choice.source,
                board=board,
                root=root,
                dry_run=dry_run,
                reboot=reboot,
                key=key,
                allow_unsigned=allow_unsigned,
                allow_downgrade=allow_downgrade,
                memory=memory,
                transport=transport,
                limit_write=limit_write,
                background=background,
                trace=trace,
                on_plan=on_plan,
                progress=show,
                on_stage=on_stage,
            )
    if as_json:
        print_json({"ok": True, "exit_code": result.exit_code, **result.as_dict()})
    elif result.outcome == "planned" and result.plan is not None:
        from hupfast.cli.plan import show_plan

        show_plan(result.plan)
    elif not quiet:
        _show_update(result)
    return result.exit_code


@click.command(short_help="Show slots, versions, and what is running or pending.")
@_board_option
@_root_option
@json_option
def status(board: str | None, root: str, as_json: bool) -> None:
    """
    Show what the board runs, what each slot holds, what is pending, and how the last update ended.

    It changes nothing, and ends in 0 whatever it shows.
    """
    from hupfast.status import status as get_status

    found = get_status(board=board, root=root)
    if as_json:
        print_json({"ok": True, "exit_code": 0, **found.as_dict()})
    else:
        _show_status(found)


@click.command(short_help="Make the running system permanent after its health checks.")
@_board_option
@_root_option
@click.option("--or-rollback", is_flag=True, help="When it is not healthy, go back to the old system at once.")
@click.option("--reboot/--no-reboot", default=False, show_default=True, help="Reboot when that leads on or back.")
@click.option("--keep-trial", is_flag=True, help="Only give a running trial its tries again (at a clean shutdown).")
@json_option
@quiet_option
def confirm(
    board: str | None, root: str, or_rollback: bool, reboot: bool, keep_trial: bool, as_json: bool, quiet: bool
) -> int:
    """
    Run the health checks, and make the running system permanent when all of them pass.

    \b
    Exit codes:
      0   permanent, now or before
      1   a health check failed
      8   the last update fell back, the old system is running (until the next update begins)
      10  a reboot is needed: to get to the new system, or back to the old one (--or-rollback)
    """
    if keep_trial and (or_rollback or reboot):
        raise click.UsageError("--keep-trial stands alone: it neither checks nor reboots")
    from hupfast.confirm import confirm as run_confirm
    from hupfast.confirm import keep_trial as run_keep_trial

    words = {
        "confirmed": lambda r: (
            f"slot {r.slot}{_version(r)} is permanent ({_count(len(r.checks), 'health check')} passed)"
        ),
        "nothing": lambda r: f"nothing is on trial: slot {r.slot}{_version(r)} is permanent",
        "kept": lambda r: f"slot {r.slot}{_version(r)} stays on trial, with all its tries",
        "reboot": lambda r: f"slot {r.slot}{_version(r)} is what boots next: reboot, then confirm",
    }
    if keep_trial:
        result = run_keep_trial(board=board, root=root)
    else:
        result = run_confirm(board=board, root=root, or_rollback=or_rollback, reboot=reboot)
    return _finish(result, words, as_json, quiet)


@click.command(short_help="Go back to the system in the other slot.")
@_board_option
@_root_option
@json_option
@quiet_option
def rollback(board: str | None, root: str, as_json: bool, quiet: bool) -> int:
    """
    Go back to the system in the other slot; before the reboot of an update, call the update off.

    \b
    Exit codes:
      0   the update is called off, the running system stays
      4   the other slot holds no complete system
      10  the other system boots next, reboot needed
    """
    from hupfast.confirm import rollback as run_rollback

    words = {
        "called off": lambda r: f"the update is called off: slot {r.slot}{_version(r)} stays",
        "reboot": lambda r: f"slot {r.slot}{_version(r)} is what boots next: reboot",
    }
    return _finish(run_rollback(board=board, root=root), words, as_json, quiet)


def _finish(result: Aftermath, words: dict[str, Callable[[Aftermath], str]], as_json: bool, quiet: bool) -> int:
    if as_json:
        print_json({"ok": True, "exit_code": result.exit_code, **result.as_dict()})
    elif not quiet:
        say(words[result.outcome](result))
    return result.exit_code


def _given(*names: str) -> bool:
    """Whether one of these options is on the command line."""
    context = click.get_current_context()
    return any(context.get_parameter_source(name) == ParameterSource.COMMANDLINE for name in names)


def _tell_choice(choice: Choice) -> None:
    from hupfast.source.address import public_source

    click.echo(f"taking {public_source(choice.source)}", err=True)
    for sentence in choice.others:
        click.echo(f"  not {sentence}", err=True)


def _warn(plan: Plan) -> None:
    if plan.measured is not None:
        block = as_size(plan.measured.block)
        click.echo(f"settings measured for this medium: block {block}, depth {plan.measured.depth}", err=True)
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)


def _announce(stage: str) -> None:
    click.echo(_STAGES[stage], err=True)


def _version(result: Aftermath) -> str:
    return f" (version {result.version})" if result.version else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _show_update(result: UpdateResult) -> None:
    what = f"{result.name} {result.version}"
    if result.report is not None:
        report = result.report
        rate = human(report.image_size / max(report.seconds, 1e-3))
        parts = [(report.unchanged, "there already"), (report.copied, "copied from the running system")]
        more = "".join(f", {human(size)} {words}" for size, words in parts if size)
        say(f"wrote and verified {human(report.image_size)} in {report.seconds:.1f} s ({rate}/s){more}")
    grown = result.plan is not None and result.plan.enlargement.growth is not None
    if grown and result.outcome == "rebooting":
        say(f"the boot partition has grown, and the board reboots: `hupfast update --resume` installs {what} then")
    elif result.outcome == "rebooting":
        say(f"{what} is installed in slot {result.slot}, and the board reboots into it")
    elif result.outcome == "pending":
        say(f"{what} was installed in slot {result.slot} before: reboot to try it")
    elif result.outcome == "grown":
        say(f"the boot partition has grown: reboot, then run the same command again to install {what}")
    else:
        say(f"{what} is installed in slot {result.slot}: reboot to try it, then `hupfast confirm`")
    if result.locks:
        say(f"the reboot is held off by {', '.join(map(str, result.locks))}: an application asks the board to stay up")


def _show_status(found: Status) -> None:
    version = f", version {found.version}" if found.version else ""
    say(f"board    {found.board}")
    say(f"running  slot {found.running}{version}")
    for slot in found.slots:
        say(f"slot {slot.slot}   {_describe(slot)}")
    say(f"state    {found.sentence}")
    if found.health:
        say(f"health   {found.health}")
    if found.last is not None:
        last = found.last
        when = time.strftime(" on %Y-%m-%d at %H:%M", time.localtime(last.at)) if last.at else ""
        reason = f": {last.reason}" if last.reason else ""
        say(f"last     {last.name} {last.version} in slot {last.slot} {last.result}{when}{reason}")
    if found.damage:
        say(f"warning  {found.damage}")


def _describe(slot: SlotStatus) -> str:
    words = {
        "complete": f"{slot.name} {slot.version}".strip() or "a system",
        "unknown": "nothing that hupfast has installed",
        "incomplete": "an update that was cut off",
    }
    marks = ["running"] if slot.running else []
    marks += ["boots next"] if slot.boots_next else []
    if slot.system == "complete":
        marks += ["confirmed" if slot.confirmed else "not confirmed"]
    return words[slot.system] + (f" ({', '.join(marks)})" if marks else "")
