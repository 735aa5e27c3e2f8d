"""
The same bytes from a file and from a web server: `hupfast write` of an image, `hupfast update` of a bundle.

    stream   hupfast write      onto the fast device
    board    hupfast update     of a virtual board, whose slots are files beside it

nginx runs on the same processors as hupfast, so its work is part of the wall, but not of the CPU that is told; over
https both encrypt, or decrypt, every byte.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contenders import Contender, Pattern, Stages
from benchmarks.device import Target
from benchmarks.images import Images
from benchmarks.machine import run
from benchmarks.web import Server
from hupfast.errors import EXIT_REBOOT

STREAM, BOARD = "stream", "board"

NAME, BOARD_NAME = "bench-os", "virtual"


@dataclass(frozen=True)
class Served:
    """What there is to stream from: a server, and the bundle that it has. absent: why there is none, or empty."""

    server: Server | None
    bundle: Path | None
    program: Path | None
    absent: str


def address(file: Path, how: str, server: Server | None) -> list[str]:
    """What names a file on a command line, and the options that go with it. how: "file", "http" or "https"."""
    if how == "file" or server is None:
        return [str(file)]
    options = ["--ca-file", str(server.ca)] if how == "https" else []
    return [*options, server.url(file, tls=how == "https")]


def bundle(image: Path, out: Path, version: str, hupfast: Path, *options: str) -> Path:
    """A bundle of an image, with a kernel."""
    boot = out.with_suffix(".boot")
    boot.mkdir(exist_ok=True)
    (boot / "kernel").write_bytes(f"the kernel of {version}\n".encode() * 1000)
    named: list[str | Path] = ["--name", NAME, "--version", version, "--board", BOARD_NAME, "--boot", boot]
    run([hupfast, "bundle", "create", "--force", *options, *named, "--image", image, out])
    return out


def update_command(program: Path | str, root: Path, *words: str) -> list[str]:
    """`hupfast update` of a board."""
    return [str(program), "update", "--quiet", "--json", "--allow-unsigned", "--root", str(root), *words]


def streams(images: Images, served: Served, absent: str) -> list[Contender]:
    """All rows of both tables. absent: why there is no hupfast, if there is none."""
    program, server = served.program, served.server
    everybody = []
    for verify in (False, True):
        everybody += [_write(images.chunked3, how, program, server, verify=verify) for how in ("file", "http", "https")]
    everybody += [_update(served.bundle, how, program, server) for how in ("file", "http", "https")]
    if not program or not images.chunked3:
        absent = absent or "this form of the image could not be made"
    else:
        absent = served.absent
    return [replace(each, absent=absent or None) for each in everybody]


def _write(image: Path | None, how: str, program: Path | None, server: Server | None, *, verify: bool) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        assert image is not None
        options = [] if verify else ["--no-verify"]
        words = [str(program), "write", "--yes", "--json", *options, *address(image, how, server)]
        return [[*words, str(device.path)]]

    ending, words = ("-verify", ", read back") if verify else ("", "")
    return Contender(
        f"hupfast-{how}{ending}",
        f"hupfast write, chunked, {how}{words}",
        stages,
        image,
        where=STREAM,
        against="" if how == "file" else f"hupfast-file{ending}",
    )


def _update(made: Path | None, how: str, program: Path | None, server: Server | None) -> Contender:
    def stages(board: Target, _: Pattern) -> Stages:
        assert made is not None
        return [update_command(str(program), board.path, *address(made, how, server))]

    return Contender(
        f"hupfast-update-{how}",
        f"hupfast update, {how}",
        stages,
        made,
        where=BOARD,
        against="" if how == "file" else "hupfast-update-file",
        ends=EXIT_REBOOT,
    )
