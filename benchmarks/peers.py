"""
The other tools, as their manuals say to use them, each with the form of the image that it wants.

What their figures hold besides the writing:

    rauc       the start of a private bus and of `rauc service`, a few hundredths of a second. The bundle is read twice:
               its signature is over all of it. For that RAUC maps the bundle, so its resident memory holds it, too.
    swupdate   a second of sleep, with which `swupdate -i` starts. It never calls fsync: the kernel writes the page
               cache out when the device is closed, which is measured, but nobody is told when that fails.
    fwup       the reading back of every 128 KiB after they are written.
"""

import shutil
import sys
from pathlib import Path

from benchmarks.bundles import BOARD, Bundles
from benchmarks.contenders import Contender, Pattern, Stages
from benchmarks.device import Target
from benchmarks.images import Images
from benchmarks.machine import BenchmarkError, missing, run

HERE = Path(__file__).parent


def _raw(image: Path) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        return [["dd", "bs=4M", "oflag=direct", "conv=fsync", f"if={image}", f"of={device.path}"]]

    return Contender("dd-raw", "dd bs=4M oflag=direct conv=fsync, image not compressed", stages, image)


def _piped(name: str, image: Path, *options: str) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        return [["zstd", "-q", "-dc", str(image)], ["dd", "bs=4M", *options, f"of={device.path}"]]

    return Contender(name, f"zstd -dc | dd bs=4M {' '.join(options)}", stages, image, absent=missing("zstd"))


def _bmaptool(images: Images, with_bmap: bool) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        how = ["--bmap", str(images.bmap)] if with_bmap else ["--nobmap"]
        return [["bmaptool", "-q", "copy", *how, str(images.zst), str(device.path)]]

    name, checked = ("bmaptool-bmap", "mapped") if with_bmap else ("bmaptool-nobmap", "whole")
    title = f"bmaptool copy, {'with its bmap' if with_bmap else 'no bmap'}"
    return Contender(name, title, stages, images.zst, checked=checked, absent=missing("bmaptool"))


def _python(image: Path) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        return [[sys.executable, str(HERE / "plain.py"), str(image), str(device.path)]]

    return Contender("python", "plain Python: zstandard, os.write, fsync", stages, image)


def _rauc(bundles: Bundles) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        bundles.aim(device.path)
        script = [str(HERE / "rauc_install.sh"), str(bundles.folder / "system.conf"), str(bundles.raucb)]
        return [["dbus-run-session", "--", "sh", *script]]

    title = "rauc install, signed plain bundle, squashfs of zstd -3"
    return Contender("rauc", title, stages, bundles.raucb, absent=bundles.absent.get("rauc"))


def _swupdate(bundles: Bundles) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        bundles.aim(device.path)
        which = ["-H", f"{BOARD}:1.0", "-e", "stable,copy-2", "-k", str(bundles.folder / "cert.pem")]
        return [["swupdate", *which, "-i", str(bundles.swu)]]

    title = "swupdate -i, signed .swu with the ordinary .zst"
    return Contender("swupdate", title, stages, bundles.swu, absent=bundles.absent.get("swupdate"))


def _fwup(bundles: Bundles) -> Contender:
    def stages(device: Target, _: Pattern) -> Stages:
        key = str(bundles.folder / "fwup-key.pub")
        return [["fwup", "-a", "-q", "-d", str(device.path), "-i", str(bundles.fw), "-t", "complete", "-p", key]]

    title = "fwup -a, signed .fw, deflated, read back"
    return Contender("fwup", title, stages, bundles.fw, absent=bundles.absent.get("fwup"))


def peers(images: Images, bundles: Bundles) -> list[Contender]:
    """All of them, in the order of one round."""
    return [
        _raw(images.raw),
        _piped("dd-direct", images.zst, "oflag=direct", "iflag=fullblock", "conv=fsync"),
        _piped("dd-fsync", images.zst, "conv=fsync"),
        _bmaptool(images, with_bmap=True),
        _bmaptool(images, with_bmap=False),
        _python(images.zst),
        _rauc(bundles),
        _swupdate(bundles),
        _fwup(bundles),
    ]


def _version(program: str) -> str:
    """What it says of itself, and its Debian package with the version: not every build knows its own."""
    path = shutil.which(program)
    if path is None:
        return ""
    said = run([path, "--version"]).splitlines()[0]
    try:
        package = run(["dpkg-query", "-S", path]).split(":")[0]
        return f"{said} ({run(['dpkg-query', '-W', '-f', '${Package} ${Version}', package])})"
    except BenchmarkError:
        return said


def versions() -> dict[str, str]:
    """For the result file: which version of each tool this is, empty for those that are not installed."""
    return {name: _version(name) for name in ("dd", "zstd", "bmaptool", "rauc", "swupdate", "fwup")}
