"""The other tools, as their manuals say to use them, each with the form of the image that it wants."""

import sys
from pathlib import Path

from benchmarks.contenders import Contender, Pattern, Stages
from benchmarks.device import Target
from benchmarks.images import Images
from benchmarks.machine import missing

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


def peers(images: Images) -> list[Contender]:
    """All of them, in the order of one round."""
    return [
        _raw(images.raw),
        _piped("dd-direct", images.zst, "oflag=direct", "iflag=fullblock", "conv=fsync"),
        _piped("dd-fsync", images.zst, "conv=fsync"),
        _bmaptool(images, with_bmap=True),
        _bmaptool(images, with_bmap=False),
        _python(images.zst),
    ]
