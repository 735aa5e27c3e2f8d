"""What a medium calls itself, by a sysfs that is laid out: eMMC, card, NVMe, USB stick, virtual disk, mappings."""

import os

import pytest
from systree import SysTree

from hupfast.bench.storage import find_medium

CID = "150100424a544434520f4a3d9e8f2c00"


@pytest.fixture
def tree(tmp_path):
    return SysTree(tmp_path / "root")


def lay_out(tree: SysTree, name: str, number: str, **files: str) -> str:
    """A disk with files below it ("__" for "/"), and a file that is on its filesystem; returns the file's path."""
    tree.disk(name, number)
    folder = f"sys/devices/platform/block/{name}"
    tree.write(f"{folder}/size", "31116288\n")
    for place, text in files.items():
        tree.write(f"{folder}/{place.replace('__', '/')}", text)
    place = os.path.realpath(tree.root)
    tree.write(
        "proc/self/mountinfo", f"21 1 0:5 / / rw - tmpfs tmpfs rw\n36 21 {number} / {place} rw - ext4 /dev/x rw\n"
    )
    (tree.root / "file").write_text("x")
    return str(tree.root / "file")


def test_emmc(tree):
    """An eMMC is known by its CID, and tells how worn it is."""
    path = lay_out(
        tree, "mmcblk0", "179:0", device__type="MMC\n", device__cid=f"{CID}\n", device__name="BJTD4R\n",
        device__serial="0x4a3d9e8f\n", device__life_time="0x01 0x02\n", device__pre_eol_info="0x01\n",
    )  # fmt: skip
    found = find_medium(path, str(tree.root))
    assert (found.kind, found.model, found.cid, found.serial) == ("mmc", "BJTD4R", CID, "0x4a3d9e8f")
    assert found.health == {"life_time": "0x01 0x02", "pre_eol_info": "0x01"}
    assert found.key == f"mmc:{CID}"
    assert (found.size, found.filesystem) == (31116288 * 512, "ext4")


def test_card(tree):
    """A card says that it is one."""
    path = lay_out(tree, "mmcblk1", "179:8", device__type="SD\n", device__cid=f"{CID}\n", device__name="SC16G\n")
    found = find_medium(path, str(tree.root))
    assert (found.kind, found.model, found.key) == ("sd", "SC16G", f"sd:{CID}")


def test_nvme(tree):
    """An NVMe drive is known by model and serial number, whose blanks are the driver's."""
    path = lay_out(
        tree, "nvme0n1", "259:0", device__model="Samsung SSD 980        \n", device__serial="S64D  \n",
        device__firmware_rev="1B4QFXO7\n",
    )  # fmt: skip
    found = find_medium(path, str(tree.root))
    assert (found.kind, found.key) == ("nvme", "nvme:Samsung SSD 980:S64D")
    assert found.health == {"firmware_rev": "1B4QFXO7"}


def test_stick(tree):
    """A USB stick has vendor and model, and a serial number in a page of binary."""
    path = lay_out(
        tree, "sda", "8:0", device__vendor="SanDisk \n", device__model="Ultra \n", device__rev="1.00\n",
        device__vpd_pg80="\0\x80\0\x044C53",
    )  # fmt: skip
    found = find_medium(path, str(tree.root))
    assert (found.kind, found.model, found.serial) == ("scsi", "SanDisk Ultra", "4C53")
    assert found.key == "scsi:SanDisk Ultra:4C53"


def test_ufs(tree):
    """A UFS is a SCSI disk, whose host, four directories above its block device, tells how worn it is."""
    path = lay_out(tree, "sda", "8:0", device__vendor="SAMSUNG\n", device__model="KLUDG4U1EA\n")
    devices = tree.root / "sys/devices"
    unit = devices / "platform/soc/1d84000.ufshc/host0/target0:0:0/0:0:0:0/block"
    unit.mkdir(parents=True)
    (devices / "platform/block/sda").rename(unit / "sda")
    link = tree.root / "sys/dev/block/8:0"
    link.unlink()
    link.symlink_to(unit / "sda")
    worn = {"life_time_estimation_a": "0x02", "life_time_estimation_b": "0x01", "eol_info": "0x01"}
    for name, value in {**worn, "type": "0x09"}.items():
        tree.write(f"sys/devices/platform/soc/1d84000.ufshc/health_descriptor/{name}", f"{value}\n")
    found = find_medium(path, str(tree.root))
    assert (found.kind, found.model) == ("scsi", "SAMSUNG KLUDG4U1EA")
    assert found.health == worn


def test_without_serial_number(tree):
    """Model and size must do where there is no serial number; without a model there is no key."""
    path = lay_out(tree, "sda", "8:0", device__model="Stick\n")
    assert find_medium(path, str(tree.root)).key == f"scsi:Stick:{31116288 * 512}"
    path = lay_out(SysTree(tree.root / "other"), "vda", "252:0")
    assert find_medium(path, str(tree.root / "other")).key is None


def test_odd_names(tree):
    """What a medium calls itself stays one line, and without control characters."""
    path = lay_out(tree, "sda", "8:0", device__model="A\x1b[31m\tB\n")
    assert find_medium(path, str(tree.root)).model == "A [31m B"


def test_mapping(tree):
    """Below a mapping on one disk, the disk is the medium."""
    path = lay_out(tree, "mmcblk0", "179:0", device__type="SD\n", device__cid=f"{CID}\n")
    tree.mapping("dm-0", "254:0", "CRYPT", ["devices/platform/block/mmcblk0"])
    place = os.path.realpath(tree.root)
    tree.write("proc/self/mountinfo", f"36 1 254:0 / {place} rw - ext4 /dev/mapper/x rw\n")
    assert find_medium(path, str(tree.root)).key == f"sd:{CID}"


def test_unknown(tree, tmp_path):
    """A file on nothing that sysfs knows has no medium, and no key."""
    found = find_medium(str(tmp_path / "none"), str(tree.root))
    assert (found.kind, found.key, found.health) == ("file", None, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes need root")
def test_partition(tree):
    """A partition is a part of its disk."""
    lay_out(tree, "mmcblk0", "179:0", device__type="MMC\n", device__cid=f"{CID}\n")
    tree.partition("mmcblk0", "mmcblk0p2", 2, "179:2")
    found = find_medium(str(tree.root / "dev/mmcblk0p2"), str(tree.root))
    assert (found.key, found.filesystem) == (f"mmc:{CID}", None)


def test_loop(device):
    """A loop device is named after its file."""
    found = find_medium(str(device))
    assert found.kind == "loop"
    assert found.model is not None
    assert found.model.startswith("loop device of ")
