"""Fingerprints: what has changed since a system was shipped, compared with what sha256sum and its like say."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast import fingerprint
from hupfast.errors import HupfastError, Refused
from hupfast.fingerprint import Difference, Fingerprints, check_fingerprints, parse_line, read_fingerprints
from hupfast.profile import load_profile

NAMES = ["etc/fstab", "etc/a b", "etc/new\nline", "etc/back\\slash", "etc/cr\rx", "usr/ä", "usr/ *x", "top", "empty"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A system with names of all kinds, also one that is no UTF-8, and a file of some blocks."""
    tree = tmp_path / "tree"
    for name in [*NAMES, os.fsdecode(b"usr/\xff")]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name, errors="surrogateescape")
    (tree / "empty").write_bytes(b"")
    (tree / "usr/large").write_bytes(os.urandom(700_001))
    return tree


def shipped(tree: Path, program: str = "sha256sum") -> Path:
    """The fingerprint file that a program makes of all files of a tree."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    files = sorted(os.path.relpath(path, tree) for path in tree.rglob("*") if path.is_file())
    made = subprocess.run([program, *(f"./{file}" for file in files)], cwd=tree, capture_output=True, check=True)
    file = tree.parent / "fingerprint"
    file.write_bytes(made.stdout)
    return file


def verdict(file: Path, tree: Path, program: str = "sha256sum") -> list[str]:
    """The files that `sha256sum -c` finds fault with, in their order."""
    argv = [program, "--check", "--quiet", str(file)]
    output = subprocess.run(argv, cwd=tree, capture_output=True, env={"LC_ALL": "C"}, check=False).stdout
    failed = re.findall(rb"(\\?)\./(.*): FAILED", output)
    return [
        os.fsdecode(re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r"}.get(m[1], m[1]), name) if escaped else name)
        for escaped, name in failed
    ]


def listing(tree: Path, *names: str) -> Path:
    """A fingerprint file of some files, with paths as they are given."""
    file = tree.parent / "listing"
    file.write_text("".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in names))
    return file


@pytest.mark.parametrize("program", ["sha256sum", "md5sum", "b2sum"])
def test_the_verdict_is_that_of_the_program(tree: Path, program: str) -> None:
    """Nothing as shipped; then changed and missing files with names of all kinds."""
    file = shipped(tree, program)
    assert check_fingerprints(file, tree) == Difference((), (), 11)
    for name in ("etc/new\nline", "etc/back\\slash", "usr/large", os.fsdecode(b"usr/\xff")):
        with open(tree / name, "ab") as changed:
            changed.write(b"x")
    for name in ("top", "etc/cr\rx"):
        (tree / name).unlink()
    found = check_fingerprints(file, tree)

    assert found.missing == ("etc/cr\rx", "top")
    assert len(found.changed) == 4
    assert sorted((*found.changed, *found.missing)) == sorted(verdict(file, tree, program))


def test_what_is_no_regular_file_any_more_has_changed(tree: Path) -> None:
    """A link to the same bytes, a directory, and a pipe, which is not even opened."""
    file = shipped(tree)
    (tree / "top").rename(tree / "elsewhere")
    (tree / "top").symlink_to("elsewhere")
    (tree / "empty").unlink()
    (tree / "empty").mkdir()
    (tree / "usr/large").unlink()
    os.mkfifo(tree / "usr/large")

    assert sorted(check_fingerprints(file, tree).changed) == ["empty", "top", "usr/large"]


def test_a_directory_that_has_become_a_link_is_not_followed(tree: Path) -> None:
    """All that was in it has changed; it may lead out of the tree."""
    file = shipped(tree)
    (tree / "etc").rename(tree.parent / "etc")
    (tree / "etc").symlink_to(tree.parent / "etc")
    found = check_fingerprints(file, tree)

    assert len(found.changed) == 5
    assert all(path.startswith("etc/") for path in found.changed)


def test_a_directory_that_is_gone_or_a_file(tree: Path) -> None:
    """What was in it is missing."""
    file = shipped(tree)
    shutil.rmtree(tree / "usr")
    found = check_fingerprints(file, tree)
    (tree / "usr").touch()

    assert len(found.missing) == 4
    assert check_fingerprints(file, tree) == found


def test_ignored_files_are_left_out(tree: Path) -> None:
    """Single ones by their path, all below a directory with "/" at the end."""
    file = shipped(tree)
    shutil.rmtree(tree / "usr")
    (tree / "top").unlink()
    (tree / "etc/fstab").write_text("changed")

    assert check_fingerprints(file, tree, ("usr/", "top", "etc/fst")) == Difference(("etc/fstab",), (), 6)


def test_what_is_below_a_mount_is_not_compared(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shipped lies under it."""
    file = shipped(tree)
    lstat = os.lstat

    def mounted(path: str) -> os.stat_result:
        facts = list(lstat(path))
        facts[2] += os.path.basename(path) == "usr"  # st_dev
        return os.stat_result(facts)

    monkeypatch.setattr("os.lstat", mounted)
    assert check_fingerprints(file, tree) == Difference((), (), 7, hidden=4)


