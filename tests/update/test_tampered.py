"""
A signed bundle that somebody has changed on its way: each region of its bytes in turn, from a file and over http.

It is never accepted; nothing but right chunks gets into the slot, and the board boots what it booted before. What is
let through on purpose (bytes that nothing was installed from) is told apart by name, and installs the right bytes.
"""

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from anatomy import Region, frames, region, regions
from signer import key_id, make_pair, sign

from hupfast.errors import HupfastError
from hupfast.filesystem import put
from hupfast.signing import attach, export_manifest
from servers import Misbehaving, misbehaving

Board = Any
CHUNK = 1 << 16
OLD = b"old " * (3 << 18)
"""What the slot holds before: no chunk of the image is among it, so that each frame is needed."""

SEED = int(os.environ.get("HUPFAST_SEED", "20"))
KINDS = ("file", "http")


class Signed(NamedTuple):
    """A bundle with three signatures, two of them trusted. once: the same with one signature. image: raw bytes."""

    data: bytes
    once: bytes
    image: bytes
    trusted: tuple[Path, Path]
    ids: tuple[str, str, str]


@pytest.fixture(scope="module")
def signed(shelf: Any, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """Signed with openssl."""
    folder = tmp_path_factory.mktemp("signed")
    bundle = folder / "os.hup"
    bundle.write_bytes(shelf.bundle("2.0").read_bytes())
    export_manifest(bundle, folder / "manifest", force=False)
    manifest = (folder / "manifest").read_bytes()
    steps = []
    pairs = [make_pair(folder, name) for name in ("old", "new", "stranger")]
    for private, public in pairs:
        (folder / "raw").write_bytes(sign(private, manifest))
        attach(bundle, folder / "raw", public, force=True)
        steps.append(bundle.read_bytes())
    return Signed(
        data=steps[2],
        once=steps[0],
        image=shelf.image("2.0").read_bytes(),
        trusted=(pairs[0][1], pairs[1][1]),
        ids=tuple(key_id(public) for _, public in pairs),  # type: ignore[arg-type]
    )


@pytest.fixture(autouse=True)
def no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


class Victim:
    """A board that is given changed bundles, and is as before after each of them."""

    def __init__(self, board: Board, signed: Signed, folder: Path) -> None:
        for number, key in enumerate(signed.trusted):
            put(board.root, f"etc/hupfast/keys/{number}.pem", key.read_bytes())
        self.board = board
        self.image = signed.image
        self.path = folder / "changed.hup"
        self.server: Misbehaving | None = None
        board.slot("b").write_bytes(OLD)
        self.before = self._files()

    def give(self, data: bytes) -> int:
        """Try to install these bytes; the exit code. No boot file waits from the time before."""
        shutil.rmtree(self.board.root / "state/spool", ignore_errors=True)
        if self.server is None:
            self.path.write_bytes(data)
            source = str(self.path)
        else:
            self.server.files["/os.hup"] = data
            source = self.server.url("/os.hup")
        try:
            return int(
                self.board.update(Path(source) if self.server is None else source, allow_unsigned=False).exit_code
            )
        except HupfastError as error:
            return error.exit_code

    def check_untouched(self) -> None:
        """The running system and its boot files are as before; the slot holds right chunks or old ones, no system."""
        assert self._files() == self.before
        assert "b" not in self.board.journal().state.slots
        now = self.board.slot("b").read_bytes()
        if now == OLD:
            return
        for at in range(0, len(now), CHUNK):
            piece = now[at : at + CHUNK]
            assert piece in (OLD[at : at + CHUNK], self.image[at : at + CHUNK]), f"chunk {at // CHUNK}"
        self.board.slot("b").write_bytes(OLD)

    def needs(self, number: int) -> bool:
        """Is a chunk fetched? Over http not when the running slot has it; zeroes always are."""
        old, new = (data[number * CHUNK : (number + 1) * CHUNK] for data in (self.before["slot a"], self.image))
        return self.server is None or old != new or not any(new)

    def check_boots_old(self) -> None:
        """What boots is what was there."""
        assert (self.board.boot().slot, self.board.status().version) == ("a", "1.0")
        self.board.check_whole("a", "1.0")

    def check_installed(self) -> None:
        """All that was installed is exactly what was signed; then the board is as before again."""
        self.board.check_whole("b", "2.0")
        assert self.board.boot().slot == "b"

    def _files(self) -> dict[str, bytes]:
        """What must not change: the boot directory, and the slot that runs."""
        boot = self.board.root / "boot"
        files = {str(path.relative_to(boot)): path.read_bytes() for path in boot.rglob("*") if path.is_file()}
        return {**files, "slot a": self.board.slot("a").read_bytes()}


@pytest.fixture
def victim(board: Board, signed: Signed, tmp_path: Path) -> Victim:
    return Victim(board, signed, tmp_path)


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest, victim: Victim) -> Iterator[Victim]:
    """The victim, with a file or a server."""
    started: AbstractContextManager[Misbehaving | None] = misbehaving({}) if request.param == "http" else nullcontext()
    with started as victim.server:
        yield victim


