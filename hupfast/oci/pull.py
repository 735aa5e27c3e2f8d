"""Pulling a bundle: the .hup file that was pushed, byte for byte, with every member checked against its digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.bundle import MANIFEST, SIGNATURE, Bundle
from hupfast.durable import write_chunks
from hupfast.errors import DataError, DigestError, Refused, UsageError
from hupfast.manifest import Manifest
from hupfast.run import Progress
from hupfast.source.oci import OciSource
from hupfast.system import BLOCK
from hupfast.target import in_dev

if TYPE_CHECKING:
    from hupfast.source.transport import Transport

ShowProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Pulled:
    """What was pulled. digest: of the OCI manifest; size: bytes of the bundle; fetched: bytes that came for it."""

    name: str
    version: str
    digest: str
    manifest_sha256: str
    size: int
    fetched: int

    def as_dict(self) -> dict[str, object]:
        """For JSON output."""
        return dict(vars(self))


def pull(
    location: str,
    out: Path,
    *,
    force: bool = False,
    transport: Transport | None = None,
    progress: ShowProgress | None = None,
) -> Pulled:
    """
    Write the bundle at an oci:// address to the file `out`. `out` is never half a bundle.

    force: replace `out`. Raises: UsageError for a wrong address or path, Refused when `out` exists, SourceError when
    the registry cannot be read, DataError when there is no bundle, DigestError when a member is not the one that
    the registry's manifest names, HupfastError.
    """
    _check_out(out, force)
    with OciSource(location, transport=transport) as source:
        bundle = Bundle(source)
        manifest, digest = bundle.accept(), bundle.front.digest
        _check_members(source, manifest)
        source.rewind()
        write_chunks(out, _pieces(source, progress or (lambda now: None)), size=source.size)
        return Pulled(manifest.name, manifest.version, source.digest, digest, source.tar.size, source.fetched)


def _check_out(out: Path, force: bool) -> None:
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the file to be made")
    if not out.parent.is_dir():
        raise UsageError(f"{out} cannot be made: there is no folder {out.parent}")
    if in_dev(str(out)):
        raise Refused(f"{out} lies where devices are: name a file elsewhere")
    if out.exists() and not force:
        raise Refused(f"{out} exists: say --force to replace it")


def _check_members(source: OciSource, manifest: Manifest) -> None:
    """The layers are the members of the manifest in them: else no command could use what is pulled."""
    found = [(layer.name, layer.size) for layer in source.tar.layers if layer.name not in (MANIFEST, SIGNATURE)]
    if found != [(member.name, member.size) for member in manifest.members]:
        raise DataError(f"{source.name} does not hold what its {MANIFEST} says; push the bundle again")


def _pieces(source: OciSource, show: ShowProgress) -> Iterator[bytes]:
    """All bytes of the bundle; the last ones of a member only when its digest is right."""
    import hashlib

    room = memoryview(bytearray(BLOCK))
    offset = 0
    digest = hashlib.sha256()
    while found := source.tar.at(offset):
        if isinstance(found, tuple):
            layer = source.tar.layers[found[0]]
            got = source.readinto(room[: layer.size - found[1]])
            digest.update(room[:got])
            if found[1] + got == layer.size:
                _check(source, layer.name, layer.digest, f"sha256:{digest.hexdigest()}")
                digest = hashlib.sha256()
        else:
            got = source.readinto(room[: len(found)])
        if not got:
            raise DataError(f"{source.name} ended at byte {offset} of {source.tar.size}", offset=offset)
        yield bytes(room[:got])
        offset += got
        show(Progress("pull", offset, source.tar.size, offset))
    show(Progress("done", offset, source.tar.size, offset))


def _check(source: OciSource, name: str, wanted: str, digest: str) -> None:
    if digest != wanted:
        raise DigestError(
            f"{name} of {source.name} is damaged in the registry or on the way: its digest is not {wanted};"
            " pull again, and push it again if that does not help"
        )