def test_paths_from_the_top_of_the_tree(tree: Path) -> None:
    """With "./", as balena has them with "/", and with neither; the upper case of a hash does not matter."""
    file = listing(tree, "top")
    digits = file.read_text().split()[0]
    file.write_text("".join(f"{digits.upper()} {name}\n" for name in (" /top", "*./top", " top", " .//./top")))
    assert check_fingerprints(file, tree) == Difference((), (), 4)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "not of the form"),
        ("", "not of the form"),
        (f"{'a' * 64} top", "not of the form"),
        (f"{'a' * 64}  ", "not of the form"),
        (f"{'a' * 64}  a\0b", "not of the form"),
        (f"{'a' * 40}  top", "40 digits"),
        (f"{'a' * 64}  ../top", "out of the tree"),
        (f"{'a' * 64}  /etc/../../top", "out of the tree"),
        (f"{'a' * 64}  ./", "names no file"),
        (f"{'a' * 64}  etc/", "names no file"),
        (f"\\{'a' * 64}  a\\tb", "none of the escapes"),
        (f"\\{'a' * 64}  a\\", "none of the escapes"),
        (f"{'a' * 64}  {'long' * 5000}", "longer than any path"),
    ],
)
def test_a_malformed_line_is_named(tree: Path, line: str, reason: str) -> None:
    """With its number, however many threads are at work."""
    file = listing(tree, "top", "etc/fstab")
    file.write_text(f"{file.read_text()}{line}\n")
    with pytest.raises(HupfastError, match=f"listing, line 3: .*{reason}"):
        check_fingerprints(file, tree)


def test_what_cannot_be_read_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint file, the tree, and a file in it, after which no further file is read."""
    file = listing(tree, *["top"] * 1000)
    with pytest.raises(HupfastError, match=r"cannot read the fingerprints .*none: No such file"):
        check_fingerprints(tree / "none", tree)
    with pytest.raises(HupfastError, match=r"cannot look into .*none: No such file"):
        check_fingerprints(file, tree / "none")
    calls: list[int] = []

    def broken(*_: object) -> bytes:
        calls.append(1)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(fingerprint, "_hashed", broken)
    with pytest.raises(HupfastError, match=r"cannot check .*/top: Input/output error"):
        check_fingerprints(file, tree)
    assert len(calls) <= 2 * (os.cpu_count() or 1)


def test_files_are_read_by_all_processors_and_forgotten(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One open file for each thread, and every one leaves the page cache before it is closed."""
    together = threading.Barrier(3, timeout=20)
    forgotten: list[tuple[int, int, int]] = []
    hashed = fingerprint._hashed

    def met(fd: int, kind: str, buffer: memoryview) -> bytes:
        together.wait()
        return hashed(fd, kind, buffer)

    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr(fingerprint, "_hashed", met)
    monkeypatch.setattr("os.posix_fadvise", lambda fd, *rest: forgotten.append(rest))
    assert check_fingerprints(listing(tree, *["top"] * 9), tree).files == 9
    assert forgotten == [(0, 0, os.POSIX_FADV_DONTNEED)] * 9


