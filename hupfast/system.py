"""
The one place where hupfast meets the operating system: paths below the root, programs, files, facts.

Every path of a profile starts at the system root: "/" on the board itself, "/host" in a container that has
the host mounted there, the board's folder for a virtual board.
"""

import errno
import os
import signal
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hupfast.errors import HupfastError, MediumError

BLOCK = 256 * 1024
"""Bytes of one read or write where Python copies (boot files only; the engine writes the images)."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OUTPUT_LIMIT = 64 * 1024
_MEDIUM_ERRNOS = frozenset({errno.EIO, errno.EUCLEAN, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO})


def under(root: Path, path: str) -> Path:
    """Place an absolute path of a profile below the system root."""
    return root / path.lstrip("/")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """
    Turn an OSError inside into one sentence that starts with `what` ("cannot write /boot/kernel").

    Raises: MediumError when the errno says that the medium is bad, HupfastError for every other errno.
    """
    try:
        yield
    except OSError as error:
        kind = MediumError if error.errno in _MEDIUM_ERRNOS else HupfastError
        raise kind(f"{what}: {error.strerror or error}", errno=error.errno) from error


# ---- programs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """A program that has ended. status: exit status, negative for a signal, None when its time ran out."""

    status: int | None
    output: str
    error: str

    @property
    def last_words(self) -> str:
        """The last line that it printed, to be quoted in a message; may be empty."""
        lines = (self.output + "\n" + self.error).strip().splitlines()
        return lines[-1].strip()[:200] if lines else ""


def find_program(name: str) -> str | None:
    """Path of a program, or None. Looks into the sbin directories too, which a user's PATH may lack."""
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for directory in (os.environ.get("PATH", "") + ":" + _PATH).split(":"):
        candidate = os.path.join(directory, name)
        if directory and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def run(
    argv: Sequence[str],
    *,
    timeout: float = 120.0,
    check: bool = True,
    text: str = "",
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """
    Run a program to its end and return what it printed (the last 64 KiB of each stream).

    argv: program and arguments; never a shell string. timeout: seconds, then its process group is killed.
    text: its standard input. environment: added to a small fixed one (PATH, LC_ALL=C, HOME).
    Raises: HupfastError when it cannot be started; with `check` also when it fails or takes too long.
    """
    import subprocess

    program = find_program(argv[0])
    if program is None:
        raise HupfastError(f"the program {argv[0]} is not installed")
    variables = {"PATH": _PATH, "LC_ALL": "C", "HOME": "/", **(environment or {})}
    with (
        explained(f"cannot run {argv[0]}"),
        subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            start_new_session=True,
        ) as process,
    ):
        status: int | None
        try:
            output, error = process.communicate(text.encode(), timeout=timeout)
            status = process.returncode
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            output, error = process.communicate()
            status = None
        except BaseException:
            _kill_group(process.pid)
            raise
    finished = Finished(status, _decoded(output), _decoded(error))
    if check and finished.status != 0:
        how = f"took longer than {timeout:g} s" if status is None else f"ended with status {status}"
        words = f": {finished.last_words}" if finished.last_words else ""
        raise HupfastError(f"{' '.join(argv)} {how}{words}")
    return finished


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _decoded(data: bytes) -> str:
    return data[-_OUTPUT_LIMIT:].decode("utf-8", "replace")


# ---- reading files ------------------------------------------------------------------------------------------


def read_chunks(path: Path, *, past_cache: bool = False) -> Iterator[bytes]:
    """
    The bytes of a file, piece by piece. Raises: HupfastError, MediumError.

    past_cache: forget the cached pages first, so that clean pages are read from the medium again.
    """
    with explained(f"cannot read {path}"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if past_cache:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := os.read(fd, BLOCK):
                yield chunk
        finally:
            os.close(fd)


def digest(chunks: Iterable[bytes]) -> bytes:
    """SHA-256 of bytes that come piece by piece."""
    import hashlib

    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return state.digest()


def read_small(path: Path, limit: int = 1 << 20) -> bytes | None:
    """
    A small file's bytes, or None when there is no such file. Raises: HupfastError (too large, unreadable).
    """
    with explained(f"cannot read {path}"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:  # a NUL in what was read as a name
            raise HupfastError(f"cannot read {str(path)!r}: {error}") from None
        with open(fd, "rb") as file:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
            data = file.read(limit + 1)
    if len(data) > limit:
        raise HupfastError(f"{path} is larger than {limit} bytes, which is not what belongs there")
    return data


# ---- facts -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Space:
    """Room on a filesystem, in bytes. cluster: a file takes a multiple of this."""

    free: int
    cluster: int


def nearest(directory: Path) -> Path:
    """The directory, or the nearest parent of it that exists."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory


def free_space(directory: Path) -> Space:
    """Room where `directory` (or the nearest parent that exists) lives. Raises: HupfastError."""
    directory = nearest(directory)
    with explained(f"cannot ask for the free space of {directory}"):
        facts = os.statvfs(directory)
    return Space(free=facts.f_bavail * facts.f_frsize, cluster=max(facts.f_frsize, 1))


def boot_id(root: Path) -> str:
    """What names the running boot: another value after every reboot; "" when the system does not tell."""
    data = read_small(under(root, "/proc/sys/kernel/random/boot_id"))
    return data.decode("ascii", "replace").strip() if data else ""


def system_version(root: Path) -> str | None:
    """VERSION_ID of the running system's os-release, or None."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        data = read_small(under(root, path))
        if data is not None:
            return parse_os_release(data).get("VERSION_ID", "")[:64] or None
    return None


def parse_os_release(data: bytes) -> dict[str, str]:
    """KEY=value lines; quotes around a value are taken away, lines of another form are left out."""
    values = {}
    for line in data.decode("utf-8", "replace").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            values[key] = value.strip("\"'")
    return values
