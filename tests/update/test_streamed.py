"""An update that streams in from a server which does not do as it should: it ends whole, or with what there was."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from anatomy import frames, region, regions
from streams import OLD, PATH, asked, command, contents, ending, hasty, overlap

from hupfast.errors import DataError, SourceError
from servers import Answer, Behaviour, Misbehaving, Request, misbehaving, nginx

Board = Any

PLACES = (
    "0",
    "1",
    "manifest.json",
    "boot/kernel header",
    "boot/kernel",
    "rootfs.img.zst header",
    "table head",
    "table entries",
    "frame 0",
    "frame 20",
    "last byte",
)


def place_of(data: bytes, name: str) -> int:
    """An offset in the bundle."""
    if name.isdigit():
        return int(name)
    return region(data, "frame 31").end - 1 if name == "last byte" else region(data, name).middle


def check_done(board: Board, version: str = "2.0") -> None:
    """The new system is there, whole, and boots; the old one is whole too."""
    board.check_whole("b", version)
    board.check_whole("a", "1.0")
    assert board.boot().version == version


def check_kept(board: Board) -> None:
    """The old system boots, whole, and whatever comes next can go on."""
    board.check_whole("a", "1.0")
    assert (board.boot().slot, board.status().version) == ("a", "1.0")
    assert "b" not in board.journal().state.slots


def test_from_a_real_server(empty: Board, shelf: Any) -> None:
    """nginx: the bundle comes once, in a few requests for ranges."""
    path = shelf.bundle("2.0")
    with nginx(path.parent) as server:
        assert empty.update(server.url(path.name)).outcome == "installed"
        log = server.log(2)
    assert {status for _, status, _ in log} == {206}
    assert path.stat().st_size - 2048 <= sum(sent for _, _, sent in log) <= path.stat().st_size + 2**16
    check_done(empty)


def test_in_the_background(empty: Board, shelf: Any) -> None:
    """Blocks are smaller than chunks then, and zeroes are asked for at once: all of it is there in the end."""
    path = shelf.bundle("2.0")
    with nginx(path.parent) as server:
        assert empty.update(server.url(path.name), background=True).outcome == "installed"
    check_done(empty)


def test_by_the_real_command(empty: Board, shelf: Any) -> None:
    """`hupfast update http://...` ends in 10, and again in 10; after the reboot it is confirmed, and ends in 3."""
    path = shelf.bundle("2.0")
    with nginx(path.parent) as server:
        update = ("update", server.url(path.name), "--allow-unsigned", "-q")
        assert [command(empty, *update).code for _ in range(2)] == [10, 10]
        check_done(empty)
        assert command(empty, "confirm").code == 0
        assert command(empty, *update).code == 3


@pytest.mark.parametrize("extra", ["max_ranges 0;", "max_ranges 0; etag off; if_modified_since off;"])
def test_from_a_server_without_ranges(empty: Board, shelf: Any, extra: str) -> None:
    """It comes as a stream, and the plan warns that it could not go on."""
    path = shelf.bundle("2.0")
    with nginx(path.parent, extra=extra) as server:
        result = empty.update(server.url(path.name))
    assert [warning for warning in result.plan.warnings if "from where it was cut off" in warning]
    check_done(empty)


@pytest.mark.parametrize("length", ["chunked", ""])
def test_from_a_server_that_does_not_tell_how_much(empty: Board, data: bytes, length: str) -> None:
    """Neither ranges nor a length: the bundle itself says where it ends."""
    with misbehaving({PATH: data}, Behaviour(ranges=False, length=length)) as server:
        empty.update(server.url(PATH))
    check_done(empty)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", PLACES)
def test_the_connection_breaks(empty: Board, data: bytes, place: str, times: int) -> None:
    """Before any byte, once or again and again: it is made again, and goes on there."""
    behaviour = Behaviour(drop_at=place_of(data, place), times=times, reset=times > 1)
    with misbehaving({PATH: data}, behaviour) as server:
        empty.update(server.url(PATH), transport=hasty())
        assert behaviour.times == 0
        assert server.sent < len(data) + 2**17
    check_done(empty)


@pytest.mark.parametrize("place", PLACES)
def test_the_connection_always_breaks_there(empty: Board, data: bytes, place: str) -> None:
    """Retries are used up: exit 7. The old system boots, and the same command goes on when the server is well again."""
    with misbehaving({PATH: data}, Behaviour(drop_at=place_of(data, place), times=-1)) as server:
        with pytest.raises(SourceError, match=r"\(4 tries\); run the same command again") as caught:
            empty.update(server.url(PATH), transport=hasty())
        assert caught.value.exit_code == 7
        check_kept(empty)
        server.behaviour.times = 0
        empty.update(server.url(PATH), transport=hasty())
    check_done(empty)


@pytest.mark.parametrize("after", [1000, 4321, 50_000])
def test_each_connection_breaks(empty: Board, data: bytes, after: int) -> None:
    """As long as each brings something new, there is no limit to them."""
    with misbehaving({PATH: data}, Behaviour(drop_after=after, times=-1)) as server:
        empty.update(server.url(PATH), transport=hasty(retries=1))
        assert len(server.requests) >= len(data) // after
        assert server.sent < 1.3 * len(data) + 2**16
    check_done(empty)


def test_a_server_without_ranges_that_breaks_off(empty: Board, data: bytes) -> None:
    """It is read again from its start, up to the byte where it broke; nothing in the slot is written twice."""
    with misbehaving({PATH: data}, Behaviour(ranges=False, drop_at=region(data, "frame 20").middle)) as server:
        empty.update(server.url(PATH), transport=hasty())
        assert len(server.requests) == 2
    check_done(empty)


def test_a_server_that_stalls(empty: Board, data: bytes) -> None:
    """The connection is given up and made again."""
    with misbehaving({PATH: data}, Behaviour(stall_after=30_000, times=3)) as server:
        empty.update(server.url(PATH), transport=hasty(stall_timeout=0.1))
    check_done(empty)


def test_a_server_that_falls_silent(empty: Board, data: bytes) -> None:
    """Nothing new comes any more: exit 7 says since when."""
    with misbehaving({PATH: data}, Behaviour(stall_after=0, times=-1)) as server:
        with pytest.raises(SourceError, match=r"sent nothing for 0\.1 s"):
            empty.update(server.url(PATH), transport=hasty(stall_timeout=0.1, retries=1))
        check_kept(empty)


@pytest.mark.parametrize(
    "lie",
    [
        Behaviour(lie=1000),
        Behaviour(lie=-1000),
        Behaviour(lie=-1),
        Behaviour(ranges=False, lie=1000),
        Behaviour(ranges=False, lie=-2000),
        Behaviour(content_range="bytes 0-99/100"),
        Behaviour(content_range="bytes 512-99999/437248"),
        Behaviour(content_range="bytes 0-65535/65536"),
        Behaviour(content_range="nonsense"),
        Behaviour(encoding="gzip"),
    ],
    ids=lambda lie: f"{lie.lie}-{lie.content_range}-{lie.encoding}-{lie.ranges}".replace("None", ""),
)
def test_a_server_that_lies_about_lengths(empty: Board, data: bytes, lie: Behaviour) -> None:
    """Exit 7 (5 where it makes the bundle shorter than its manifest), or, where no lie can harm, the right system."""
    with misbehaving({PATH: data}, lie) as server:
        code = ending(lambda: empty.update(server.url(PATH), transport=hasty()))
    if code == 10:
        assert not lie.ranges
        check_done(empty)
    else:
        assert code in (5, 7)
        check_kept(empty)
        assert empty.slot("b").read_bytes() == OLD or not lie.ranges


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("status", "after"), [(429, "7"), (503, "2"), (503, None), (500, None)])
def test_a_server_that_is_busy(empty: Board, data: bytes, number: int, status: int, after: str | None) -> None:
    """At any request: it is asked again, and not before it wants to be."""
    waited: list[float] = []
    with misbehaving({PATH: data}, refusing(number, Answer(status, {"Retry-After": after} if after else {}))) as server:
        empty.update(server.url(PATH), transport=hasty(sleep=waited.append))
    assert len(waited) == 1
    assert waited[0] >= float(after or 0)
    check_done(empty)


def test_a_server_that_wants_to_be_left_alone_for_long(empty: Board, data: bytes) -> None:
    """An hour is not waited for: exit 7 says when to come back."""
    behaviour = Behaviour(answers=[Answer(429, {"Retry-After": "3600"})])
    with misbehaving({PATH: data}, behaviour) as server, pytest.raises(SourceError, match="3600 s"):
        empty.update(server.url(PATH), transport=hasty())
    check_kept(empty)


def test_a_range_that_cannot_be_had(empty: Board, data: bytes) -> None:
    """416 in the middle: the file is another one now. At the first request: then it is read without ranges."""
    with misbehaving({PATH: data}, refusing(1, Answer(416))) as server:
        with pytest.raises(SourceError, match="has changed on the server"):
            empty.update(server.url(PATH), transport=hasty())
        check_kept(empty)
        server.behaviour.before = None
        server.behaviour.answers = [Answer(416)]
        empty.update(server.url(PATH), transport=hasty())
    check_done(empty)


@pytest.mark.parametrize(("status", "words"), [(404, "404"), (403, "403"), (410, "410"), (301, "301")])
def test_a_server_that_has_it_no_more(empty: Board, data: bytes, status: int, words: str) -> None:
    """Between two requests: exit 7 with what it answered, at once."""
    with misbehaving({PATH: data}, refusing(1, Answer(status))) as server:
        with pytest.raises(SourceError, match=words):
            empty.update(server.url(PATH), transport=hasty(sleep=lambda _: pytest.fail("it waited")))
        check_kept(empty)


@pytest.mark.parametrize("validators", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_bundle_that_is_replaced_while_it_is_read(
    empty: Board, shelf: Any, data: bytes, number: int, validators: bool
) -> None:
    """Exit 7 says so; the same command then installs the new one, whole. Without validators the length tells it."""
    other = shelf.bundle("3.0").read_bytes()
    if not validators and len(other) == len(data):
        other += bytes(512)

    def replace(server: Misbehaving, request: Request) -> None:
        if len(server.requests) == number + 1:
            server.files[PATH] = other

    # A small drop makes more requests, so that it can happen in the front, at a boot file and in the image.
    behaviour = Behaviour(before=replace, validators=validators, drop_after=20_000, times=3)
    with misbehaving({PATH: data}, behaviour) as server:
        with pytest.raises(SourceError, match=r"has changed on the server .* run the same command again"):
            empty.update(server.url(PATH), transport=hasty())
        check_kept(empty)
        assert empty.update(server.url(PATH), transport=hasty()).version == "3.0"
    check_done(empty, "3.0")


def test_a_bundle_that_is_replaced_by_one_of_the_same_length(empty: Board, shelf: Any, data: bytes) -> None:
    """Nothing in the answers tells it: then the digests do, and nothing of the two is mixed."""
    other = shelf.bundle("3.0").read_bytes()
    other = other[: len(data)].ljust(len(data), b"\0")

    def replace(server: Misbehaving, request: Request) -> None:
        if len(server.requests) == 2:
            server.files[PATH] = other

    with misbehaving({PATH: data}, Behaviour(before=replace, validators=False)) as server:
        with pytest.raises(DataError):
            empty.update(server.url(PATH), transport=hasty())
        check_kept(empty)


def test_a_dry_run_fetches_the_front_and_the_table(empty: Board, shelf: Any, data: bytes) -> None:
    """What it says will be fetched is what the update then fetches, but for headers and what comes with the front."""
    table, before = region(data, "table digest").end, contents(empty.root)
    with misbehaving({PATH: data}) as server:
        plan = empty.update(server.url(PATH), dry_run=True).as_dict()["plan"]
        told = json.loads(json.dumps(plan))["bytes_to_fetch"]
        assert server.sent <= max(table, 2**16)
        assert contents(empty.root) == before
        server.requests.clear()
        empty.update(server.url(PATH))
        spans = asked(server.requests, len(data))
    parts = [one for one in regions(data) if one.name in ("boot/kernel", "boot/dtb/board.dtb") or "table" in one.name]
    parts += [one for number, one in enumerate(frames(data)) if not equal_in_both(empty, shelf.image("2.0"), number)]
    assert sum(one.end - one.start for one in parts) == told
    assert all(overlap(spans, one.start, one.end) >= one.end - one.start for one in parts)
    assert told <= sum(end - start for start, end in spans) <= told + 2**16
    check_done(empty)


def test_a_dry_run_of_a_server_without_ranges(empty: Board, data: bytes) -> None:
    """Nothing can be looked for there, so that nothing but the front is read, and all of it will be fetched."""
    with misbehaving({PATH: data}, Behaviour(ranges=False, length="chunked")) as server:
        result = empty.update(server.url(PATH), dry_run=True)
    assert result.plan.survey is None
    assert result.plan.bytes_to_fetch > region(data, "frame 31").end - region(data, "table head").start


def test_standard_input_cannot_go_on(empty: Board, data: bytes) -> None:
    """The plan warns of it, in words and in JSON; so does the update, which goes through and leaves no request."""
    words = "cannot be read from where it was cut off"
    told = command(empty, "update", "-", "--allow-unsigned", "--dry-run", piped=data)
    assert (told.code, words in told.out) == (0, True)
    plan = json.loads(command(empty, "update", "-", "--allow-unsigned", "-n", "--json", piped=data).out)["plan"]
    assert [warning for warning in plan["warnings"] if words in warning]
    done = command(empty, "update", "-", "--allow-unsigned", piped=data)
    assert (done.code, words in done.err) == (10, True)
    assert not (empty.root / "state/request.json").exists()
    check_done(empty)


def refusing(number: int, answer: Answer) -> Behaviour:
    """A server that gives one request, counted from 0, an answer of its own. Each body is cut, so there are enough."""

    def before(server: Misbehaving, request: Request) -> None:
        if len(server.requests) == number + 1:
            server.behaviour.answers = [answer]

    return Behaviour(before=before)


def equal_in_both(board: Board, image: Path, number: int) -> bool:
    """Does the running slot have this chunk of the image, and is it more than zeroes?"""
    start, end = number << 16, (number + 1) << 16
    new = image.read_bytes()[start:end]
    return any(new) and board.slot("a").read_bytes()[start:end] == new


def test_a_dry_run_of_a_pipe_reads_the_front_only(empty: Board, data: bytes) -> None:
    """What cannot be read twice is left to whoever has it: nothing of it is looked for in the slot."""
    reader, writer = os.pipe()
    front = region(data, "boot/dtb/board.dtb header").end
    os.write(writer, data[: 2 * front])
    os.close(writer)
    try:
        assert empty.update(reader, dry_run=True).plan.survey is None
        assert os.read(reader, len(data)) == data[front : 2 * front]
    finally:
        os.close(reader)
