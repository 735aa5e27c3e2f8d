"""
What the state of the journal, the bootloader and the running slot mean together. Pure.

The bootloader is the truth on what boots, because its one small write is what decides; the journal tells why.
A run can be cut off between a write of one and a write of the other, and each such moment has its name here:

```
idle         no update under way
interrupted  an update was cut off before the switch; the bootloader knows nothing of it
pending      the switch is made, the reboot is missing
trial        the new system runs, and is not confirmed
confirmed    the new system runs and is the default; the journal has not noted it yet
fell back    the trial is over without a confirmation; the old system runs
called off   the switch was taken back, or the new system was left, on purpose
```
"""

from dataclasses import dataclass

from hupfast.bootloaders import BootState
from hupfast.journal import State


@dataclass(frozen=True)
class Situation:
    """
    Where a board stands. kind: see above; running: the slot that runs; reason: for "fell back", else "".
    """

    kind: str
    running: str
    boot: BootState
    reason: str = ""


def judge(state: State, boot: BootState, running: str, boot_id: str) -> Situation:
    """The one situation that the facts make. boot_id: of this boot, "" when it is not known."""
    transaction = state.transaction
    if transaction is None or boot.trial not in (None, transaction.target):
        kind = "idle" if boot.trial is None else ("trial" if boot.trial == running else "pending")
        return Situation(kind, running, boot)
    target = transaction.target
    if boot.trial == target:
        return Situation("trial" if running == target else "pending", running, boot)
    if running == target:
        return Situation("confirmed" if boot.default == target else "called off", running, boot)
    if not transaction.reached("boot"):
        return Situation("interrupted", running, boot)
    rebooted = boot_id != "" and transaction.boot_id not in ("", boot_id)
    if boot.failed == target or (transaction.reached("switched") and boot.default != target and rebooted):
        reason = f"slot {target} was tried and not confirmed, so the bootloader went back to slot {boot.default}"
        if transaction.health:
            reason += f"; its last health check: {transaction.health}"
        return Situation("fell back", running, boot, reason)
    if transaction.reached("switched"):
        return Situation("called off", running, boot)
    return Situation("interrupted", running, boot)
