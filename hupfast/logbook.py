"""
The log of a board's updates, `update.log` beside the journal: what was done, when, and how it ended.

```
2026-11-27T02:10:00Z update os 2.0 into slot b
2026-11-27T02:10:41Z switch
2026-11-27T02:10:41Z installed os 2.0 in slot b
```
It is for people. The journal is what hupfast itself reads, so a log that cannot be written stops nothing. A log
of more than 128 KiB becomes `update.log.1`, and a new one begins.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

NAME = "update.log"
_LIMIT = 128 << 10


class Logbook:
    """The log in a directory, which need not exist yet."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME

    def note(self, sentence: str) -> None:
        """Append one line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f"{when} {' '.join(sentence.split())}\n"
        with suppress(OSError):
            self._rotate()
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                os.write(fd, line.encode("utf-8", "replace"))
            finally:
                os.close(fd)

    def _rotate(self) -> None:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size > _LIMIT:
                os.replace(self.path, self.path.with_name(NAME + ".1"))
