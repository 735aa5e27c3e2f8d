"""
Everything that hupfast raises on purpose, and the exit code each ends in.

* HupfastError               1  failed; the board still boots what it booted before
  - UsageError               2  the call itself is wrong
  - NothingToDo              3  already at that version
  - Refused                  4  the plan says no; nothing was written
    - MemoryBudgetError      4  the image needs a larger memory budget (`needed` bytes)
    - TargetError            4  the target cannot be used, or cannot take this image
  - DataError                5  the image or bundle is malformed, cut short, or not the one promised
    - DigestError            5  well formed, but another digest than the one promised
  - MediumError              6  a write, a flush or a read of the target failed (`errno`, `offset`)
    - MismatchError          6  the target does not hold what was written (`offset`, `length`)
  - SourceError              7  the image could not be read; run again to continue
  - RolledBack               8  the running system is the old one
  - Busy                     9  another update is running
  - Cancelled                1  interrupted by the user or by cancel()

`RebootNeeded` (exit 10) is not an error: commands return it as an exit code, see `EXIT_REBOOT`.

Every message is one or two sentences: what failed, where, and what to do about it.
"""

EXIT_REBOOT = 10
"""Exit code of a command that is done, and needs a reboot to go on."""


class HupfastError(Exception):
    """
    Base of every error that hupfast raises on purpose.

    errno: of the system call that failed, or None.
    offset, length: the bytes concerned, of the target (of the image for DataError), or None.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, errno: int | None = None, offset: int | None = None, length: int | None = None
    ) -> None:
        super().__init__(message)
        self.errno = errno
        self.offset = offset
        self.length = length


class UsageError(HupfastError):
    """What was asked for makes no sense as it was asked."""

    exit_code = 2


class NothingToDo(HupfastError):
    """The board already runs what it was asked to install."""

    exit_code = 3


class Refused(HupfastError):
    """The plan says no. Nothing was written."""

    exit_code = 4


class MemoryBudgetError(Refused):
    """The image needs `needed` bytes of memory, more than the budget."""

    def __init__(self, message: str, *, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class TargetError(Refused):
    """The target is mounted, held, read-only, too small, or not what it seems."""


class DataError(HupfastError):
    """The image or bundle is malformed or cut short."""

    exit_code = 5


class DigestError(DataError):
    """The data is well formed, but not the data that was promised."""


class MediumError(HupfastError):
    """A write, a flush or a read of the target failed."""

    exit_code = 6


class MismatchError(MediumError):
    """The target was read back, and does not hold the image."""


class SourceError(HupfastError):
    """The image could not be read to its end."""

    exit_code = 7


class StaleError(SourceError):
    """The older system, from which equal chunks were copied, has changed meanwhile."""


class RolledBack(HupfastError):
    """The board fell back: the running system is the old one."""

    exit_code = 8


class Busy(HupfastError):
    """Another update is running on this board."""

    exit_code = 9


class Cancelled(HupfastError):
    """Interrupted, by Ctrl-C or by cancel()."""
