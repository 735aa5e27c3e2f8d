"""Raspberry Pi tryboot: what the firmware boots, with the flag and without, is what the state says."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bootloaders import BootState, tryboot
from hupfast.bootloaders.autoboot import Autoboot
from hupfast.bootloaders.autoboot import factory as autoboot_factory
from hupfast.bootloaders.trial_flag import scan
from hupfast.bootloaders.tryboot import Tryboot, factory
from hupfast.errors import HupfastError, Refused
from hupfast.journal import State, Transaction
from hupfast.profile import Table
from hupfast.situation import judge
from hupfast.slots import Place, Places, Slot

PREFIXES = {"a": "a/", "b": "b/"}
NUMBERS = {"a": 2, "b": 3}
CONFIG = "# mine\nos_prefix=a/\ndtparam=audio=on\n[pi4]\narm_boost=1\n[all]\nenable_uart=1\n"
CMDLINE = "console=tty1 root=/dev/mmcblk0p2 rootwait\n"
AUTOBOOT = "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
SPELLED = {"a": "root=PARTUUID=1234abcd-02", "b": "root=PARTUUID=1234abcd-0a"}


def effective(data: bytes, key: str, passing: frozenset[str]) -> str:
    """The last value of a key, as the documentation has it: [all] resets the filters, the others add up."""
    value, passes = "", True
    for line in data.decode("latin-1").replace("\r\n", "\n").split("\n"):
        if line.startswith("["):
            passes = line == "[all]" or (passes and line in passing)
        elif line.startswith(f"{key}=") and passes:
            value = line.partition("=")[2]
    return value


class Board:
    """A board and its firmware: one flag, that the next reset takes away."""

    bootloader: Tryboot | Autoboot

    def __init__(self, root: Path, places: Places) -> None:
        self.root, self.places, self.boots = root, places, 0
        self.boot = root / "boot"
        for directory in (self.boot / "a", self.boot / "b", self.flag.parent, self.boot_id.parent):
            directory.mkdir(parents=True)
        self.began(flag=False)

    @property
    def flag(self) -> Path:
        """The node of the device tree."""
        return self.root / "proc/device-tree/chosen/bootloader/tryboot"

    @property
    def boot_id(self) -> Path:
        """What names the running boot."""
        return self.root / "proc/sys/kernel/random/boot_id"

    def began(self, *, flag: bool) -> None:
        """Another boot, with the flag or without."""
        self.boots += 1
        self.flag.write_bytes(int(flag).to_bytes(4, "big"))
        self.boot_id.write_text(f"boot-{self.boots}\n")

    def takes(self, *, flag: bool) -> str:
        """The slot that the firmware would boot."""
        raise NotImplementedError

    def reboot(self, argument: str | None = None) -> str:
        """A reset of any kind, or a reboot with an argument; the slot that runs."""
        flag = argument == "0 tryboot"
        slot = self.takes(flag=flag)
        self.began(flag=flag)
        self.places = Places(slot, self.places.places)
        return slot


class OnePartition(Board):
    """config.txt, tryboot.txt and a directory for each slot."""

    def __init__(self, root: Path, places: Places, config: str = CONFIG) -> None:
        super().__init__(root, places)
        self.config, self.trial = self.boot / "config.txt", self.boot / "tryboot.txt"
        self.config.write_bytes(config.encode("latin-1"))
        for slot in "ab":
            (self.boot / slot / "kernel.img").write_bytes(b"kernel")
            (self.boot / slot / "cmdline.txt").write_text(CMDLINE)
        self.bootloader = Tryboot(
            root, lambda: self.places, directory="/boot", template="PARTUUID={partuuid}", prefixes=PREFIXES
        )

    def loaded(self, *, flag: bool) -> tuple[str, str]:
        """Prefix and command line that the firmware uses. It goes without a prefix that has no kernel."""
        data = (self.trial if flag and self.trial.exists() else self.config).read_bytes()
        prefix = effective(data, "os_prefix", frozenset({"[pi4]", *(["[tryboot]"] if flag else [])}))
        prefix = prefix if (self.boot / f"{prefix}kernel.img").exists() else ""
        return prefix, (self.boot / f"{prefix}cmdline.txt").read_text()

    def takes(self, *, flag: bool) -> str:
        """The slot whose root is on the command line."""
        word = re.findall(r"root=\S+", self.loaded(flag=flag)[1])[-1]
        return next(slot for slot in "ab" if word in (SPELLED[slot], f"root={self.places.places[slot].device}"))


class TwoPartitions(Board):
    """autoboot.txt."""

    def __init__(self, root: Path, places: Places, autoboot: str = AUTOBOOT) -> None:
        super().__init__(root, places)
        self.file = self.boot / "autoboot.txt"
        self.file.write_bytes(autoboot.encode("latin-1"))
        self.bootloader = Autoboot(root, lambda: self.places, file="/boot/autoboot.txt", numbers=NUMBERS)

    def takes(self, *, flag: bool) -> str:
        """The slot of the partition that counts."""
        data = self.file.read_bytes()
        assert len(data) <= 512
        assert effective(data, "tryboot_a_b", frozenset()) == "1"
        number = effective(data, "boot_partition", frozenset(["[tryboot]"] if flag else []))
        return next(slot for slot in "ab" if NUMBERS[slot] == int(number))


@pytest.fixture(params=[OnePartition, TwoPartitions])
def board(request: pytest.FixtureRequest, tmp_path: Path, places: Places) -> Board:
    """Slot a runs, for good."""
    made: Callable[[Path, Places], Board] = request.param
    return made(tmp_path, places)


@pytest.fixture
def one(tmp_path: Path, places: Places) -> OnePartition:
    """The same, with one boot partition."""
    board = OnePartition(tmp_path, places)
    board.bootloader.switch("a", trial=False)
    return board


def test_a_trial_is_tried_once(board: Board) -> None:
    """With the argument only; the next reset of any kind goes back, and then nothing is tried any more."""
    bootloader = board.bootloader
    assert bootloader.reboot_argument is None
    bootloader.switch("b")

    assert bootloader.state() == BootState("a", "b", 1, None)
    assert bootloader.reboot_argument == "0 tryboot"
    assert board.takes(flag=False) == "a"
    assert board.reboot(bootloader.reboot_argument) == bootloader.current() == "b"
    assert bootloader.state() == BootState("a", "b", 0, None)
    assert bootloader.reboot_argument is None
    assert board.reboot() == "a"
    assert bootloader.state() == BootState("a", None, 0, None)
    assert bootloader.reboot_argument is None


def test_confirm_makes_the_trial_the_default(board: Board) -> None:
    """A second confirm has nothing to do; an update in the same boot, where the flag is still set, is tried too."""
    bootloader = board.bootloader
    bootloader.switch("b")
    board.reboot(bootloader.reboot_argument)
    bootloader.confirm()

    assert bootloader.state() == BootState("b", None, 0, None)
    assert board.takes(flag=False) == board.takes(flag=True) == "b"
    with pytest.raises(HupfastError, match="no trial"):
        bootloader.confirm()
    bootloader.switch("a")
    assert bootloader.state() == BootState("b", "a", 1, None)
    assert board.reboot(bootloader.reboot_argument) == "a"
    assert board.reboot() == "b"


def test_a_trial_is_called_off(board: Board) -> None:
    """Before its reboot, and while it runs."""
    bootloader = board.bootloader
    for reboots in (False, True):
        bootloader.switch("b")
        if reboots:
            board.reboot(bootloader.reboot_argument)
        bootloader.switch("a", trial=False)
        assert bootloader.state() == BootState("a", None, 0, None)
        assert board.takes(flag=False) == board.takes(flag=True) == "a"


@pytest.mark.parametrize("slot", ["a", "b"])
@pytest.mark.parametrize("trial", [True, False])
@pytest.mark.parametrize("running", ["a", "b"])
@pytest.mark.parametrize("before", ["a", "b"])
def test_a_switch_is_what_the_state_tells(board: Board, slot: str, trial: bool, running: str, before: str) -> None:
    """From wherever it starts; a trial of the default makes the other slot the default."""
    board.bootloader.switch(before, trial=False)
    board.places = Places(running, board.places.places)
    board.bootloader.switch(slot, trial)
    state = board.bootloader.state()

    other = "b" if slot == "a" else "a"
    assert state == (BootState(other, slot, int(running != slot), None) if trial else BootState(slot, None, 0, None))
    assert board.takes(flag=False) == state.default
    assert board.takes(flag=True) == slot


@pytest.mark.parametrize(
    ("default", "trial", "same_boot", "running", "flag", "expected"),
    [
        ("a", None, False, "a", False, BootState("a", None, 0, None)),
        ("a", "b", True, "a", False, BootState("a", "b", 1, None)),
        ("a", "b", True, "a", True, BootState("a", "b", 1, None)),  # the flag is that of the trial before
        ("a", "b", False, "b", True, BootState("a", "b", 0, None)),
        ("a", "b", False, "b", False, BootState("a", "b", 0, None)),
        ("a", "b", False, "a", False, BootState("a", None, 0, None)),
        ("a", "b", False, "a", True, BootState("a", None, 0, "b")),  # the firmware went without the prefix
        ("b", "b", False, "b", True, BootState("b", None, 0, None)),  # confirmed, and cut off there
        ("b", "b", True, "a", False, BootState("b", None, 0, None)),
    ],
)
def test_states(
    one: OnePartition, default: str, trial: str | None, same_boot: bool, running: str, flag: bool, expected: BootState
) -> None:
    """The table of the module."""
    one.config.write_text(CONFIG.replace("a/", f"{default}/"))
    if trial is not None:
        mark = one.boot_id.read_text() if same_boot else "an earlier one\n"
        one.trial.write_text(f"# hupfast.trial {mark}" + CONFIG.replace("a/", f"{trial}/"))
    one.places = Places(running, one.places.places)
    one.flag.write_bytes(int(flag).to_bytes(4, "big"))
    assert one.bootloader.state() == expected


@pytest.mark.parametrize("text", ["", "os_prefix=b/\n", "# hupfast.trial\tx\nos_prefix=b/\n"])
def test_a_file_of_somebody_else_is_no_trial(one: OnePartition, text: str) -> None:
    """Nor is the empty one that a power cut leaves on FAT."""
    one.trial.write_text(text)
    assert one.bootloader.state() == BootState("a", None, 0, None)


@pytest.mark.parametrize(("argument", "kind"), [("0 tryboot", "trial"), (None, "fell back")])
def test_a_trial_that_is_over_is_judged_by_the_journal(board: Board, argument: str | None, kind: str) -> None:
    """The firmware does not note how it ended: the boot id says that there was a reboot."""
    state = State(transaction=Transaction("n", "1", "d", "b", "a", "switched", "boot-1"))
    board.bootloader.switch("b")
    assert judge(state, board.bootloader.state(), "a", "boot-1").kind == "pending"
    running = board.reboot(argument)
    assert judge(state, board.bootloader.state(), running, "boot-2").kind == kind
    running = board.reboot()
    assert judge(state, board.bootloader.state(), running, "boot-3").kind == "fell back"


def cut_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """The power goes behind that many writes and removals."""
    left = [writes]

    def wrapped(real: Callable[..., None]) -> Callable[..., None]:
        def cut(*arguments: object) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            real(*arguments)

        return cut

    for name in ("replace_file", "remove_durably"):
        monkeypatch.setattr(tryboot, name, wrapped(getattr(tryboot, name)))


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
@pytest.mark.parametrize("slot", ["a", "b"])
@pytest.mark.parametrize("trial", [True, False])
@pytest.mark.parametrize("armed", [None, "a", "b"])
def test_a_power_cut_between_two_writes_boots_the_old_or_the_new(
    board: Board, monkeypatch: pytest.MonkeyPatch, writes: int, slot: str, trial: bool, armed: str | None
) -> None:
    """Behind every write of a switch; what the state says comes next is what the firmware takes."""
    if armed is not None:
        board.bootloader.switch(armed)
    before = board.takes(flag=False)
    with monkeypatch.context() as patch:
        cut_after(patch, writes)
        with suppress(KeyboardInterrupt):
            board.bootloader.switch(slot, trial)
    state = board.bootloader.state()

    assert state.default == board.takes(flag=False)
    assert state.default in (before, board.places.other(slot) if trial else slot)
    assert state.tries == 0 or state.trial == board.takes(flag=True)


@pytest.mark.parametrize("writes", [0, 1])
def test_a_power_cut_in_confirm(one: OnePartition, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Not confirmed yet, or confirmed with a leftover that counts for nothing."""
    one.bootloader.switch("b")
    one.reboot("0 tryboot")
    with monkeypatch.context() as patch:
        cut_after(patch, writes)
        with pytest.raises(KeyboardInterrupt):
            one.bootloader.confirm()
    assert one.trial.exists()
    assert one.bootloader.state() == (BootState("b", None, 0, None) if writes else BootState("a", "b", 0, None))
    assert one.reboot() == ("b" if writes else "a")


