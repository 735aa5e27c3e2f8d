"""
What hupfast has put on the boot partition, so that a user's edit of it is seen: `shipped.json` beside the journal.

```
{"format": 1, "files": {"a/kernel": ["<SHA-256 in hex>", ...], ...}}      paths below the boot directory
```
A file has two digests while it is being replaced, the old and the new one: whichever a power cut leaves is ours.
A file that is not listed was not put there by hupfast, and its bytes are nobody's edit. A list that cannot be
understood is as good as none: no edit is seen then, and nothing else hangs on it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from hupfast.durable import make_directory, write_atomic
from hupfast.system import digest, read_chunks, read_small

Digests = Mapping[str, frozenset[str]]
"""SHA-256 in hex of what may stand at each path."""

_FORMAT = 1
_LIMIT = 16 << 20


def load_shipped(directory: Path) -> Digests:
    """What was shipped, by the list in the state directory. Raises: HupfastError when it cannot be read."""
    data = read_small(directory / "shipped.json", _LIMIT)
    try:
        document = json.loads(data or b"")
        if document["format"] != _FORMAT:
            return {}
        files = document["files"].items()
        return {str(path): frozenset(map(str, digests)) for path, digests in files if isinstance(digests, list)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def save_shipped(directory: Path, shipped: Digests) -> None:
    """Replace the list, durably. Raises: HupfastError, MediumError."""
    make_directory(directory)
    files = {path: sorted(digests) for path, digests in sorted(shipped.items())}
    write_atomic(directory / "shipped.json", json.dumps({"format": _FORMAT, "files": files}, indent=1).encode() + b"\n")


def note_changed(directory: Path, boot_directory: Path, paths: Iterable[str]) -> None:
    """
    Boot files that the bootloader's switch has changed are ours as they are now. (A power cut before this makes the
    change look like an edit of the user's: the next update saves a copy that nobody needs.)
    """
    shipped = dict(load_shipped(directory))
    for path in paths:
        if path in shipped and (boot_directory / path).is_file():
            shipped[path] = frozenset({digest(read_chunks(boot_directory / path)).hex()})
    if shipped != load_shipped(directory):
        save_shipped(directory, shipped)