def test_the_order_is_that_of_the_file(tree: Path) -> None:
    """Whichever thread is done first."""
    names = [f"no/{number}" for number in range(500)]
    assert check_fingerprints(listing(tree, *names), tree).missing == tuple(names)


@pytest.mark.parametrize(
    ("changed", "missing", "sentence"),
    [
        ("", "", ""),
        ("a", "", "1 of 9 files of the shipped system was changed: a"),
        ("a b c", "", "3 of 9 files of the shipped system were changed: a, b and 1 more"),
        ("", "a b", "2 of 9 files of the shipped system are missing: a, b"),
        ("a b", "c", "2 of 9 files of the shipped system were changed: a, b; 1 is missing: c"),
    ],
)
def test_the_sentence(changed: str, missing: str, sentence: str) -> None:
    """It counts, and names the first two."""
    assert Difference(tuple(changed.split()), tuple(missing.split()), 9).sentence == sentence


def test_the_sentence_is_one_line() -> None:
    """Newlines and bytes that are no text are escaped."""
    assert Difference(("a\nb", os.fsdecode(b"\xff")), (), 2).sentence.endswith(r"changed: 'a\nb', '\udcff'")


@given(st.binary(max_size=300))
def test_any_line_is_understood_or_refused(line: bytes) -> None:
    """Nothing else than ValueError comes out, and no path climbs."""
    for prefix in (b"", b"a" * 32 + b"  ", b"\\" + b"b" * 64 + b" *"):
        try:
            entry = parse_line(prefix + line)
        except ValueError:
            continue
        assert entry.path
        assert not {"", ".", ".."} & set(entry.path.split("/"))


@given(st.lists(st.sampled_from([b"a", b"\\", b"\n", b"\r", b"n", b" ", b"*", b"\xff", b"\xc3\xa4"]), min_size=1))
def test_every_name_survives_its_escapes(pieces: list[bytes]) -> None:
    """Written as sha256sum writes it, a name is read back."""
    name = b"".join(pieces)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    line = (b"\\" if escaped != name else b"") + b"0" * 64 + b"  ./" + escaped
    assert os.fsencode(parse_line(line).path) == name


def test_the_table_of_a_profile(tmp_path: Path) -> None:
    """All keys, and none of them."""
    profile = tmp_path / "board.toml"
    profile.write_text(
        '[fingerprints]\nroot = "/resin-root.fingerprint"\nboot = "/mnt/boot/b"\n'
        'ignore = ["etc/hostname", "var/log/"]\nignore_boot = ["config.txt"]\n'
    )
    table = load_profile(profile).table("fingerprints")
    assert read_fingerprints(table) == Fingerprints(
        "/resin-root.fingerprint", "/mnt/boot/b", ("etc/hostname", "var/log/"), ("config.txt",)
    )
    profile.write_text("")
    assert read_fingerprints(load_profile(profile).table("fingerprints", optional=True)) == Fingerprints()


@pytest.mark.parametrize(
    "line",
    ['root = "a"', 'ignore = ["/etc/x"]', 'ignore_boot = ["../x"]', 'ignore = ["a//b"]', 'ignore = ["/"]', "rot = 1"],
)
def test_a_wrong_key_is_refused(tmp_path: Path, line: str) -> None:
    """With its line."""
    profile = tmp_path / "board.toml"
    profile.write_text(f"[fingerprints]\n{line}\n")
    with pytest.raises(Refused, match=r"board\.toml, line 2: fingerprints\."):
        read_fingerprints(load_profile(profile).table("fingerprints"))