def test_a_slot_gets_its_own_root(one: OnePartition) -> None:
    """The bundle has one cmdline.txt for both; the rest of it stays, and so does that of the other slot."""
    (one.boot / "b/cmdline.txt").write_text("quiet  root=LABEL=image xroot=1 rootwait\r\n# root=/dev/x\n")
    one.bootloader.switch("b")

    changed = (one.boot / "b/cmdline.txt").read_bytes()
    assert changed == f"quiet  {SPELLED['b']} xroot=1 rootwait\r\n# root=/dev/x\n".encode()
    assert (one.boot / "a/cmdline.txt").read_text() == CMDLINE
    assert one.loaded(flag=True)[0] == "b/"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "b/cmdline.txt is missing"),
        ("", "has no root="),
        ("quiet\n", "has no root="),
        ("\n xroot=1\nroot=/dev/x", "has no root="),
    ],
)
def test_a_slot_without_a_root_is_not_switched_to(one: OnePartition, text: str | None, reason: str) -> None:
    """It would not boot; nothing is written."""
    path = one.boot / "b/cmdline.txt"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(HupfastError, match=reason):
        one.bootloader.switch("b")
    assert not one.trial.exists()
    assert one.config.read_text() == CONFIG


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("", "has no os_prefix"),
        ("#os_prefix=a/\n", "has no os_prefix"),
        ("os_prefix=c/\n", "os_prefix=c/, which is neither of the slots"),
        ("os_prefix=a/ \n", "neither of the slots"),
        ("os_prefix=a/\n[pi4]\nos_prefix=b/\n", r"in the section \[pi4\], so it depends"),
        ("[pi4]\n[gpio4=1]\nos_prefix=b/\n", r"in the section \[pi4\]\[gpio4=1\]"),
        ("os_prefix=a/\n[ALL]\nos_prefix=b/\n", r"in the section \[ALL\]"),
        ("[pi4]\n [all]\nos_prefix=a/\n", r"in the section \[pi4\]\[all\]"),
        ("os_prefix = a/\n", "write it as os_prefix=a/"),
        (" os_prefix=a/\n", "has blanks before os_prefix"),
        ("os_prefix=a/\ncmdline=other.txt\n", "in another file"),
        ("os_prefix=a/\ninclude prefix.txt\n", "prefix.txt, which .* includes, has 'os_prefix'"),
        ("include section.txt\nos_prefix=a/\n", r"ends in the section \[pi5\]"),
    ],
)
def test_what_is_not_certain_to_boot_is_an_error(one: OnePartition, config: str, reason: str) -> None:
    """It says what to do, and nothing is written."""
    (one.boot / "prefix.txt").write_text("os_prefix=b/\n")
    (one.boot / "section.txt").write_text("[all]\n[pi5]\nx=1\n")
    one.config.write_text(config)
    with pytest.raises(HupfastError, match=reason):
        one.bootloader.state()
    with pytest.raises(HupfastError, match=reason):
        one.bootloader.switch("b")
    assert one.config.read_text() == config


