"""Manifests: what is right comes back, what is wrong is named."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.errors import DataError
from hupfast.manifest import (
    BootMember,
    ImageMember,
    Manifest,
    RawMember,
    check_distinct,
    check_member_name,
    parse_manifest,
    serialize_manifest,
)

DIGEST = bytes(range(32))
EXAMPLE = Manifest(
    name="demo-os",
    version="2.1.0",
    boards=("virtual", "pi4"),
    boot=(BootMember("boot/kernel", 10, DIGEST), BootMember("boot/dtb/x.dtb", 0, DIGEST)),
    image=ImageMember("rootfs.img.zst", 2000, 4 << 20, 1 << 20, DIGEST),
    created="2026-01-31",
    minimum_versions={"system": "1.0"},
)

words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,20}", fullmatch=True)
sizes = st.integers(0, 2**60)
digests = st.binary(min_size=32, max_size=32)
manifests = st.builds(
    Manifest,
    name=words,
    version=words,
    boards=st.lists(words, min_size=1, max_size=3).map(tuple),
    boot=st.lists(
        st.builds(BootMember, name=st.from_regex(r"boot/[a-z]{1,8}", fullmatch=True), size=sizes, sha256=digests),
        max_size=4,
        unique_by=lambda member: member.name,
    ).map(tuple),
    image=st.builds(
        ImageMember,
        name=st.just("rootfs.img.zst"),
        size=st.integers(1, 2**60),
        image_size=st.integers(1, 2**60),
        chunk_size=st.sampled_from([1 << 16, 1 << 20, 1 << 26]),
        table_sha256=digests,
    ),
    raw=st.lists(
        st.builds(
            RawMember,
            name=st.from_regex(r"raw/[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
            size=st.integers(1, 1 << 20),
            sha256=digests,
        ),
        max_size=4,
        unique_by=lambda member: member.name,
    ).map(tuple),
    created=st.sampled_from(["", "today"]),
    expires=st.just("") | st.datetimes().map("{:%Y-%m-%dT%H:%M:%SZ}".format).filter(lambda text: len(text) == 20),
    minimum_versions=st.dictionaries(st.sampled_from(["hupfast", "system"]), words, max_size=2),
)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bytes of EXAMPLE with one change."""
    document = json.loads(serialize_manifest(EXAMPLE))
    change(document)
    return json.dumps(document).encode()


@given(manifests)
def test_what_is_written_comes_back(manifest: Manifest) -> None:
    """parse undoes serialize, and the same manifest gives the same bytes."""
    data = serialize_manifest(manifest)

    assert parse_manifest(data) == manifest
    assert serialize_manifest(parse_manifest(data)) == data


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text(max_size=5), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_garbage_is_data_error(data: bytes) -> None:
    """Whatever the bytes are, nothing but DataError comes out."""
    with pytest.raises(DataError):
        parse_manifest(data)


