"""root= in cmdline.txt, grub.cfg and extlinux.conf: what boots is switched, everything else stays as it is."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.bootloaders import BootState
from hupfast.bootloaders.rootarg import RootArgument, Spans, cmdline_spans, extlinux_spans, grub_spans
from hupfast.errors import HupfastError
from hupfast.slots import Places

Make = Callable[..., RootArgument]

CMDLINE = "console=tty1  root=/dev/mmcblk0p2 rootfstype=ext4 rootwait\n"
GRUB = """set default=0
# linux /old root=/dev/mmcblk0p2
menuentry 'boot' {
  linux /vmlinuz root=/dev/mmcblk0p2 rootwait
}
menuentry 'debug' {
\tlinux /vmlinuz root=/dev/mmcblk0p2 debug
}
menuentry 'rescue' { # another disk
  linux /rescue root=LABEL=rescue
}
"""
EXTLINUX = """TIMEOUT 30
DEFAULT primary
MENU TITLE options
LABEL rescue
      MENU LABEL rescue system
      LINUX /boot/Image
      APPEND root=/dev/mmcblk0p2 rescue
LABEL primary
      MENU LABEL the kernel
      LINUX /boot/Image
      APPEND ${cbootargs} root=/dev/mmcblk0p2 rw
"""
TEXTS = [(CMDLINE, cmdline_spans, 1), (GRUB, grub_spans, 2), (EXTLINUX, extlinux_spans, 1)]


@pytest.fixture
def make(tmp_path: Path, places: Places) -> Make:
    """A bootloader on a file with that text."""

    def made(text: str, spans: Callable[[str], Spans], template: str = "{device}") -> RootArgument:
        (tmp_path / "file").write_bytes(text.encode())
        return RootArgument(tmp_path, lambda: places, spans, file="/file", template=template)

    return made


@pytest.mark.parametrize(("text", "spans", "count"), TEXTS)
def test_a_switch_changes_what_boots_and_nothing_else(
    make: Make, tmp_path: Path, text: str, spans: Callable[[str], Spans], count: int
) -> None:
    """Comments, rescue entries, blanks and line ends stay byte for byte; the default stays the old slot."""
    bootloader = make(text, spans)
    bootloader.switch("b")
    changed = (tmp_path / "file").read_text()

    assert bootloader.state() == BootState("a", "b", 1, None)
    assert changed.count("root=/dev/mmcblk0p10") == changed.count(" hupfast.trial=b\n") == count
    back = changed.replace(" hupfast.trial=b", "").replace("root=/dev/mmcblk0p10", "root=/dev/mmcblk0p2")
    assert back == text


@pytest.mark.parametrize(("text", "spans", "count"), TEXTS)
def test_confirm_takes_the_mark_away(
    make: Make, tmp_path: Path, text: str, spans: Callable[[str], Spans], count: int
) -> None:
    """The new slot stays; a second confirm has nothing to do."""
    bootloader = make(text, spans)
    bootloader.switch("b")
    bootloader.confirm()

    assert bootloader.state() == BootState("b", None, 0, None)
    assert "hupfast" not in (tmp_path / "file").read_text()
    with pytest.raises(HupfastError, match="no trial"):
        bootloader.confirm()
    bootloader.switch("a", trial=False)
    assert (tmp_path / "file").read_text() == text


@pytest.mark.parametrize("root", ["/dev/mmcblk0p2", "LABEL=resin-rootA", "PARTUUID=1234ABCD-02"])
@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("{device}", "/dev/mmcblk0p10"),
        ("LABEL={label}", "LABEL=resin-rootB"),
        ("PARTUUID={partuuid}", "PARTUUID=1234abcd-0a"),
    ],
)
def test_every_spelling_is_understood_and_the_profiles_is_written(
    make: Make, tmp_path: Path, root: str, template: str, written: str
) -> None:
    """A text replacement that misses the old spelling and says that all is well has bricked boards."""
    bootloader = make(f"quiet root={root} ro", cmdline_spans, template)
    assert bootloader.state().default == "a"
    bootloader.switch("b")

    assert (tmp_path / "file").read_text() == f"quiet root={written} ro hupfast.trial=b"


@pytest.mark.parametrize("text", ["", "\n", "quiet\n", "root=/dev/sda2\n", "xroot=/dev/mmcblk0p2\n", "root=LABEL=\n"])
@pytest.mark.parametrize("spans", [cmdline_spans, grub_spans, extlinux_spans])
def test_nothing_to_replace_is_an_error(make: Make, tmp_path: Path, text: str, spans: Callable[[str], Spans]) -> None:
    """Never a success, and nothing is written."""
    bootloader = make(text, spans)
    with pytest.raises(HupfastError, match="nothing to switch"):
        bootloader.switch("b")
    assert (tmp_path / "file").read_text() == text
    (tmp_path / "file").unlink()
    with pytest.raises(HupfastError, match="missing"):
        bootloader.switch("b")


def test_a_link_is_refused(make: Make, tmp_path: Path) -> None:
    """Some systems have /boot/grub2/grubenv as a link: replacing it would leave what GRUB reads as it is."""
    bootloader = make(CMDLINE, cmdline_spans)
    (tmp_path / "file").rename(tmp_path / "real")
    (tmp_path / "file").symlink_to("real")
    with pytest.raises(HupfastError, match="is a symbolic link"):
        bootloader.switch("b")
    assert (tmp_path / "real").read_text() == CMDLINE


def test_entries_that_name_both_slots_are_an_error(make: Make) -> None:
    """Which of them boots is not known here."""
    with pytest.raises(HupfastError, match=r"names both slots \(a, b\)"):
        make(GRUB.replace("p2 debug", "p10 debug"), grub_spans).state()
    with pytest.raises(HupfastError, match="names both slots"):
        make("root=/dev/mmcblk0p2 hupfast.trial=b", cmdline_spans).state()


def test_an_unknown_slot_is_never_written(make: Make, tmp_path: Path) -> None:
    """The file stays as it was."""
    with pytest.raises(HupfastError, match="no slot 'c'"):
        make(CMDLINE, cmdline_spans).switch("c")
    assert (tmp_path / "file").read_text() == CMDLINE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DEFAULT primary\n", "DEFAULT primary\nDEFAULT rescue\n"),
        ("DEFAULT primary\n", "DEFAULT primary\nONTIMEOUT rescue\n"),
        ("DEFAULT primary\n", ""),
    ],
)
def test_extlinux_chooses_its_entry_as_u_boot_does(make: Make, old: str, new: str) -> None:
    """The last DEFAULT or ONTIMEOUT, and the first entry without either."""
    text = EXTLINUX.replace(old, new).replace("p2 rescue", "p10 rescue")
    assert make(text, extlinux_spans).state().default == "b"


def test_extlinux_takes_the_entry_marked_as_the_default_and_its_last_append(make: Make) -> None:
    """MENU DEFAULT counts where DEFAULT is missing; an APPEND before another one does not."""
    text = EXTLINUX.replace("DEFAULT primary\n", "").replace("MENU LABEL the kernel", "MENU DEFAULT")
    text = text.replace("      APPEND $", "      APPEND root=/dev/mmcblk0p2\n      APPEND $").replace("p2 rw", "p10 rw")
    assert make(text, extlinux_spans).state().default == "b"


@pytest.mark.skipif(not shutil.which("grub-script-check"), reason="grub-script-check is not installed")
def test_grub_accepts_the_changed_file(make: Make, tmp_path: Path) -> None:
    """grub-script-check on both."""
    bootloader = make(GRUB, grub_spans)
    bootloader.switch("b")
    subprocess.run(["grub-script-check", tmp_path / "file"], check=True)


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40))
def test_whatever_stands_around_stays(tmp_path_factory: pytest.TempPathFactory, noise: str) -> None:
    """There and back is the same bytes, whatever else is on the command line."""
    from hupfast.slots import Place

    places = Places("a", {"a": Place("a", "/dev/x2", 2), "b": Place("b", "/dev/x3", 3)})
    folder = tmp_path_factory.mktemp("cmdline")
    data = f"root=/dev/x2 {noise.rstrip()}".encode("latin-1")
    if b"root=" in data[5:] or b"hupfast.trial" in data:
        return
    (folder / "file").write_bytes(data)
    bootloader = RootArgument(folder, lambda: places, cmdline_spans, file="/file", template="{device}")
    bootloader.switch("b")
    bootloader.switch("a", trial=False)

    assert (folder / "file").read_bytes().rstrip() == data.rstrip()
