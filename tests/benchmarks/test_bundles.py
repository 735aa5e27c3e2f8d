"""benchmarks/bundles.py: what is made once, what is made anew, and why something is not there."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks import bundles
from benchmarks.images import Images


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """An image of a few blocks; nobody decompresses the other form of it here."""
    raw, zst = tmp_path / "image.img", tmp_path / "image.zst"
    raw.write_bytes(b"x" * 65536)
    zst.write_bytes(b"y" * 1000)
    return Images(size=65536, nonzero=65536, raw=raw, zst=zst, whole_sha256="", bmap=None, mapped=(), mapped_sha256="")


def made(images: Images) -> dict[str, int]:
    """When each bundle was made. Skips where none can be."""
    built = bundles.build(images)
    if len(built.absent) == len(bundles.MAKERS):
        pytest.skip("; ".join(built.absent.values()))
    present = [path for path in (built.raucb, built.swu, built.fw) if path.exists()]
    assert len(present) == len(bundles.MAKERS) - len(built.absent)
    return {path.name: path.stat().st_mtime_ns for path in present}


def test_bundles_are_made_once(images: Images) -> None:
    """The second time the same files answer."""
    assert made(images) == made(images)


def test_a_newer_image_has_new_bundles(images: Images) -> None:
    """All of them, since the image was built anew."""
    before = made(images)
    os.utime(images.raw)

    after = made(images)

    assert before.keys() == after.keys()
    assert all(after[name] > before[name] for name in before)


def test_a_tool_that_is_missing_says_why(images: Images, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the package of Debian that holds it, where there is one."""
    monkeypatch.setenv("PATH", str(tmp_path))

    absent = bundles.build(images).absent

    assert absent["rauc"].startswith("rauc, mksquashfs, dbus-run-session, dbus-send, openssl not installed")
    assert "apt-get install cpio openssl swupdate" in absent["swupdate"]
    assert absent["fwup"] == "fwup is not installed (Debian does not have it)"


def test_a_tool_that_fails_says_why(images: Images) -> None:
    """And nothing is left that looks made."""
    made(images)
    images.raw.touch()
    images.zst.unlink()

    built = bundles.build(images)

    if shutil.which("swupdate") and shutil.which("openssl"):
        assert "image.swu could not be made: sha256sum" in built.absent["swupdate"]
    assert not built.swu.exists()


def test_a_kernel_without_squashfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is told, when there is no module of it either."""
    filesystems = tmp_path / "filesystems"
    filesystems.write_text("nodev\tproc\n\text4\n")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "no squashfs" in (bundles.no_squashfs(filesystems) or "")


def test_the_last_device_is_the_target(tmp_path: Path) -> None:
    """A description names one link, whatever device is written to."""
    made = bundles.Bundles(tmp_path, {})

    made.aim(Path("/dev/loop6"))
    made.aim(Path("/dev/loop7"))

    assert (tmp_path / "target").readlink() == Path("/dev/loop7")