def flipped(data: bytes, at: int, mask: int) -> bytes:
    """The same bytes, but for these bits of one."""
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def refuse_all(victim: Victim, data: bytes, places: list[tuple[Region, int, int]]) -> None:
    """Each of these flips is refused, and leaves the board as it was."""
    for part, at, mask in places:
        where = f"byte {at - part.start} of {part.name}, bits {mask:02x}, seed {SEED}"
        assert victim.give(flipped(data, at, mask)) in (4, 5), where
        try:
            victim.check_untouched()
        except AssertionError as error:
            raise AssertionError(where) from error


def spread(part: Region, many: int, chance: random.Random) -> list[tuple[Region, int, int]]:
    """Flips of one bit: of each byte where these are few, else of so many bytes, the first and the last among them."""
    size = part.end - part.start
    offsets = range(size) if size <= many else sorted({0, size - 1, *chance.sample(range(size), many - 2)})
    return [(part, part.start + offset, 1 << chance.randrange(8)) for offset in offsets]


def fields(part: Region) -> list[tuple[Region, int, int]]:
    """All bits of what counts in a tar header: name, size, checksum, type, magic; one of each other field."""
    inside = [*range(0, 4), *range(124, 136), *range(148, 157), *range(257, 265)]
    bits = [(part, part.start + at, 1 << bit) for at in inside for bit in range(8)]
    return bits + [(part, part.start + at, 0x10) for at in (99, 100, 108, 116, 140, 160, 270, 300, 330, 345, 510)]


def test_the_bundle_that_nobody_has_changed_is_installed(served: Victim, signed: Signed) -> None:
    """Else all of these tests would prove nothing."""
    assert served.give(signed.data) == 10
    served.check_installed()


def test_headers(served: Victim, signed: Signed) -> None:
    """Each bit of each field of a tar header: the checksum covers it, or its own spelling is the only one."""
    headers = [one for one in regions(signed.data) if one.name.endswith("header")]
    assert len(headers) == 5
    places = [place for one in headers for place in fields(one)]
    checksum = [(headers[0], 148 + at, 1 << bit) for at in range(8) for bit in range(8)]
    refuse_all(served, signed.data, places[::3] + checksum if served.server is None else places[::11])
    served.check_boots_old()


def test_padding(served: Victim, signed: Signed) -> None:
    """Nobody signs the bytes behind a member, so there must be none; behind the image see below."""
    chance = random.Random(SEED)
    paddings = [one for one in regions(signed.data) if one.name.endswith("padding") and ".zst" not in one.name]
    assert len(paddings) >= 3
    refuse_all(served, signed.data, [place for one in paddings for place in spread(one, 25, chance)])
    served.check_boots_old()


def test_the_manifest(served: Victim, signed: Signed) -> None:
    """Each byte of it is signed."""
    place = region(signed.data, "manifest.json")
    many = place.end - place.start if served.server is None else 100
    refuse_all(served, signed.data, spread(place, many, random.Random(SEED)))
    served.check_boots_old()


def test_the_only_signature(served: Victim, signed: Signed) -> None:
    """Each byte of it, and all bits of some: algorithm, key, value and how it is written."""
    line = region(signed.once, "manifest.sig")
    places = spread(line, 300 if served.server is None else 60, random.Random(SEED))
    places += [(line, line.start + at, 1 << bit) for at in (0, 7, 8, 40, 72, 73, 100, 201) for bit in range(8)]
    refuse_all(served, signed.once, places)
    served.check_boots_old()


def test_one_of_several_signatures(victim: Victim, signed: Signed) -> None:
    """
    A byte of a trusted signature is refused beside a good one; a line that names nobody trusted any more is as good as
    none, and what the other one has signed is installed.
    """
    whole = region(signed.data, "manifest.sig")
    text = signed.data[whole.start : whole.end].decode()
    lines = text.splitlines(keepends=True)
    assert [line.split()[1] for line in lines] == list(signed.ids)
    start = whole.start
    for line, trusted in zip(lines, (True, True, False), strict=True):
        value = start + line.rindex(" ") + 1
        if trusted:
            refuse_all(victim, signed.data, [(whole, value + at, 1) for at in range(0, 128, 9)])
            refuse_all(victim, signed.data, [(whole, start + len(line) - 1, 1 << bit) for bit in range(8)])
        start += len(line)
    victim.check_boots_old()

    name = whole.start + lines[0].index(" ") + 1
    for place in (name, name + 30, whole.end - 20):  # key id of the first, value of the stranger's
        other = signed.data[place] ^ (b"1" if signed.data[place : place + 1] == b"0" else b"0")[0]
        assert victim.give(flipped(signed.data, place, other)) == 10, place
        victim.check_installed()
        victim.board.rollback()
        victim.board.boot()


