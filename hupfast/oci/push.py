"""
Pushing a bundle: each member that the registry does not have yet, straight out of the .hup file, then the manifest.

Only a bundle that is whole, to the last frame of its image, and that can be given back to the byte is pushed: its
headers, padding and end must be those that follow from its members' names and sizes. Who has signed it is not asked.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, cast

from hupfast.bundle import MANIFEST, SIGNATURE, open_bundle
from hupfast.errors import DataError, DigestError, UsageError
from hupfast.inspection import check_image
from hupfast.manifest import BootMember, Manifest
from hupfast.oci.artifact import EMPTY, EMPTY_DIGEST, Layer, VirtualTar, serialize_artifact
from hupfast.oci.reference import parse_reference
from hupfast.oci.registry import Registry
from hupfast.run import Progress
from hupfast.system import BLOCK, explained

if TYPE_CHECKING:
    from hupfast.source.transport import Transport

_NO_DIGEST = "sha256:" + "0" * 64

ShowProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Pushed:
    """
    What a push did.

    digest: of the OCI manifest, which names exactly this bundle. reference: the address with it.
    sent, present: bytes of members that were uploaded, and that the registry had already.
    """

    name: str
    version: str
    reference: str
    digest: str
    manifest_sha256: str
    size: int
    sent: int
    present: int

    def as_dict(self) -> dict[str, object]:
        """For JSON output."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Examined:
    manifest: Manifest
    digest: str
    tar: VirtualTar


def push(
    path: str, location: str, *, transport: Transport | None = None, progress: ShowProgress | None = None
) -> Pushed:
    """
    Push the bundle in the file `path` to an oci:// address with a tag. What is there already is not sent again.

    Raises: UsageError for a wrong address or file, DataError and DigestError when the bundle is not whole, SourceError
    when the registry cannot be reached or does not want it.
    """
    reference = parse_reference(location)
    if reference.digest or not reference.tag:
        raise UsageError(f"{location} names one bundle by its digest: push to a tag, as in oci://HOST/NAME:TAG")
    if not os.path.isfile(path):
        raise UsageError(f"{path} is no file: a bundle is pushed from a file")
    show = progress or (lambda now: None)
    found = _examine(path, show)
    manifest, layers = found.manifest, found.tar.layers
    document = serialize_artifact(layers, name=manifest.name, version=manifest.version, boards=manifest.boards)
    with (
        explained(f"cannot read {path}"),
        open(path, "rb", buffering=0) as file,
        Registry(reference, transport) as registry,
    ):
        sent = _upload(registry, found.tar, file.fileno(), show)
        if not registry.has_blob(EMPTY_DIGEST, len(EMPTY)):
            registry.upload(EMPTY_DIGEST, len(EMPTY), io.BytesIO(EMPTY))
        digest = registry.put_manifest(document)
    total = sum(layer.size for layer in layers)
    show(Progress("done", total, total, total))
    return Pushed(
        name=manifest.name,
        version=manifest.version,
        reference=reference.pinned(digest),
        digest=digest,
        manifest_sha256=found.digest,
        size=found.tar.size,
        sent=sent,
        present=total - sent,
    )


def _upload(registry: Registry, tar: VirtualTar, fd: int, show: ShowProgress) -> int:
    """Send the layers that are missing; return how many bytes that were."""
    total = sum(layer.size for layer in tar.layers)
    known: set[str] = set()
    done = sent = 0
    for index, layer in enumerate(tar.layers):
        if layer.digest not in known and not registry.has_blob(layer.digest, layer.size):

            def tell(now: int, before: int = done) -> None:
                show(Progress("push", before + now, total, before + now))

            part = _Part(fd, tar.data(index), layer.size, tell)
            registry.upload(layer.digest, layer.size, cast("BinaryIO", part))
            sent += layer.size
        known.add(layer.digest)
        done += layer.size
        show(Progress("push", done, total, done))
    return sent


def _examine(path: str, show: ShowProgress) -> _Examined:
    """Read the whole bundle: its layers with their digests, when it is whole, and one that can be given back."""
    import hashlib

    with open_bundle(path) as bundle:
        front, manifest = bundle.front, bundle.accept()
        check_image(bundle, manifest.image, lambda now: show(replace(now, phase="unpack")))
    parts = [(MANIFEST, len(front.manifest))]
    parts += [(SIGNATURE, len(front.signature))] if front.signature is not None else []
    parts += [(member.name, member.size) for member in manifest.members]
    tar = VirtualTar([Layer(name, size, _NO_DIGEST) for name, size in parts])
    digests = [hashlib.sha256() for _ in parts]
    with explained(f"cannot read {path}"), open(path, "rb", buffering=0) as file:
        offset = 0
        while found := tar.at(offset):
            if isinstance(found, tuple):
                index, inside = found
                data = os.pread(file.fileno(), min(BLOCK, parts[index][1] - inside), offset)
                digests[index].update(data)
            else:
                data = os.pread(file.fileno(), len(found), offset)
                if data != found[: len(data)]:
                    raise _not_ours(path, offset)
            if not data:
                raise DataError(f"{path} is cut short: it ends after {offset} of {tar.size} bytes", offset=offset)
            offset += len(data)
            show(Progress("check", offset, tar.size, offset))
        if os.fstat(file.fileno()).st_size != tar.size:
            raise _not_ours(path, tar.size)
    for member in manifest.members:
        index = parts.index((member.name, member.size))
        if isinstance(member, BootMember) and digests[index].digest() != member.sha256:
            raise DigestError(f"{member.name} in the bundle {path} is not the file that its manifest names")
    layers = [
        replace(layer, digest=f"sha256:{digest.hexdigest()}") for layer, digest in zip(tar.layers, digests, strict=True)
    ]
    return _Examined(manifest, front.digest, VirtualTar(layers))


def _not_ours(path: str, offset: int) -> DataError:
    return DataError(
        f"{path} is not as `hupfast bundle create` writes it (at byte {offset}), and would not come out of the registry"
        " as it is; make it again",
        offset=offset,
    )


class _Part:
    """
    A part of a file, as a file of its own, with what HttpClient needs of one.

    show: called with the bytes of it that were read.
    """

    def __init__(self, fd: int, offset: int, size: int, show: Callable[[int], None]) -> None:
        self._fd = fd
        self._offset = offset
        self._size = size
        self._show = show
        self._position = 0

    def read(self, size: int) -> bytes:
        wanted = min(size, self._size - self._position)
        data = os.pread(self._fd, wanted, self._offset + self._position)
        if wanted and not data:
            raise DataError("the bundle has become shorter while it was pushed; push it again")
        self._position += len(data)
        self._show(self._position)
        return data

    def seek(self, offset: int) -> int:
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True
