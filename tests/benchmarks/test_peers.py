"""benchmarks/peers.py: each of the other tools leaves exactly the image, and looks at the signature of what it gets."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import bundles, device
from benchmarks.images import Images, bmap_ranges
from benchmarks.machine import missing, run
from benchmarks.peers import peers, versions
from benchmarks.rounds import Rounds, Sample

SIZE = 6 << 20
NAMES = (
    "dd-raw",
    "dd-direct",
    "dd-fsync",
    "bmaptool-bmap",
    "bmaptool-nobmap",
    "python",
    "rauc",
    "swupdate",
    "fwup",
)
HOLE = range(2 << 20, 4 << 20)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """6 MiB, of which the middle is a hole."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    for reason in (missing("losetup", "zstd"), None if Path("/dev/loop-control").exists() else "no loop devices"):
        if reason:
            pytest.skip(reason)
    folder = tmp_path_factory.mktemp("peers")
    raw, zst, bmap = folder / "image.img", folder / "image.zst", folder / "image.bmap"
    text = b"".join(b"%d\n" % number for number in range(400_000))[: HOLE.start]
    with raw.open("wb") as file:
        os.pwrite(file.fileno(), text, 0)
        os.pwrite(file.fileno(), text[::-1], HOLE.stop)
        os.fsync(file.fileno())
    run(["zstd", "-q", "-3", raw, "-o", zst])
    image = raw.read_bytes()
    assert len(image) == SIZE
    ranges: tuple[tuple[int, int], ...] = ()
    if not missing("bmaptool"):
        run(["bmaptool", "create", "-o", bmap, raw])
        ranges = bmap_ranges(bmap)
    mapped = b"".join(image[start : start + length] for start, length in ranges)
    return Images(
        size=SIZE,
        nonzero=SIZE - len(HOLE),
        raw=raw,
        zst=zst,
        whole_sha256=hashlib.sha256(image).hexdigest(),
        bmap=bmap if ranges else None,
        mapped=ranges,
        mapped_sha256=hashlib.sha256(mapped).hexdigest(),
    )


@pytest.fixture(scope="module")
def signed(images: Images) -> bundles.Bundles:
    return bundles.build(images)


@pytest.fixture(scope="module")
def target(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[device.Device]:
    with device.fast(tmp_path_factory.mktemp("device"), SIZE) as made:
        yield made


def once(name: str, images: Images, signed: bundles.Bundles, target: device.Device) -> Sample:
    """One run of this peer, from old content. Skips where it cannot run."""
    [peer] = [each for each in peers(images, signed) if each.name == name]
    if peer.absent:
        pytest.skip(peer.absent)
    rounds = Rounds(images, None, lambda _: None)
    rounds.run(target, [peer], 1)
    [sample] = rounds.samples
    return sample


def test_nobody_is_forgotten(images: Images, signed: bundles.Bundles) -> None:
    """These are the peers, all of them."""
    assert tuple(peer.name for peer in peers(images, signed)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_device_holds_the_image(name: str, images: Images, signed: bundles.Bundles, target: device.Device) -> None:
    """Every byte; only where a block map says that there is a hole, the old content."""
    sample = once(name, images, signed, target)

    wanted, found = images.raw.read_bytes(), target.backing.read_bytes()
    if name == "bmaptool-bmap":
        assert found[HOLE.start : HOLE.stop] != wanted[HOLE.start : HOLE.stop]
        found = found[: HOLE.start] + bytes(len(HOLE)) + found[HOLE.stop :]
    assert sample.failure == ""
    assert found == wanted


@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        ("rauc", "image.raucb", "signature verification failed"),
        ("swupdate", "image.swu", "SWUpdate *failed*"),
        ("fwup", "image.fw", ""),
    ],
)
def test_a_changed_bundle_is_refused(
    name: str, file: str, reason: str, images: Images, signed: bundles.Bundles, target: device.Device
) -> None:
    """One bit in the middle is enough: what is compared with hupfast does check what it installs."""
    if name in signed.absent:
        pytest.skip(signed.absent[name])
    bundle = signed.folder / file
    good = bundle.read_bytes()
    middle = len(good) // 2
    bundle.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])

    sample = once(name, images, signed, target)

    bundle.write_bytes(good)
    assert sample.failure.startswith("exit ")
    assert reason in sample.failure


def test_versions_of_the_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a tool says of itself; nothing of one that is not there."""
    assert versions()["dd"].startswith(run(["dd", "--version"]).splitlines()[0])

    monkeypatch.setenv("PATH", str(tmp_path))

    assert set(versions().values()) == {""}
