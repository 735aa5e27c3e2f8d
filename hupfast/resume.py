"""Go on with an update that was cut off: what systemd/hupfast-resume.service does at boot (see request.py)."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.board import load_board
from hupfast.errors import NothingToDo, SourceError
from hupfast.journal import Journal
from hupfast.lock import exclusive
from hupfast.request import Request, next_attempt, save_request
from hupfast.system import under
from hupfast.transaction import UpdateResult, update

if TYPE_CHECKING:
    import os

    from hupfast.transaction import StageFunction
    from hupfast.writer import ProgressFunction


def resume_update(
    *,
    board: str | None = None,
    root: "str | os.PathLike[str]" = "/",
    progress: "ProgressFunction | None" = None,
    on_stage: "StageFunction | None" = None,
) -> UpdateResult:
    """
    Go on with the update that was cut off, as it was asked for. board: name of the profile, as for update().

    Raises: NothingToDo when none was, Refused when it was cut off too often, and what update() raises.
    """
    system_root = Path(root)
    state = under(system_root, load_board(board, system_root).state)
    with exclusive(state):
        transaction = Journal(state).state.transaction
        request = next_attempt(state, transaction.durable if transaction else 0)
    try:
        return _update(request, board, root, progress, on_stage)
    except SourceError:  # the line is to blame, and not the update: it may be better later
        with exclusive(state):
            save_request(state, replace(request, attempts=0))
        raise
    except NothingToDo:
        with exclusive(state):
            save_request(state, None)
        raise


def _update(
    request: Request,
    board: str | None,
    root: "str | os.PathLike[str]",
    progress: "ProgressFunction | None",
    on_stage: "StageFunction | None",
) -> UpdateResult:
    return update(
        request.source,
        board=board or request.board,
        root=root,
        reboot=request.reboot,
        key=request.key,
        allow_unsigned=request.allow_unsigned,
        allow_downgrade=request.allow_downgrade,
        memory=request.memory,
        transport=request.transport,
        limit_write=request.limit_write,
        background=request.background,
        progress=progress,
        on_stage=on_stage,
        attempts=request.attempts,
        durable=request.durable,
    )