def test_deep_nesting_is_data_error() -> None:
    """A tower of brackets does not end in a traceback."""
    with pytest.raises(DataError, match="no JSON"):
        parse_manifest(b"[" * 50_000)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(format=2), "format is not 1"),
        (lambda m: m.update(format=True), "'format'"),
        (lambda m: m.pop("name"), "no 'name'"),
        (lambda m: m.update(name="../x"), "name is"),
        (lambda m: m.update(version=""), "version is"),
        (lambda m: m.update(version=2), "version is"),
        (lambda m: m.update(boards=[]), "'boards'"),
        (lambda m: m.update(boards=[1]), "'boards'"),
        (lambda m: m.update(hooks=["x"]), "hooks"),
        (lambda m: m.update(surprise=1), "unknown key 'surprise'"),
        (lambda m: m.update(created=5), "'created'"),
        (lambda m: m.update(created="a\nb"), "'created'"),
        (lambda m: m.update(expires=1), "'expires'"),
        (lambda m: m.update(expires="2027-01-31"), "no time in UTC"),
        (lambda m: m.update(minimum_versions={"kernel": "1"}), "unknown key 'kernel'"),
        (lambda m: m.update(minimum_versions={"system": "1 0"}), "minimum_versions.system"),
        (lambda m: m.update(members=[]), "members"),
        (lambda m: m.update(members="x"), "members"),
        (lambda m: m["members"].reverse(), "no boot file"),
        (lambda m: m["members"].pop(), "no image"),
        (lambda m: m["members"][0].update(size=-1), "'size'"),
        (lambda m: m["members"][0].update(size=2**63), "'size'"),
        (lambda m: m["members"][0].update(size=1.0), "'size'"),
        (lambda m: m["members"][0].update(size=True), "'size'"),
        (lambda m: [member.update(size=1 << 61) for member in m["members"]], "larger together"),
        (lambda m: m["members"][0].update(sha256="00"), "'sha256'"),
        (lambda m: m["members"][0].update(sha256="G" * 64), "'sha256'"),
        (lambda m: m["members"][0].update(extra=1), "unknown key 'extra'"),
        (lambda m: m["members"][0].update(name="kernel"), "not in boot/"),
        (lambda m: m["members"][0].update(name="boot/../../etc/passwd"), "leaves its place"),
        (lambda m: m["members"][0].update(name="boot/"), "leaves its place"),
        (lambda m: m["members"][0].update(name="boot/./x"), "leaves its place"),
        (lambda m: m["members"][0].update(name="/boot/x"), "leaves its place"),
        (lambda m: m["members"][0].update(name="boot"), "not in boot/"),
        (lambda m: m["members"][0].update(name="BOOT/x"), "not in boot/"),
        (lambda m: m["members"][0].update(kind="link"), "no boot file"),
        (lambda m: m["members"][1].update(name="boot/kernel"), "one file on a boot partition"),
        (lambda m: m["members"][1].update(name="boot/KERNEL~1.IMG"), "short name"),
        (lambda m: m["members"][1].update(name="boot/KERNEL"), "one file on a boot partition"),
        (lambda m: m["members"][1].update(name="boot/kernel/x"), "needs it as a directory"),
        (lambda m: m["members"][2].update(name="boot/x"), "cannot have the name"),
        (lambda m: m["members"][2].update(name="manifest.sig"), "cannot have the name"),
        (lambda m: m["members"][2].update(chunk_size=3 << 20), "power of two"),
        (lambda m: m["members"][2].update(chunk_size=1 << 27), "power of two"),
        (lambda m: m["members"][2].update(image_size=0), "'image_size'"),
        (lambda m: m["members"][2].pop("table_sha256"), "no 'table_sha256'"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[dict[str, Any]], object], reason: str) -> None:
    """Each wrong key ends in DataError with the key or the value in it."""
    parse_manifest(changed(lambda m: None))
    with pytest.raises(DataError, match=reason):
        parse_manifest(changed(change))


def test_a_key_that_occurs_twice_is_refused() -> None:
    """JSON readers differ in which of two they take; so neither is taken."""
    data = serialize_manifest(EXAMPLE).replace(b'"hooks": []', b'"hooks": [], "name": "other"')
    with pytest.raises(DataError, match="twice"):
        parse_manifest(data)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "a//b",
        "a/",
        "./a",
        "a/../b",
        "..",
        "a\\b",
        "c:",
        "a*",
        "a\x00b",
        "a\nb",
        "a/ b",
        "a.",
        "a ",
        "x.hupfast-new",
        "X.HUPFAST-NEW",
        "CONFIG~1.JSO",
        "boot/kerne~12",
        "OVERLA~1/x",
        "a~1.b",
        "\ud800",
        ".",
        "a/./b",
        "dir.hupfast-old/x",
        "x" * 256,
        "ä" * 128,
        None,
        5,
    ],
)
def test_names_that_leave_their_place_or_no_filesystem_holds(name: object) -> None:
    """Each is refused."""
    with pytest.raises(DataError):
        check_member_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "kernel",
        "boot/overlays/x-1.2_3+.dtbo",
        "boot/größe",
        "boot/.hidden",
        "a b/c",
        "x~",
        "~x1.txt",
        "longer-than-8~1",
        "x~1.json",
    ],
)
def test_ordinary_names_pass(name: str) -> None:
    """Each comes back as it is."""
    assert check_member_name(name) == name


