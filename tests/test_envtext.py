"""Text variables as U-Boot imports them, against mkenvimage and fw_printenv."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast.envtext import change, parse

TEXT = b"# a comment\r\nmmcdev=1\r\nbootpart=1:2\r\n\r\nlast=x=y"


def test_a_change_touches_its_own_lines_only() -> None:
    """Comments, blank lines, line ends and the missing one at the end stay."""
    assert change(TEXT, {"bootpart": "1:3"}) == TEXT.replace(b"1:2", b"1:3")
    assert change(TEXT, {"mmcdev": None}) == TEXT.replace(b"mmcdev=1\r\n", b"")
    assert change(TEXT, {}) == TEXT


def test_a_new_variable_comes_at_the_end_with_the_line_end_of_the_file() -> None:
    """Behind a last line with or without an end, and before the zero byte."""
    assert change(b"a=1\n", {"b": "2"}) == b"a=1\nb=2\n"
    assert change(TEXT, {"b": "2"}).endswith(b"last=x=y\nb=2\r\n")
    assert change(b"a=1\n\0pad", {"b": "2"}) == b"a=1\nb=2\n\0pad"
    assert change(b"", {"b": "2"}) == b"b=2\n"


def test_a_variable_that_is_there_twice_is_refused() -> None:
    """Which one counts would be a guess."""
    with pytest.raises(ValueError, match="a twice"):
        change(b"a=1\na=2\n", {"b": "2"})


@pytest.mark.skipif(
    not (shutil.which("mkenvimage") and shutil.which("fw_printenv")), reason="u-boot-tools or libubootenv-tool missing"
)
def test_u_boots_own_tool_reads_the_changed_text(tmp_path: Path) -> None:
    """mkenvimage compiles it, fw_printenv shows it."""
    text = change(b"# c\nbootpart=1:2\nown=x y\n", {"bootpart": "1:3", "hupfast_trial": "b"})
    subprocess.run(["mkenvimage", "-s", "4096", "-o", tmp_path / "env", "-"], input=text, check=True)
    (tmp_path / "config").write_text(f"{tmp_path}/env 0x0 0x1000\n")
    done = subprocess.run(["fw_printenv", "-c", tmp_path / "config"], check=True, capture_output=True, text=True)

    assert sorted(done.stdout.splitlines()) == ["bootpart=1:3", "hupfast_trial=b", "own=x y"]


@given(st.binary(max_size=60), st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.just("v"), max_size=3))
def test_what_is_set_is_read_and_the_rest_stays(data: bytes, changes: dict[str, str]) -> None:
    """For any bytes: either ValueError, or exactly the change."""
    try:
        before = parse(data)
    except ValueError:
        return
    assert parse(change(data, changes)) == {**before, **changes}
