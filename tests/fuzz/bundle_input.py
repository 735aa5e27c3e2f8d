"""
The reader of bundles, on any bytes: for atheris (fuzz_bundle.py), and for tests/test_bundle_fuzz.py.

The first byte of an input says what the rest is:

    0  a whole bundle
    1  changes to a good one: 3 bytes each, place (big endian) and new byte; tar checksums are made right again
    2  its manifest.json
    3  its manifest.sig

What may come out is an error that says that the data is bad, or that the bundle is refused. What is accepted must be
inside its place and have the digests of its manifest; what passes as signed must be what was signed.
"""

import hashlib
import io
import os
import posixpath
from pathlib import Path

from hupfast.bundle import Bundle, open_bundle
from hupfast.errors import DataError, Refused, SourceError
from hupfast.inspection import verify_bundle
from hupfast.keys import read_key
from hupfast.manifest import Manifest, parse_manifest, serialize_manifest
from hupfast.signatures import parse_signatures, serialize_signatures
from hupfast.tar import BLOCK, make_header, padded
from hupfast.trust import check_trust

HERE = Path(__file__).parent
CORPUS = HERE / "corpus" / "bundle"
WHOLE, CHANGES, MANIFEST, SIGNATURES = range(4)
GOOD = (CORPUS / "signed").read_bytes()[1:]
"""A bundle that is signed by KEY, whose private half nobody has."""

KEY = read_key(HERE / "bundle.pem")
_EXPECTED = (DataError, SourceError, Refused)


def front(name: str) -> tuple[int, int]:
    """Where a member of the front of GOOD begins, with its header, and where it ends."""
    start = 0
    while True:
        size = int(GOOD[start + 124 : start + 135], 8)
        end = start + BLOCK + padded(size)
        if GOOD[start : start + 100].rstrip(b"\0").decode() == name:
            return start, end
        start = end


def content(name: str) -> bytes:
    """The bytes of a member of GOOD."""
    start, _ = front(name)
    return GOOD[start + BLOCK : start + BLOCK + int(GOOD[start + 124 : start + 135], 8)]


def replaced(name: str, data: bytes) -> bytes:
    """GOOD with other bytes for a member of its front."""
    start, end = front(name)
    member = make_header(name, len(data)) + data + bytes(padded(len(data)) - len(data))
    return GOOD[:start] + member + GOOD[end:]


def changed(changes: bytes) -> bytes:
    """GOOD with some bytes changed, and right checksums where it had headers."""
    data = bytearray(GOOD)
    for number in range(0, len(changes) - 2, 3):
        place = int.from_bytes(changes[number : number + 2], "big") % len(data)
        data[place] = changes[number + 2]
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        if GOOD[start + 257 : start + 262] == b"ustar" and GOOD[start : start + BLOCK] != data[start : start + BLOCK]:
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + BLOCK])
    return bytes(data)


def one_input(data: bytes) -> None:
    """One input of the fuzzer. Raises: AssertionError, and whatever hupfast should not have raised."""
    kind, rest = data[:1], data[1:]
    if kind == bytes([CHANGES]):
        bundle = changed(rest)
    elif kind == bytes([MANIFEST]):
        bundle = replaced("manifest.json", rest)
        try_manifest(rest)
    elif kind == bytes([SIGNATURES]):
        bundle = replaced("manifest.sig", rest)
        try_signatures(rest)
    else:
        bundle = rest
    try_stream(bundle)
    try_file(bundle)


def try_manifest(data: bytes) -> None:
    """A manifest that is understood is inside its place, and comes back from what it is written as."""
    try:
        manifest = parse_manifest(data)
    except DataError:
        return
    assert parse_manifest(serialize_manifest(manifest)) == manifest
    check_places(manifest)


def try_signatures(data: bytes) -> None:
    """Signatures have one spelling."""
    try:
        found = parse_signatures(data)
    except DataError:
        return
    assert serialize_signatures(found) == data


def try_stream(data: bytes) -> None:
    """Read once and forward, as from a network: every member that comes out whole is the one that was named."""
    try:
        with open_bundle(io.BytesIO(data)) as bundle:
            trusted = is_trusted(bundle)
            manifest = bundle.accept()
            check_places(manifest)
            for member in (*manifest.boot, *manifest.raw):
                found = b"".join(bundle.boot_file(member))
                assert hashlib.sha256(found).digest() == member.sha256
                assert not trusted or found == content(member.name)
            with bundle.image() as source:
                piece = bytearray(4096)
                while source.readinto(memoryview(piece)):
                    pass
    except _EXPECTED:
        return


def try_file(data: bytes) -> None:
    """`bundle verify` of a file."""
    fd = os.memfd_create("bundle", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        with open_bundle(fd) as bundle:
            is_trusted(bundle)
            found = verify_bundle(bundle, [KEY], allow_unsigned=True)
            check_places(found.manifest)
            assert found.image_size == found.manifest.image.image_size
            if found.key is not None:
                assert all(content(member.name) in data for member in found.manifest.members)
    except _EXPECTED:
        return
    finally:
        os.close(fd)


def is_trusted(bundle: Bundle) -> bool:
    """Whether the front passes as signed; then it is the one that was signed."""
    try:
        check_trust(bundle.front, [KEY], allow_unsigned=False)
    except Refused:
        return False
    assert bundle.front.manifest == content("manifest.json")
    return True


def check_places(manifest: Manifest) -> None:
    """No member has a path that leads out of its place, or to that of another."""
    places = {"boot": manifest.boot, "raw": manifest.raw}
    for place, members in places.items():
        for member in members:
            assert posixpath.normpath(f"/{place}/{member.path}") == f"/{member.name}", member.name
            assert "\0" not in member.name
            assert 0 <= member.size < 1 << 62
    names = [member.name.casefold() for member in manifest.members]
    assert len(set(names)) == len(names)
    assert not any(other.startswith(f"{name}/") for name in names for other in names)