def test_included_files_that_have_no_say_are_left_alone(one: OnePartition) -> None:
    """Ubuntu has had such ones; one that is missing is not read."""
    (one.boot / "user.txt").write_text("[pi4]\nx=1\n[all]\n")
    one.config.write_text("include user.txt\ninclude missing.txt\n" + CONFIG)
    one.bootloader.switch("b", trial=False)
    assert one.config.read_text() == "include user.txt\ninclude missing.txt\n" + CONFIG.replace("a/", "b/")


def test_no_trial_where_the_firmware_does_not_read_it(one: OnePartition) -> None:
    """With tryboot_a_b=1 in autoboot.txt, config.txt is read for a trial, too."""
    (one.boot / "autoboot.txt").write_text(AUTOBOOT)
    with pytest.raises(HupfastError, match=r"never reads tryboot\.txt"):
        one.bootloader.switch("b")


def test_the_last_prefix_counts(one: OnePartition) -> None:
    """As the firmware has it; the ones before are not touched."""
    one.config.write_text("os_prefix=b/\nos_prefix=a/\n[pi4]\n[all]\n")
    one.bootloader.switch("b")
    assert one.config.read_text() == "os_prefix=b/\nos_prefix=a/\n[pi4]\n[all]\n"
    assert one.trial.read_text() == "# hupfast.trial boot-1\nos_prefix=b/\nos_prefix=b/\n[pi4]\n[all]\n"


