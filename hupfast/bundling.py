"""
Making a bundle, on the machine that builds: a directory of boot files, bootloaders and an image become one
`.hup` file.

The same input gives the same bytes: no times, no owners, boot files and bootloaders in the order of their
names. The bundle is written beside OUT, flushed and renamed, so OUT is never half a bundle. bundle.py reads
what is made here.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hupfast.bundle import MANIFEST, open_bundle
from hupfast.durable import write_chunks
from hupfast.errors import DataError, Refused, UsageError
from hupfast.manifest import (
    BootMember,
    ImageMember,
    Manifest,
    RawMember,
    check_distinct,
    check_member_name,
    check_raw_member,
    check_word,
    describe_member,
    parse_manifest,
    serialize_manifest,
)
from hupfast.policy import seconds_of
from hupfast.signatures import Signature, parse_signatures
from hupfast.system import digest, explained, read_chunks
from hupfast.tar import END, make_header, padded
from hupfast.target import in_dev

if TYPE_CHECKING:
    from hupfast.source.transport import Transport

IMAGE = "rootfs.img.zst"
"""Name of the image in every bundle that is made here."""

PackFunction = Callable[[Path, Path], None]
"""Makes a chunked image: from the first path, to the second."""


@dataclass(frozen=True)
class BundleInfo:
    """
    What is in a bundle. digest: SHA-256 of the manifest in hex; size: bytes, None for a stream.

    signatures: as they are written; nobody has checked them.
    """

    manifest: Manifest
    digest: str
    signatures: tuple[Signature, ...]
    size: int | None
    offsets: Mapping[str, int]

    def as_dict(self) -> dict[str, object]:
        """For JSON output."""
        manifest = self.manifest
        return {
            "name": manifest.name,
            "version": manifest.version,
            "boards": list(manifest.boards),
            "created": manifest.created,
            "expires": manifest.expires,
            "minimum_versions": dict(manifest.minimum_versions),
            "manifest_sha256": self.digest,
            "signed": bool(self.signatures),
            "keys": [signature.key_id for signature in self.signatures],
            "size": self.size,
            "members": [
                {**describe_member(member), "offset": self.offsets[member.name]} for member in manifest.members
            ],
        }


def create_bundle(
    out: Path,
    *,
    name: str,
    version: str,
    boards: Sequence[str],
    image: Path,
    pack: PackFunction,
    boot: Path | None = None,
    raw: Mapping[str, Path] | None = None,
    created: str = "",
    expires: str = "",
    minimum_versions: Mapping[str, str] | None = None,
    force: bool = False,
) -> Manifest:
    """
    Make a bundle and return its manifest.

    image: any image; one that is not chunked yet is packed with `pack` into a file beside `out`, which is
    removed again. boot: directory of boot files, None for a bundle without. raw: bootloaders by the names of the
    ranges of the disk that they are for. created: text for people, such as a date. expires: see policy.py. force:
    replace `out`.
    Raises: UsageError for wrong names and paths, Refused when `out` exists, DataError for a broken image,
    HupfastError.
    """
    try:
        _check_words(name, version, boards, minimum_versions or {}, expires)
        files = _boot_files(boot)
        blobs = _raw_files(raw or {})
    except DataError as error:
        raise UsageError(str(error)) from None
    if not boards:
        raise UsageError("name at least one board that the bundle is for")
    check_place(out, force=force)
    packed = out.with_name(f".{out.name}.{os.getpid()}.zst")
    try:
        chunked = image if _is_chunked(image) else packed
        if chunked is packed:
            pack(image, packed)
        manifest = Manifest(
            name=name,
            version=version,
            boards=tuple(boards),
            boot=tuple(BootMember(member, path.stat().st_size, digest(read_chunks(path))) for member, path in files),
            raw=tuple(RawMember(member, path.stat().st_size, digest(read_chunks(path))) for member, path in blobs),
            image=_image_member(chunked),
            created=created,
            expires=expires,
            minimum_versions=dict(minimum_versions or {}),
        )
        text = serialize_manifest(manifest)
        parse_manifest(text)  # what a board would refuse is not even made
        write_chunks(out, _archive(text, manifest, [*(path for _, path in (*files, *blobs)), chunked]))
    finally:
        packed.unlink(missing_ok=True)
    return manifest


def inspect_bundle(location: str, *, transport: "Transport | None" = None) -> BundleInfo:
    """Read the front of a bundle: path, URL or "-". Raises: DataError, SourceError."""
    with open_bundle(location, transport=transport) as bundle:
        manifest = bundle.accept()
        return BundleInfo(
            manifest=manifest,
            digest=bundle.front.digest,
            signatures=() if bundle.front.signature is None else parse_signatures(bundle.front.signature),
            size=bundle.size,
            offsets={member.name: bundle.offset(member) for member in manifest.members},
        )


def check_place(out: Path, *, force: bool) -> None:
    """Whether the file `out` can be made. Raises: UsageError, Refused when it exists."""
    if not out.parent.is_dir():
        raise UsageError(f"{out} cannot be made: there is no folder {out.parent}")
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the file to be made")
    if in_dev(str(out)):
        raise Refused(f"{out} lies where devices are: name a file elsewhere")
    if out.exists() and not force:
        raise Refused(f"{out} exists: say --force to replace it")


def _check_words(name: str, version: str, boards: Sequence[str], minimum: Mapping[str, str], expires: str) -> None:
    check_word(name, "the name")
    check_word(version, "the version")
    for board in boards:
        check_word(board, "a board")
    for key, value in minimum.items():
        check_word(value, f"the minimum version of {key}")
    if expires:
        seconds_of(expires)


def _boot_files(boot: Path | None) -> list[tuple[str, Path]]:
    """Member name and path of every boot file, in the order of the names."""
    if boot is None:
        return []
    if not boot.is_dir():
        raise UsageError(f"the directory of boot files {boot} does not exist")
    found = []
    for parent, directories, names in os.walk(boot):
        for entry in (*directories, *names):
            path = Path(parent) / entry
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                found.append((check_member_name(f"boot/{path.relative_to(boot).as_posix()}"), path))
            elif not stat.S_ISDIR(mode):
                raise UsageError(f"{path} is neither a file nor a directory; a boot partition holds nothing else")
    check_distinct([member for member, _ in found])
    return sorted(found)


def _raw_files(raw: Mapping[str, Path]) -> list[tuple[str, Path]]:
    """Member name and path of every bootloader, in the order of the names."""
    for name, path in raw.items():
        if not path.is_file():
            raise UsageError(f"the file {path} for the raw member {name} does not exist, or is no regular file")
        check_raw_member(f"raw/{name}", path.stat().st_size)
    check_distinct(list(raw))
    return sorted((f"raw/{name}", path) for name, path in raw.items())


def _is_chunked(image: Path) -> bool:
    from hupfast.engine import PROBE_SIZE, probe

    if not image.exists() or image.is_dir():
        raise UsageError(f"the image {image} {'is a folder' if image.exists() else 'does not exist'}")
    with explained(f"cannot read the image {image}"), image.open("rb") as file:
        head = file.read(PROBE_SIZE)
    return probe(head).format == "chunked"


def _image_member(chunked: Path) -> ImageMember:
    from hupfast.image import read_table

    table = read_table(chunked)
    return ImageMember(
        name=IMAGE,
        size=chunked.stat().st_size,
        image_size=table.image_size,
        chunk_size=table.chunk_size,
        table_sha256=table.sha256,
    )


def _archive(text: bytes, manifest: Manifest, paths: Sequence[Path]) -> Iterator[bytes]:
    """The bytes of the tar. paths: of the manifest's members."""
    yield make_header(MANIFEST, len(text))
    yield text
    yield bytes(padded(len(text)) - len(text))
    for member, path in zip(manifest.members, paths, strict=True):
        yield make_header(member.name, member.size)
        size = 0
        for piece in read_chunks(path):
            size += len(piece)
            yield piece
        if size != member.size:
            raise DataError(f"{path} has changed while the bundle was being made")
        yield bytes(padded(size) - size)
    yield END
