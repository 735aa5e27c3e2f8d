"""
hupfast: a fast, lean and safe operating system updater for embedded Linux boards.

    import hupfast

    report = hupfast.write_image("rootfs.img.zst", "/dev/mmcblk0p3")

The command line is a thin face of these calls. All errors are in hupfast.errors, one tree with exit codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hupfast.engine import MEMORY_DEFAULT
    from hupfast.errors import HupfastError
    from hupfast.run import Progress, Range
    from hupfast.transaction import update
    from hupfast.writer import ImageWriter, Report, verify_image, write_image

__all__ = [
    "MEMORY_DEFAULT",
    "HupfastError",
    "ImageWriter",
    "Progress",
    "Range",
    "Report",
    "update",
    "verify_image",
    "write_image",
]

_HOMES = {
    "HupfastError": "errors",
    "MEMORY_DEFAULT": "engine",
    "Progress": "run",
    "Range": "run",
    "update": "transaction",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: a board command pays only for what it uses."""
    if name not in __all__:
        raise AttributeError(f"module 'hupfast' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"hupfast.{_HOMES.get(name, 'writer')}"), name)
    globals()[name] = value
    return value
