"""
What is durably done, on the state partition: `journal.json`, replaced atomically after every stage.

```
{"format": 1, "crc32": "89abcdef",            CRC-32 of the text of "state", written as below
 "state": {
   "slots":       {"a": {"name", "version", "manifest", "confirmed"}, ...}   complete systems only
   "transaction": {"name", "version", "manifest", "target", "previous", "stage", "boot_id", "health", "durable"} | null
   "last":        {"result", "reason", "name", "version", "slot", "at"} | null,
   "newest":      {"os": "2.1", ...}}}        may be missing, as in a journal of an older hupfast
```
`newest` has, for each system by its name, the newest version that was ever confirmed here: a signed bundle that is
older may be a replayed one (gates.py).
`manifest` is the SHA-256 of a bundle's manifest in hex: it names the bundle exactly. A slot that is not in
`slots` holds nothing that can be trusted to boot: it is taken out before its first byte is changed.

The bootloader, not the journal, is the truth on what boots next; the journal explains it (see situation.py).
A journal that cannot be understood is as good as none: the update starts from its first stage again. It is
kept beside as `journal.bad` for whoever wants to know why.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from hupfast.durable import make_directory, write_atomic
from hupfast.errors import HupfastError
from hupfast.system import read_small
from hupfast.version import version_key

FORMAT = 1

STAGES = ("begun", "image", "stamping", "slot", "boot", "switched")
"""
How far a transaction is; each is recorded when it is durable.

