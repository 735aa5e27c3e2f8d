"""
The OCI manifest of a bundle, and the tar that it stands for.

```
{"schemaVersion": 2,
 "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "artifactType": "application/vnd.hupfast.bundle.v1",
 "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": "sha256:44136f...", "size": 2},    always {}
 "layers": [{"mediaType": "application/vnd.hupfast.manifest.v1+json", "digest": "sha256:<64 hex>", "size": 1234,
             "annotations": {"org.opencontainers.image.title": "manifest.json"}},
            ...                                     one for each member of the bundle, in the order of the tar
 "annotations": {"org.opencontainers.image.title": "demo-os", "org.opencontainers.image.version": "2.1.0",
                 "vnd.hupfast.boards": "virtual"}}
```
The members' headers, their padding and the end of the tar follow from names and sizes (tar.py), so a bundle that
`hupfast bundle create` made can be given back to the byte. All that is believed here is where bytes are: whether they
are the right ones is decided by the signature and the digests in manifest.json. Keys that are not known are left alone,
as OCI asks. Pure: bytes in, values out.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hupfast.errors import DataError
from hupfast.jsontext import parse_json
from hupfast.manifest import check_distinct, check_member_name
from hupfast.tar import BLOCK, END, make_header, padded

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.hupfast.bundle.v1"
MANIFEST_LIMIT = 1 << 20
"""Bytes of the largest manifest that is read or written: enough for 4000 members."""

EMPTY = b"{}"
EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""The config of an artifact that has none."""

_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"
_VERSION = "org.opencontainers.image.version"
_BOARDS = "vnd.hupfast.boards"
_TYPES = {
    "manifest.json": "application/vnd.hupfast.manifest.v1+json",
    "manifest.sig": "application/vnd.hupfast.signature.v1",
    "boot": "application/vnd.hupfast.boot.v1",
    "raw": "application/vnd.hupfast.raw.v1",
    "image": "application/vnd.hupfast.image.v1+zstd",
}
_ORDER = list(_TYPES)
_LAYER_LIMIT = 4200
_SIZE_LIMIT = 1 << 62
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Layer:
    """One member of the bundle. digest: "sha256:..." of its bytes; size: of them."""

    name: str
    size: int
    digest: str


class VirtualTar:
    """
    The bytes of a bundle by their offset, without holding any.

    size: of the whole tar.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self._starts = []
        offset = 0
        for layer in self.layers:
            self._starts.append(offset)
            offset += BLOCK + padded(layer.size)
        self._end = offset
        self.size = offset + len(END)

    def data(self, index: int) -> int:
        """Where the bytes of layer `index` begin."""
        return self._starts[index] + BLOCK

    def at(self, offset: int) -> tuple[int, int] | bytes:
        """
        What is at `offset`: the index of a layer and the offset in its bytes, or the bytes up to the next such place.

        b"" at the end.
        """
        if offset >= self._end:
            return END[offset - self._end :]
        index = bisect_right(self._starts, offset) - 1
        layer = self.layers[index]
        inside = offset - self._starts[index]
        if inside < BLOCK:
            return make_header(layer.name, layer.size)[inside:]
        if inside - BLOCK < layer.size:
            return index, inside - BLOCK
        return bytes(BLOCK + padded(layer.size) - inside)


def serialize_artifact(layers: Sequence[Layer], *, name: str, version: str, boards: Sequence[str]) -> bytes:
    """The manifest of a bundle: the same bundle gives the same bytes. Raises: DataError when it cannot be one."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": _EMPTY_TYPE, "digest": EMPTY_DIGEST, "size": len(EMPTY)},
        "layers": [
            {
                "mediaType": _TYPES[_kind(layer.name)],
                "digest": layer.digest,
                "size": layer.size,
                "annotations": {_TITLE: layer.name},
            }
            for layer in layers
        ],
        "annotations": {_TITLE: name, _VERSION: version, _BOARDS: ",".join(boards)},
    }
    data = json.dumps(document, separators=(",", ":")).encode()
    if len(data) > MANIFEST_LIMIT:
        raise DataError(f"the bundle has {len(layers)} members, too many for a registry: put them into fewer files")
    parse_artifact(data)  # what could not be pulled is not pushed
    return data


def parse_artifact(data: bytes) -> tuple[Layer, ...]:
    """The members of a bundle from its OCI manifest. Raises: DataError with what is wrong."""
    document = _object(parse_json(data, "the OCI manifest", MANIFEST_LIMIT), "the OCI manifest")
    media_type = document.get("mediaType", MANIFEST_TYPE)
    if document.get("schemaVersion") != 2 or media_type != MANIFEST_TYPE:
        raise DataError(f"it is no hupfast bundle, but something of the type {media_type!r:.100}")
    artifact_type = document.get("artifactType")
    if artifact_type != ARTIFACT_TYPE:
        what = (
            "a container image or the like" if artifact_type is None else f"an artifact of type {artifact_type!r:.100}"
        )
        raise DataError(f"it is no hupfast bundle, but {what}; push bundles with `hupfast bundle push`")
    items = document.get("layers")
    if not isinstance(items, list) or not 2 <= len(items) <= _LAYER_LIMIT:
        raise DataError(f"the OCI manifest's layers are not a list of 2 to {_LAYER_LIMIT}")
    layers = tuple(_layer(item, f"layers[{index}] of the OCI manifest") for index, item in enumerate(items))
    ranks = [_ORDER.index(_kind(layer.name)) for layer in layers]
    single = [rank for rank in ranks if _ORDER[rank] not in ("boot", "raw")]
    if ranks != sorted(ranks) or len(set(single)) != len(single) or ranks[0] != 0 or _ORDER[ranks[-1]] != "image":
        raise DataError("the layers of the OCI manifest are not the members of a bundle in their order")
    check_distinct([layer.name for layer in layers])
    if VirtualTar(layers).size >= _SIZE_LIMIT:
        raise DataError("the layers of the OCI manifest are larger together than any bundle")
    return layers


def _layer(value: object, what: str) -> Layer:
    item = _object(value, what)
    name = check_member_name(_object(item.get("annotations"), f"annotations of {what}").get(_TITLE))
    size, digest, media_type = item.get("size"), item.get("digest"), item.get("mediaType")
    if type(size) is not int or not 0 <= size < _SIZE_LIMIT:
        raise DataError(f"{what} has the size {size!r:.100}")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise DataError(f"{what} has the digest {digest!r:.100}: only sha256: and 64 hexadecimal digits are understood")
    if media_type != _TYPES[_kind(name)]:
        raise DataError(
            f"{what} is called {name!r}, and has the type {media_type!r:.100} instead of {_TYPES[_kind(name)]}"
        )
    make_header(name, size)  # it fits into a tar
    return Layer(name, size, digest)


def _kind(name: str) -> str:
    if name in ("manifest.json", "manifest.sig"):
        return name
    folder, slash, _ = name.partition("/")
    if not slash and not name.startswith("manifest."):
        return "image"
    if slash and folder in ("boot", "raw"):
        return folder
    raise DataError(f"a bundle has no place for a member {name!r}")


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DataError(f"{what} is no JSON object")
    return value