def test_an_unknown_slot_is_never_written(board: Board) -> None:
    """Nor is the default changed."""
    with pytest.raises(HupfastError, match="no slot 'c'"):
        board.bootloader.switch("c")
    assert board.bootloader.state() == BootState("a", None, 0, None)


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "[pi4]",
                "[all]",
                "[none]",
                "[tryboot]",
                "",
                "# os_prefix=b/",
                "boot_partition_x=1",
                "dtoverlay=vc4-kms-v3d",
            ]
        ),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20).map(lambda text: f"#{text}"),
    ),
    max_size=12,
)


def two_places() -> Places:
    """As the fixture has them."""
    return Places(
        "a",
        {
            "a": Place("a", "/dev/mmcblk0p2", 2, "1234abcd-02"),
            "b": Place("b", "/dev/mmcblk0p10", 10, "1234abcd-0a"),
        },
    )


@given(LINES, LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_all_else_in_config_survives(
    tmp_path_factory: pytest.TempPathFactory, above: list[str], below: list[str], line_end: str, ends: bool
) -> None:
    """Byte for byte, in both files, whatever stands around the prefix; and the firmware sees the right one."""
    text = line_end.join([*above, "[all]", "os_prefix=a/", *below]) + (line_end if ends else "")
    board = OnePartition(tmp_path_factory.mktemp("config"), two_places(), text)
    board.bootloader.switch("b")
    changed = text.replace(f"{line_end}os_prefix=a/", f"{line_end}os_prefix=b/").encode("latin-1")

    assert board.config.read_bytes() == text.encode("latin-1")
    assert board.trial.read_bytes() == b"# hupfast.trial boot-1\n" + changed
    assert (board.loaded(flag=False)[0], board.loaded(flag=True)[0]) == ("a/", "b/")
    assert board.reboot("0 tryboot") == "b"
    board.bootloader.confirm()
    assert board.config.read_bytes() == changed
    assert not board.trial.exists()
    board.bootloader.switch("a", trial=False)
    assert board.config.read_bytes() == text.encode("latin-1")


@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_all_else_in_autoboot_survives(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], line_end: str, ends: bool
) -> None:
    """A section [tryboot] is made where there is none; there and back is the same bytes after that."""
    text = line_end.join(["tryboot_a_b=1", "boot_partition=2", *lines]) + (line_end if ends else "")
    if len(text) > 400:
        return
    board = TwoPartitions(tmp_path_factory.mktemp("autoboot"), two_places(), text)
    board.bootloader.switch("b")

    assert (board.takes(flag=False), board.takes(flag=True)) == ("a", "b")
    assert text.encode("latin-1") in board.file.read_bytes()
    board.bootloader.switch("a", trial=False)
    made = board.file.read_bytes()
    assert made.startswith(text.encode("latin-1"))
    board.bootloader.switch("b")
    board.reboot("0 tryboot")
    board.bootloader.confirm()
    assert (board.takes(flag=False), board.takes(flag=True)) == ("b", "b")
    board.bootloader.switch("a", trial=False)
    assert board.file.read_bytes() == made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (AUTOBOOT.replace("tryboot_a_b=1\n", ""), "has no tryboot_a_b=1"),
        (AUTOBOOT.replace("a_b=1", "a_b=0"), "has no tryboot_a_b=1"),
        ("[all]\ntryboot_a_b=1\n[tryboot]\nboot_partition=3\n", r"no boot_partition in its \[all\]"),
        (AUTOBOOT.replace("=2", "=4"), "boot_partition=4, which is neither of the slots"),
        (AUTOBOOT.replace("[tryboot]", "[none]\n[tryboot]"), r"in the section \[none\]\[tryboot\]"),
        (AUTOBOOT.replace("n=2", "n = 2"), "write it as boot_partition=2"),
    ],
)
def test_an_autoboot_that_does_not_decide_is_an_error(tmp_path: Path, places: Places, text: str, reason: str) -> None:
    """Nothing is written."""
    board = TwoPartitions(tmp_path, places, text)
    with pytest.raises(HupfastError, match=reason):
        board.bootloader.switch("b")
    assert board.file.read_text() == text