def test_boot_files(served: Victim, signed: Signed) -> None:
    """They are checked whole before anything is written."""
    chance = random.Random(SEED)
    found = [one for one in regions(signed.data) if one.name in ("boot/kernel", "boot/dtb/board.dtb")]
    places = [place for one in found for place in spread(one, 60, chance)]
    places += [(found[0], found[0].start, 1 << bit) for bit in range(8)]
    refuse_all(served, signed.data, places)
    assert served.board.status().situation == "idle"
    served.check_boots_old()


def test_the_chunk_table(served: Victim, signed: Signed) -> None:
    """Head, entries and digest: the manifest names the table as a whole."""
    chance = random.Random(SEED)
    found = {one.name: one for one in regions(signed.data) if one.name.startswith("table")}
    many = (72, 32, 50) if served.server is None else (16, 8, 25)
    places = []
    for name, some in zip(("table head", "table digest", "table entries"), many, strict=True):
        places += spread(found[name], some, chance)
    entry = found["table entries"].start + 7 * 88  # all bits of flags, and of a byte of each other field of an entry
    in_entry = [(found["table entries"], entry + at, 1 << bit) for at in (0, 4, 8, 40, 56) for bit in range(8)]
    places += in_entry if served.server is None else in_entry[::7]
    refuse_all(served, signed.data, places)
    assert served.board.slot("b").read_bytes() == OLD
    served.check_boots_old()


def test_frames(served: Victim, signed: Signed) -> None:
    """Each frame: nothing of it is decoded, and what was written before it are right chunks."""
    chance = random.Random(SEED)
    found = frames(signed.data)
    assert len(found) == 32
    needed = [one for number, one in enumerate(found) if served.needs(number)]
    assert len(needed) > 28
    places = []
    for one in needed:
        size = one.end - one.start
        for at in {chance.randrange(size)} if served.server is None else {size - 1}:
            places.append((one, one.start + at, 1 << chance.randrange(8)))
    refuse_all(served, signed.data, places)
    served.check_boots_old()


def test_a_frame_that_nobody_reads(victim: Victim, signed: Signed) -> None:
    """Over http, chunks that the running system has are copied from it, whatever their frames are now."""
    data = bytearray(signed.data)
    with misbehaving({}) as victim.server:
        spare = [one for number, one in enumerate(frames(signed.data)) if not victim.needs(number)]
        assert spare
        for one in spare:
            data[one.start : one.end] = os.urandom(one.end - one.start)
        assert victim.give(bytes(data)) == 10
    victim.check_installed()


@pytest.mark.parametrize("number", [0, 5, 20, 31])
def test_the_frame_of_another_chunk(served: Victim, signed: Signed, number: int) -> None:
    """A frame that is whole, but at a place of another one of the same length, is not taken for that."""
    found = frames(signed.data)
    assert served.needs(number)
    target = found[number]
    length = target.end - target.start
    data = bytearray(signed.data)
    for other in found:
        content = signed.data[other.start : other.end]
        if len(content) >= length and content != signed.data[target.start : target.end]:
            data[target.start : target.end] = content[:length]
            break
    assert data != signed.data
    assert served.give(bytes(data)) == 5
    served.check_untouched()
    served.check_boots_old()


def test_bytes_that_nothing_is_installed_from(served: Victim, signed: Signed) -> None:
    """
    An update does not read what stands behind the image (`hupfast bundle verify` does): whatever is there, all that is
    installed is what was signed.
    """
    tail = [one for one in regions(signed.data) if one.name in ("rootfs.img.zst padding", "end")]
    assert len(tail) == 2
    for one in tail:
        data = bytearray(signed.data)
        data[one.start : one.end] = os.urandom(one.end - one.start)
        assert served.give(bytes(data)) == 10
        served.check_installed()
        served.board.rollback()
        served.board.boot()


def test_the_right_bundle_goes_through_after_a_wrong_one(served: Victim, signed: Signed) -> None:
    """What a refused bundle has left in slot, journal and waiting place does not stand in its way."""
    found = {one.name: one for one in regions(signed.data)}
    for name in ("manifest.json", "boot/kernel", "table entries", "frame 9"):
        refuse_all(served, signed.data, [(found[name], found[name].middle, 4)])
    assert served.give(signed.data) == 10
    served.check_installed()


def test_these_tests_see_a_wrong_chunk(victim: Victim, signed: Signed) -> None:
    """One wrong byte in the slot, and the check that all of them lean on fails."""
    slot = bytearray(OLD)
    slot[: 3 * CHUNK] = signed.image[: 3 * CHUNK]
    slot[2 * CHUNK + 77] ^= 1
    victim.board.slot("b").write_bytes(slot)
    with pytest.raises(AssertionError, match="chunk 2"):
        victim.check_untouched()
