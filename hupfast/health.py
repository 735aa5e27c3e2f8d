"""
Health checks: is the system that runs good enough to be made permanent?

Built-in ones, which the profile's [health] table turns on: systemd has no failed units, hosts answer, ports are
open. Then every executable file in the directory of the profile, in the order of the names, with nothing on its
standard input and these variables: HUPFAST_ROOT, HUPFAST_SLOT, HUPFAST_VERSION. Ending with status 0 within
the time limit means healthy. Files that are not executable, hidden ones and those ending in "~" are left out.

All of them are repeated until all pass at once, the attempts are used up, or the deadline is over: services and
networks take their time after a boot.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import HupfastError
from hupfast.profile import Table
from hupfast.system import explained, run, under


@dataclass(frozen=True)
class Health:
    """
    The [health] table of a profile. Times in seconds.

    directory: of the programs; timeout: for each check; attempts, interval, deadline: how often all of them are
    repeated, with what pause, and for how long altogether. units: ask systemd for failed units. hosts: must
    answer a ping; ports: (host, port) must take a TCP connection.
    """

    directory: str
    timeout: int = 60
    attempts: int = 1
    interval: int = 10
    deadline: int = 900
    units: bool = False
    hosts: tuple[str, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Check:
    """One health check that was run. problem: "" when it passed, else what went wrong in a few words."""

    name: str
    problem: str


def read_health(table: Table) -> Health:
    """The [health] table. Raises: Refused."""
    health = Health(
        directory=table.path("directory", "/etc/hupfast/health.d"),
        timeout=table.number("timeout", 60, least=1, most=3600),
        attempts=table.number("attempts", 1, least=1, most=1000),
        interval=table.number("interval", 10, least=1, most=3600),
        deadline=table.number("deadline", 900, least=1, most=86400),
        units=table.choice("units", ("none failed", "any"), "any") == "none failed",
        hosts=table.texts("hosts", ()),
        ports=tuple(_port(table, text) for text in table.texts("ports", ())),
    )
    for host in health.hosts:
        if host.startswith("-"):
            raise table.fail("hosts", f"{host!r} is no name of a host")
    table.finish()
    return health


def find_checks(directory: Path) -> list[Path]:
    """The programs that check a system in their order; none when there is no such directory."""
    if not directory.is_dir():
        return []
    with explained(f"cannot read the health checks in {directory}"):
        return sorted(
            path
            for path in directory.iterdir()
            if path.is_file() and os.access(path, os.X_OK) and not path.name.startswith(".") and path.name[-1] != "~"
        )


def run_checks(
    health: Health, *, root: Path, slot: str, version: str, pause: Callable[[float], None] = time.sleep
) -> list[Check]:
    """
    Run all health checks, also after one has failed, until they pass or attempts or time are used up.

    Returns those of the last attempt.
    """
    environment = {"HUPFAST_ROOT": str(root), "HUPFAST_SLOT": slot, "HUPFAST_VERSION": version}
    end = time.monotonic() + health.deadline
    for attempt in range(1, health.attempts + 1):
        checks = _run_once(health, root, environment, end)
        healthy = not any(check.problem for check in checks)
        if healthy or attempt == health.attempts or time.monotonic() + health.interval >= end:
            break
        pause(health.interval)
    return checks


def _run_once(health: Health, root: Path, environment: dict[str, str], end: float) -> list[Check]:
    def within() -> float:
        return min(float(health.timeout), max(end - time.monotonic(), 0.1))

    checks = [Check("systemd units", _failed_units(within()))] if health.units else []
    checks += [Check(f"host {host}", _no_answer(host, within())) for host in health.hosts]
    checks += [Check(f"port {host}:{port}", _closed(host, port, within())) for host, port in health.ports]
    programs = find_checks(under(root, health.directory))
    return checks + [Check(path.name, _problem(path, within(), environment)) for path in programs]


def _failed_units(timeout: float) -> str:
    try:
        finished = run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"], timeout=timeout)
    except HupfastError as error:
        return str(error)
    units = [line.split()[0] for line in finished.output.splitlines() if line.strip()]
    return f"failed: {', '.join(units)}" if units else ""


def _no_answer(host: str, timeout: float) -> str:
    try:
        finished = run(["ping", "-c", "1", "-W", str(max(int(timeout), 1)), host], timeout=timeout, check=False)
    except HupfastError as error:
        return str(error)
    return "" if finished.status == 0 else finished.last_words or "does not answer"


def _closed(host: str, port: int, timeout: float) -> str:
    import socket

    try:
        socket.create_connection((host, port), timeout=timeout).close()
    except OSError as error:
        return f"takes no connection: {error.strerror or error}"
    return ""


def _problem(path: Path, timeout: float, environment: dict[str, str]) -> str:
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


def _port(table: Table, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise table.fail("ports", f'{text!r} is not of the form "host:port"')
    return host.strip("[]"), int(port)