def test_autoboot_never_grows_beyond_what_the_firmware_reads(tmp_path: Path, places: Places) -> None:
    """512 bytes."""
    text = AUTOBOOT + "#" * (512 - len(AUTOBOOT) - 1) + "\n"
    board = TwoPartitions(tmp_path, places, text)
    with pytest.raises(HupfastError, match=r"and the firmware reads 512; remove comments"):
        board.bootloader.switch("b")
    assert board.file.read_text() == text


def test_a_profile_of_one_boot_partition(tmp_path: Path, bootloader_table: Callable[[str], Table]) -> None:
    """Each slot needs a prefix, which fits into a line."""
    slots = (Slot("a", "", 2, "a/", ""), Slot("b", "", 3, "b/", ""))
    table = bootloader_table('root = "PARTUUID={partuuid}"\n')
    bootloader = factory(table, slots)(tmp_path)
    table.finish()
    with pytest.raises(HupfastError, match=rf"{tmp_path}/boot/config.txt is missing"):
        bootloader.state()
    with pytest.raises(Refused, match="slot a has no boot_prefix"):
        factory(bootloader_table('root = "{device}"\n'), (Slot("a", "", 2, "", ""), slots[1]))
    with pytest.raises(Refused, match="too long"):
        factory(bootloader_table('root = "{device}"\n'), (slots[0], Slot("b", "", 3, "b" * 70 + "/", "")))
    with pytest.raises(Refused, match="root: 'sda' is not of the form"):
        factory(bootloader_table('root = "sda"\n'), slots)


