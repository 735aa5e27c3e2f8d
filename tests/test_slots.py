"""Slots that are partitions: found by the kernel's numbers, and refused where they are not beyond doubt."""

import os
from pathlib import Path

import pytest
from systree import SysTree

from hupfast.errors import Refused
from hupfast.slots import Place, Places, Slot, find_places

SLOTS = (Slot("a", "", 2, "", "resin-rootA"), Slot("b", "", 3, "", "resin-rootB"))
MMC = "devices/platform/block/mmcblk0"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes need root")


@pytest.fixture
def tree(tmp_path: Path) -> SysTree:
    """A card with three partitions, none mounted. The numbers are of no device that exists here."""
    tree = SysTree(tmp_path)
    tree.disk("mmcblk0", "179:0")
    for number in (1, 2, 3):
        tree.partition("mmcblk0", f"mmcblk0p{number}", number, f"179:{number}", partuuid=f"1234abcd-0{number}")
    return tree


def test_the_mounted_root_tells_the_slot(tree: SysTree) -> None:
    """The other slot is the partition of the same disk with the other number, by the kernel's own name."""
    tree.mount("179:3")

    places = find_places(tree.root, SLOTS)
    assert places.running == "b"
    assert places.places["a"] == Place("a", "/dev/mmcblk0p2", 2, "1234abcd-02", "resin-rootA")


def test_another_disk_with_the_same_labels_is_never_taken(tree: SysTree) -> None:
    """A second card with the same layout does not count: the slots are on the disk of the running root."""
    tree.disk("sda", "8:0")
    for number in (2, 3):
        tree.partition("sda", f"sda{number}", number, f"8:{number}")
    tree.mount("8:2")

    assert find_places(tree.root, SLOTS).places["b"].device == "/dev/sda3"


def test_the_topmost_mount_counts(tree: SysTree) -> None:
    """What an initramfs had mounted at / before is below it."""
    tree.mount("179:2")
    tree.mount("179:3")

    assert find_places(tree.root, SLOTS).running == "b"


def test_the_slot_below_an_overlay_is_found_where_it_is_mounted(tree: SysTree) -> None:
    """balenaOS shows an overlay at /; the profile tells where the slot itself is."""
    tree.mount("0:25", "/", "overlay", "overlay")
    tree.mount("179:2", "/mnt/sysroot/active")
    slots = tuple(Slot(s.name, "", s.partition, "", s.label, "/mnt/sysroot/active") for s in SLOTS)

    assert find_places(tree.root, slots).running == "a"
    with pytest.raises(Refused, match="no block device is mounted at /"):
        find_places(tree.root, SLOTS)


def test_a_root_that_is_no_slot_is_refused(tree: SysTree) -> None:
    """It is another profile's layout; both sides are named."""
    tree.mount("179:1")
    with pytest.raises(Refused, match=r"partition 1 of mmcblk0, and the slots are a = partition 2, b = partition 3"):
        find_places(tree.root, SLOTS)


def test_a_missing_partition_is_refused(tree: SysTree) -> None:
    """A disk with one system has no slot to write to."""
    tree.mount("179:2")
    with pytest.raises(Refused, match="the disk mmcblk0 has no partition 7"):
        find_places(tree.root, (SLOTS[0], Slot("b", "", 7, "", "")))


def test_two_candidates_are_refused(tree: SysTree) -> None:
    """Two partitions with one number cannot be told apart."""
    tree.mount("179:2")
    tree.partition("mmcblk0", "mmcblk0p3x", 3, "179:30")
    with pytest.raises(Refused, match="has 2 partitions 3"):
        find_places(tree.root, SLOTS)


def test_a_node_of_another_device_is_refused(tree: SysTree) -> None:
    """What /dev has under the name must be the device that the kernel means."""
    tree.mount("179:2")
    (tree.root / "dev/mmcblk0p3").unlink()
    tree.node("dev/mmcblk0p3", "8:3")
    with pytest.raises(Refused, match="is not the block device 179:3"):
        find_places(tree.root, SLOTS)


def test_a_root_below_dm_verity_is_its_partition(tree: SysTree) -> None:
    """verity shows the partition as it is, so an image belongs there."""
    tree.mapping("dm-0", "254:0", "CRYPT-VERITY-00-root", [f"{MMC}/mmcblk0p2"])
    tree.mount("254:0")

    assert find_places(tree.root, SLOTS).running == "a"


@pytest.mark.parametrize("uuid", ["CRYPT-LUKS2-00-root", "LVM-abc", ""])
def test_any_other_mapping_is_refused(tree: SysTree, uuid: str) -> None:
    """The plain image in an encrypted partition would not be what the board boots."""
    tree.mapping("dm-0", "254:0", uuid, [f"{MMC}/mmcblk0p2"])
    tree.mount("254:0")
    with pytest.raises(Refused, match=r"the root is on dm-0.* plain partitions only"):
        find_places(tree.root, SLOTS)


def test_spelling_and_understanding_undo_each_other() -> None:
    """Every way of naming a root leads back to its slot; a stranger's leads nowhere."""
    places = Places(
        "a", {"a": Place("a", "/dev/sda10", 10, "AB-0a", "x"), "b": Place("b", "/dev/sda1", 1, "AB-01", "y")}
    )
    for template in ("{device}", "LABEL={label}", "PARTUUID={partuuid}"):
        assert places.slot_of(places.spell(template, "a")) == "a"
        assert places.slot_of(places.spell(template, "b")) == "b"
    assert places.spell("0x{partition_hex}", "a") == "0xa"
    assert places.slot_of("PARTUUID=ab-0A") == "a"
    assert places.slot_of("/dev/sda2") is None
    assert places.slot_of("LABEL=") is None


def test_what_a_slot_lacks_cannot_be_spelled() -> None:
    """A bootloader must not be told an empty name."""
    places = Places("a", {"a": Place("a", "/dev/sda2", 2), "b": Place("b", "/dev/sda3", 3)})
    with pytest.raises(Refused, match=r"needs \{partuuid\} of slot b"):
        places.spell("PARTUUID={partuuid}", "b")
