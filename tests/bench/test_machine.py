"""What the machine is, what it did meanwhile, and whether it was throttled: by a /proc and /sys that are laid out."""

from dataclasses import replace

import pytest
from systree import SysTree

from hupfast.bench.machine import describe_board, judge, look

CPU = "sys/devices/system/cpu/cpu0/"


@pytest.fixture
def tree(tmp_path):
    tree = SysTree(tmp_path)
    tree.write("proc/loadavg", "0.25 0.10 0.05 1/100 4242\n")
    tree.write("proc/stat", "cpu  100 0 50 9000 10 5 5 0 0 0\ncpu0 1 2 3\n")
    tree.write("proc/meminfo", "MemTotal:         948304 kB\nMemFree: 1 kB\n")
    tree.write("proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 38.40\n\nHardware\t: BCM2835\n")
    tree.write("proc/device-tree/model", "Raspberry Pi 3 Model B Rev 1.2\0")
    tree.write("sys/class/thermal/thermal_zone0/temp", "48312\n")
    tree.write("sys/class/thermal/thermal_zone1/temp", "-5000\n")
    tree.write("sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    tree.write("sys/class/thermal/cooling_device0/cur_state", "0\n")
    tree.write("sys/class/thermal/cooling_device1/type", "fan\n")
    tree.write("sys/class/thermal/cooling_device1/cur_state", "3\n")
    tree.write(CPU + "cpufreq/scaling_cur_freq", "1200000\n")
    tree.write(CPU + "cpufreq/scaling_max_freq", "1200000\n")
    tree.write("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    return tree


def verdict(tree, change=None, cpus: int = 4, spreads=None):
    """Noise between now and a change of the tree, one second later."""
    before = look(tree.root)
    if change:
        change()
    after = replace(look(tree.root), clock=before.clock + 1, own=before.own)
    return judge(before, after, cpus, spreads or {})


def test_board(tree):
    """Model, processor and memory come from the device tree, cpuinfo and meminfo."""
    found = describe_board(tree.root, "raspberrypi3")
    assert (found.model, found.cpu, found.memory) == ("Raspberry Pi 3 Model B Rev 1.2", "BCM2835", 948304 * 1024)
    assert found.cpus >= 1
    assert found.profile == "raspberrypi3"


def test_bare_machine(tmp_path):
    """Where nothing is told, nothing fails."""
    found = describe_board(tmp_path, None)
    assert (found.model, found.memory) == (None, 0)
    assert found.cpu
    moment = look(tmp_path)
    noise = judge(moment, moment, 1, {})
    assert (noise.temperature, noise.frequency, noise.throttled, noise.remarks) == (None, None, False, ())


def test_quiet(tree):
    """A quiet machine gets no remark; the hottest zone and the frequency are noted, and a fan is no throttling."""
    noise = verdict(tree)
    assert noise.remarks == ()
    assert (noise.load, noise.throttled) == (0.25, False)
    assert noise.temperature == (48.312, 48.312)
    assert noise.frequency == (1.2e9, 1.2e9)


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("sys/class/thermal/cooling_device0/cur_state", "2\n", "begun to cool"),
        (CPU + "cpufreq/scaling_max_freq", "600000\n", "600 MHz only"),
        (CPU + "thermal_throttle/core_throttle_count", "3\n", "counted it 3 times"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n", "the firmware says 0x50005"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n", "the firmware says 0x50000"),
    ],
)
def test_throttled(tree, path, text, words):
    """Each sign of throttling that comes up meanwhile is told, and marks the result."""
    noise = verdict(tree, lambda: tree.write(path, text))
    assert noise.throttled
    assert len(noise.remarks) == 1
    assert words in noise.remarks[0]


def test_throttled_before(tree):
    """What the firmware remembers of a time before is not held against this measurement."""
    tree.write("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    assert not verdict(tree).throttled


def test_others(tree):
    """Processor time of others is a share of all processors, and above a tenth it is told."""
    noise = verdict(tree, lambda: tree.write("proc/stat", "cpu  160 0 90 9000 10 5 5 0 0 0\n"), cpus=2)
    assert noise.busy_elsewhere == pytest.approx(0.5)
    assert "50% of the processors" in noise.remarks[0]
    noise = verdict(tree, lambda: tree.write("proc/stat", "cpu  170 0 90 9000 10 5 5 0 0 0\n"), cpus=2)
    assert noise.remarks == ()


def test_load_before(tree):
    """A machine that was busy before is told of."""
    tree.write("proc/loadavg", "3.00 1 1 1/1 1\n")
    assert "load average of 3 on 4" in verdict(tree).remarks[0]


def test_spread(tree):
    """Measurements that spread by more than a tenth are counted, and the worst of them named."""
    noise = verdict(tree, spreads={"write 64K": 0.3, "read": 0.05, "zero": 0.11})
    assert noise.remarks == ("2 of 3 measurements spread by more than 10% (most: write 64K 30%, zero 11%)",)


def test_nonsense_in_the_kernels_files(tree):
    """Files that cannot be understood count as missing."""
    for path in ("sys/class/thermal/thermal_zone0/temp", CPU + "cpufreq/scaling_cur_freq", "proc/stat"):
        tree.write(path, "x y z\n")
    (tree.root / "proc/loadavg").unlink()
    moment = look(tree.root)
    assert (moment.temperature, moment.frequency, moment.busy, moment.load) == (-5.0, None, 0.0, 0.0)