def test_a_profile_of_two_boot_partitions(tmp_path: Path, bootloader_table: Callable[[str], Table]) -> None:
    """Each slot has its own."""
    slots = (Slot("a", "", 5, "", ""), Slot("b", "", 6, "", ""))
    table = bootloader_table("[bootloader.partitions]\na = 2\nb = 3\n")
    bootloader = autoboot_factory(table, slots)(tmp_path)
    table.finish()
    with pytest.raises(HupfastError, match=rf"{tmp_path}/bootsel/autoboot.txt is missing"):
        bootloader.state()
    with pytest.raises(Refused, match="both slots have the same boot partition"):
        autoboot_factory(bootloader_table("[bootloader.partitions]\na = 2\nb = 2\n"), slots)


def test_filters_without_end_do_not_add_up() -> None:
    """What a setting stands under has a length that can be told, whatever the file."""
    settings, section = scan("".join(f"[{number:x}]\nb=\n" for number in range(9999)) + f"[{'x' * 99999}]")
    assert len(settings) == 9999
    assert max(len(setting.section) for setting in settings) <= len(section) <= 512


def test_a_name_that_cannot_be_is_an_error(tmp_path: Path, places: Places) -> None:
    """A NUL in the name of an included file."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/config.txt").write_bytes(b"os_prefix=a/\ninclude extra.txt\0\0\n")
    bootloader = Tryboot(tmp_path, lambda: places, directory="/boot", template="{device}", prefixes=PREFIXES)
    with pytest.raises(HupfastError, match="null"):
        bootloader.facts()
