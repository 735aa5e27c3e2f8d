"""Go on with an update that was cut off: what systemd/hupfast-resume.service does at boot (see request.py)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.board import load_board
from hupfast.errors import NothingToDo, SourceError
from hupfast.lock import exclusive
from hupfast.machine import Machine
from hupfast.request import next_attempt, save_request, source_failed
from hupfast.system import under
from hupfast.transaction import UpdateResult, carry_out

if TYPE_CHECKING:
    import os

    from hupfast.plan import Plan
    from hupfast.transaction import StageFunction
    from hupfast.writer import ProgressFunction


def resume_update(
    *,
    board: str | None = None,
    root: "str | os.PathLike[str]" = "/",
    tell: Callable[[str], None] | None = None,
    progress: "ProgressFunction | None" = None,
    on_stage: "StageFunction | None" = None,
    on_plan: "Callable[[Plan], None] | None" = None,
) -> UpdateResult:
    """
    Go on with the update that was cut off, as it was asked for. board: name of the profile, as for update(). tell: see
    hupfast.source.transport.

    Raises: NothingToDo when none was, Refused when it was cut off too often, and what update() raises.
    """
    system_root = Path(root)
    profile = load_board(board, system_root)
    state = under(system_root, profile.state)
    with exclusive(state):
        machine = Machine(profile, system_root)
        machine.recover()  # an update that has fallen back has ended, also when nobody has noted it yet
        transaction = machine.state.transaction
        request = next_attempt(state, transaction.durable if transaction else 0)
    try:
        return carry_out(
            request.source,
            replace(request, board=board or request.board),
            root=system_root,
            transport=replace(request.transport, tell=tell),
            progress=progress,
            on_stage=on_stage,
            on_plan=on_plan,
        )
    except SourceError:
        with exclusive(state):
            source_failed(state, request)
        raise
    except NothingToDo:
        with exclusive(state):
            save_request(state, None)
        raise