begun     the target slot is no longer counted as complete; the image is being written, `durable` bytes of it are
image     the image is in the slot, flushed and read back
stamping  the slot stage is changing the filesystem in place: cut off here, the image is written again
slot      label, UUID and kept files are in place
boot      the boot files of the target slot are in place
switched  the bootloader was told to try the target slot
"""

RESULTS = ("confirmed", "fell back", "rolled back", "failed", "cancelled")
"""How the last update ended. "rolled back": a user asked for it; "fell back": the bootloader did it."""


@dataclass(frozen=True)
class SlotRecord:
    """
    The complete system in a slot. confirmed: it has been made permanent at some time, so it is known to work.
    """

    name: str
    version: str
    manifest: str
    confirmed: bool


@dataclass(frozen=True)
class Transaction:
    """
    The update under way: one bundle into one slot.

    previous: the slot that ran when it began, and is fallen back to. boot_id: of the boot that it began in.
    health: why the health checks of the new system failed last, or "". durable: bytes of the image that need not be
    written again (Progress.durable), noted now and then.
    """

    name: str
    version: str
    manifest: str
    target: str
    previous: str
    stage: str
    boot_id: str
    health: str = ""
    durable: int = 0

    def reached(self, stage: str) -> bool:
        """Whether `stage` is durably done."""
        return STAGES.index(self.stage) >= STAGES.index(stage)


@dataclass(frozen=True)
class Ending:
    """How the last update ended, and why. at: seconds since 1970, by the clock of the board."""

    result: str
    reason: str
    name: str
    version: str
    slot: str
    at: int


@dataclass(frozen=True)
class State:
    """
    All that the journal knows. Immutable: make the next one with dataclasses.replace and save it.

    newest: by the names of systems, the newest version that was ever confirmed here.
    """

    slots: Mapping[str, SlotRecord] = field(default_factory=dict)
    transaction: Transaction | None = None
    last: Ending | None = None
    newest: Mapping[str, str] = field(default_factory=dict)

    def with_slot(self, slot: str, record: SlotRecord | None) -> "State":
        """The same state with another record for one slot; None takes it out."""
        slots = {name: kept for name, kept in self.slots.items() if name != slot}
        if record is not None:
            slots[slot] = record
        known = [record for record in (*self.slots.values(), *slots.values()) if record.confirmed]
        return replace(self, slots=slots, newest=_newest(self.newest, known))


class Journal:
    """
    The journal of one board. `state` is what is durable; `damage` says why an old journal was set aside.
    """

    def __init__(self, directory: Path) -> None:
        """
        Read the journal in `directory`, which need not exist. Raises: HupfastError when it cannot be read.
        """
        self.path = directory / "journal.json"
        self.state = State()
        self.damage = ""
        data = read_small(self.path)
        if data is not None:
            try:
                self.state = parse(data)
            except ValueError as error:
                self.damage = f"the journal {self.path} cannot be understood ({error}); it is ignored"

    def save(self, state: State) -> None:
        """Make `state` durable, then current. Raises: HupfastError, MediumError."""
        make_directory(self.path.parent)
        if self.damage:
            bad = read_small(self.path)
            if bad is not None:
                write_atomic(self.path.with_name("journal.bad"), bad)
            self.damage = ""
        write_atomic(self.path, serialize(state))
        self.state = state

    def advance(self, stage: str) -> None:
        """Record that the transaction has reached `stage`."""
        transaction = self.state.transaction
        if transaction is None:
            raise HupfastError(f"there is no update under way that could reach the stage {stage}")
        self.save(replace(self.state, transaction=replace(transaction, stage=stage)))

    def note_durable(self, size: int) -> None:
        """Record how much of the image need not be written again. Raises: HupfastError, MediumError."""
        transaction = self.state.transaction
        if transaction is not None and transaction.durable != size:
            self.save(replace(self.state, transaction=replace(transaction, durable=size)))


def serialize(state: State) -> bytes:
    """The bytes of journal.json."""
    content = {
        "slots": {slot: asdict(record) for slot, record in state.slots.items()},
        "transaction": asdict(state.transaction) if state.transaction else None,
        "last": asdict(state.last) if state.last else None,
        "newest": dict(state.newest),
    }
    crc = zlib.crc32(_canonical(content))
    return json.dumps({"format": FORMAT, "crc32": f"{crc:08x}", "state": content}, indent=1).encode() + b"\n"


def parse(data: bytes) -> State:
    """The state in the bytes of journal.json. Raises: ValueError for anything else, with the reason."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, this hupfast knows {FORMAT}")
        content = document["state"]
        if document["crc32"] != f"{zlib.crc32(_canonical(content)):08x}":
            raise ValueError("its checksum is wrong")
        transaction, last = content["transaction"], content["last"]
        state = State(
            slots={str(slot): SlotRecord(**record) for slot, record in content["slots"].items()},
            transaction=Transaction(**transaction) if transaction is not None else None,
            last=Ending(**last) if last is not None else None,
            newest={str(name): version for name, version in content.get("newest", {}).items()},
        )
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it lacks what belongs there: {error}") from error
    _check_types(state)
    return state


def _check_types(state: State) -> None:
    """A right checksum over wrong types: written by a program that is not this one."""
    for value in (*state.slots.values(), state.transaction, state.last):
        if value is None:
            continue
        for key, content in asdict(value).items():
            wanted = {"confirmed": bool, "at": int, "durable": int}.get(key, str)
            if type(content) is not wanted:
                raise ValueError(f"{key} is {content!r}")
    if state.transaction is not None and state.transaction.durable < 0:
        raise ValueError(f"durable is {state.transaction.durable}")
    for name, version in state.newest.items():
        if type(version) is not str:
            raise ValueError(f"the newest {name} is {version!r}")
    if state.transaction is not None and state.transaction.stage not in STAGES:
        raise ValueError(f"it names the unknown stage {state.transaction.stage!r}")
    if state.last is not None and state.last.result not in RESULTS:
        raise ValueError(f"it names the unknown result {state.last.result!r}")


def _newest(newest: Mapping[str, str], records: Sequence[SlotRecord]) -> dict[str, str]:
    """`newest` with these systems too. A record without a name is of a system that hupfast did not install."""
    result = dict(newest)
    for record in records:
        known = result.get(record.name)
        if record.name and record.version and (known is None or version_key(known) < version_key(record.version)):
            result[record.name] = record.version
    return result


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
