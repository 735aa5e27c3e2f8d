"""
Health checks: is the system that runs good enough to be made permanent?

Every executable file in the directory of the profile is run, in the order of the names, with nothing on its
standard input and these variables: HUPFAST_ROOT, HUPFAST_SLOT, HUPFAST_VERSION. Ending with status 0 within
the time limit means healthy. Files that are not executable, hidden ones and those ending in "~" are left out.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from hupfast.system import explained, run


@dataclass(frozen=True)
class Check:
    """One health check that was run. problem: "" when it passed, else what went wrong in a few words."""

    name: str
    problem: str


def find_checks(directory: Path) -> list[Path]:
    """The health checks of a system in their order; none when there is no such directory."""
    if not directory.is_dir():
        return []
    with explained(f"cannot read the health checks in {directory}"):
        return sorted(
            path
            for path in directory.iterdir()
            if path.is_file() and os.access(path, os.X_OK) and not path.name.startswith(".") and path.name[-1] != "~"
        )


def run_checks(directory: Path, *, timeout: float, root: Path, slot: str, version: str) -> list[Check]:
    """Run all health checks, also after one has failed. timeout: seconds for each."""
    environment = {"HUPFAST_ROOT": str(root), "HUPFAST_SLOT": slot, "HUPFAST_VERSION": version}
    return [Check(path.name, _problem(path, timeout, environment)) for path in find_checks(directory)]


def _problem(path: Path, timeout: float, environment: dict[str, str]) -> str:
    from hupfast.errors import HupfastError

    try:
        finished = run([str(path.absolute())], timeout=timeout, check=False, environment=environment)
    except HupfastError as error:
        return str(error)
    if finished.status is None:
        return f"took longer than {timeout:g} s"
    if finished.status != 0:
        how = f"ended with status {finished.status}" if finished.status > 0 else f"died by signal {-finished.status}"
        return f"{how}: {finished.last_words}" if finished.last_words else how
    return ""
