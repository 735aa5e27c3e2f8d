"""The plan of an update, as words (`hupfast update --dry-run`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hupfast.cli.output import human, say

if TYPE_CHECKING:
    from hupfast.plan import Plan

_ACTIONS = {
    "write": "writes",
    "replace": "replaces",
    "same": "has already",
    "user": "leaves, it is the user's,",
    "edited": "leaves, it was edited,",
    "remove": "removes",
    "leftover": "removes the leftover",
}


def show_plan(plan: Plan) -> None:
    """Print what an update would do."""
    from hupfast.keep import describe

    running = f"slot {plan.running} runs" + (f" version {plan.running_version}" if plan.running_version else "")
    say(f"board {plan.board}: {running}")
    say(f"would install {plan.name} {plan.version} into slot {plan.target} ({plan.target_path}):")
    say(
        f"  image       {human(plan.bundle_image_size)}, {human(plan.image_size)} unpacked,"
        f" the slot has {human(plan.slot_size)};"
        f" memory {human(plan.memory)}, at least {human(plan.memory_needed)}"
    )
    if plan.survey is not None:
        survey = plan.survey
        say(
            f"  to do       {human(plan.bytes_to_fetch)} to fetch, {human(survey.written)} to write;"
            f" {human(survey.there)} are in the slot already, {human(survey.copied)} are copied from the running system"
        )
    if not plan.stamp.is_empty:
        parts = [f"label {plan.stamp.label}"] if plan.stamp.label else []
        parts += ["a fresh UUID"] if plan.stamp.fresh_uuid else []
        parts += [f"kept: {', '.join(describe(plan.stamp.keep))}"] if plan.stamp.keep else []
        say(f"  slot        {'; '.join(parts)}")
    for change in plan.boot.changes:
        note = ", after saving the user's edit of it" if change.edited else ""
        say(f"  boot file   {_ACTIONS[change.action]} {change.path} ({human(change.size)}){note}")
    say(f"  boot space  {human(plan.boot.peak)} at the peak, {human(plan.boot.free)} free in {plan.boot.directory}")
    for raw in plan.raw:
        verb = "writes" if raw.action == "write" else "has already"
        say(f"  bootloader  {verb} {raw.member.path} ({human(raw.member.size)}) at {human(raw.offset)} of {raw.disk}")
    if plan.config.source:
        say(f"  config      {plan.config.file} comes from {plan.config.source}, where an older system had it")
    say(f"  bootloader  tries slot {plan.target} at the next boot, and falls back to slot {plan.running}")
    for warning in plan.warnings:
        say(f"  warning     {warning}")
    if plan.again:
        say("the slot held some of it when it was last seen: what is there is read, and only what differs is written")
    say("nothing was written")