def test_names_may_share_directories() -> None:
    """Two files of one directory are fine."""
    check_distinct(["boot/a/x", "boot/a/y", "boot/ab"])


def test_the_place_of_a_boot_file_is_without_the_first_directory() -> None:
    """boot/dtb/x.dtb of the tar is dtb/x.dtb of the boot partition."""
    assert [member.path for member in EXAMPLE.boot] == ["kernel", "dtb/x.dtb"]
    assert [member.name for member in EXAMPLE.members] == ["boot/kernel", "boot/dtb/x.dtb", "rootfs.img.zst"]


RAW = replace(EXAMPLE, raw=(RawMember("raw/MLO", 10, DIGEST), RawMember("raw/u-boot.img", 1 << 20, DIGEST)))


def test_raw_members_lie_between_boot_files_and_image() -> None:
    """They are a key of their own, which a manifest without them does not have."""
    document = json.loads(serialize_manifest(RAW))
    assert document["raw"][0] == {"kind": "raw", "name": "raw/MLO", "size": 10, "sha256": DIGEST.hex()}
    assert [member["kind"] for member in document["members"]] == ["boot", "boot", "image"]
    assert [member.name for member in RAW.members[2:]] == ["raw/MLO", "raw/u-boot.img", "rootfs.img.zst"]
    assert [member.path for member in RAW.raw] == ["MLO", "u-boot.img"]
    assert "raw" not in json.loads(serialize_manifest(EXAMPLE))
    assert parse_manifest(changed(lambda m: m.update(raw=[]))) == EXAMPLE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(raw={}), "not a list"),
        (lambda m: m.update(raw=m["raw"] * 33), "at most 64"),
        (lambda m: m["raw"].append("x"), "no JSON object"),
        (lambda m: m["raw"][0].update(kind="boot"), "no raw member"),
        (lambda m: m["raw"][0].pop("sha256"), "no 'sha256'"),
        (lambda m: m["raw"][0].update(extra=1), "unknown key 'extra'"),
        (lambda m: m["raw"][0].update(name="MLO"), "is not raw/"),
        (lambda m: m["raw"][0].update(name="raw/.MLO"), "is not raw/"),
        (lambda m: m["raw"][0].update(name="raw/a/b"), "is not raw/"),
        (lambda m: m["raw"][0].update(name="raw/" + "x" * 65), "is not raw/"),
        (lambda m: m["raw"][0].update(name="raw/MLO\n"), "no short text"),
        (lambda m: m["raw"][0].update(name=5), "no short text"),
        (lambda m: m["raw"][0].update(size=0), "0 bytes"),
        (lambda m: m["raw"][0].update(size=(16 << 20) + 1), "16777217 bytes"),
        (lambda m: m["raw"][1].update(name="raw/mlo"), "one file"),
        (lambda m: m["raw"][1].update(name="raw/MLO"), "one file"),
        (lambda m: m["members"][2].update(name="raw"), "needs it as a directory"),
        (lambda m: m["members"].insert(2, m["raw"][0]), "no boot file"),
        (
            lambda m: m.update(raw=[{**m["raw"][0], "name": f"raw/{i}", "size": 13 << 20} for i in range(5)]),
            "together",
        ),
    ],
)
def test_wrong_raw_members_are_named(change: Callable[[dict[str, Any]], object], reason: str) -> None:
    """Each ends in DataError."""
    document = json.loads(serialize_manifest(RAW))
    change(document)
    with pytest.raises(DataError, match=reason):
        parse_manifest(json.dumps(document).encode())
