"""Reading profiles: what is wrong is told with file, line and key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hupfast.errors import HupfastError, Refused
from hupfast.profile import Table, load_profile

TEXT = """\
# a comment
name = "x"
number = 3
list = ["/a", "/b"]
size = "64M"

[one]
path = "/boot"   # where

[[many]]
key = "first"

[[many]]
key = "second"
"""


@pytest.fixture
def profile(tmp_path: Path) -> Callable[[str], Table]:
    """Load a profile from its text."""

    def load(text: str = TEXT) -> Table:
        (tmp_path / "p.toml").write_text(text)
        return load_profile(tmp_path / "p.toml")

    return load


def test_values_come_out(profile: Callable[..., Table]) -> None:
    """Each kind of value is read by its method."""
    top = profile()
    many = top.tables("many")

    assert top.text("name") == "x"
    assert top.number("number", least=1, most=9) == 3
    assert top.paths("list") == ("/a", "/b")
    assert top.size("size") == 64 << 20
    assert top.size("none") is None
    assert top.table("one").path("path") == "/boot"
    assert [table.text("key") for table in many] == ["first", "second"]
    top.finish()


@pytest.mark.parametrize(
    ("ask", "line", "key"),
    [
        (lambda top: top.number("name", least=1, most=9), 2, "name"),
        (lambda top: top.number("number", least=4, most=9), 3, "number"),
        (lambda top: top.text("number"), 3, "number"),
        (lambda top: top.text("name", pattern="[0-9]+"), 2, "name"),
        (lambda top: top.path("name"), 2, "name"),
        (lambda top: top.choice("name", ("y", "z")), 2, "name"),
        (lambda top: top.size("name"), 2, "name"),
        (lambda top: top.texts("name"), 2, "name"),
        (lambda top: top.table("name"), 2, "name"),
        (lambda top: top.tables("one"), 7, "one"),
        (lambda top: top.table("one").number("path", least=0, most=1), 8, "one.path"),
        (lambda top: top.table("one").text("label"), 7, "one.label"),
        (lambda top: top.tables("many")[1].number("key", least=0, most=1), 14, "many[1].key"),
        (lambda top: top.tables("many")[0].finish(), 11, "many[0].key"),
    ],
)
def test_what_is_wrong_has_its_line(
    profile: Callable[..., Table], ask: Callable[[Table], object], line: int, key: str
) -> None:
    """The message has the file, the line of the key (or of its table) and the key as it is spelled."""
    with pytest.raises(Refused) as caught:
        ask(profile())

    assert f"p.toml, line {line}: {key}: " in str(caught.value)


def test_a_missing_key_is_named(profile: Callable[..., Table]) -> None:
    """A key of the top table has no line when it is missing, but a name."""
    with pytest.raises(Refused, match=r"p\.toml: state: this key is missing"):
        profile().text("state")


def test_a_mistyped_key_gets_a_hint(profile: Callable[..., Table]) -> None:
    """The key that was probably meant is told."""
    top = profile('lable = "x"\n')
    top.text("label", "")
    with pytest.raises(Refused, match=r"line 1: lable: this key is unknown; did you mean 'label'\?"):
        top.finish()


@pytest.mark.parametrize("value", ["0", '"0M"', '"M"', '"-1"', "1.5", "true", '"64MB"', "[]"])
def test_sizes_that_are_none(profile: Callable[..., Table], value: str) -> None:
    """Only whole numbers above zero with K, M or G pass."""
    with pytest.raises(Refused, match="no size"):
        profile(f"size = {value}\n").size("size")


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/.."])
def test_paths_stay_below_the_root(profile: Callable[..., Table], path: str) -> None:
    """A path is absolute and does not climb."""
    with pytest.raises(Refused, match="no absolute path"):
        profile(f'p = "{path}"\n').path("p")
    with pytest.raises(Refused, match="no absolute path"):
        profile(f'p = ["{path}"]\n').paths("p")


def test_what_is_no_toml_is_refused_with_its_line(profile: Callable[..., Table], tmp_path: Path) -> None:
    """TOML's own complaint has a line; bytes that are no text are told too."""
    with pytest.raises(Refused, match=r"no TOML.*line 2"):
        profile("a = 1\nb = = 2\n")
    (tmp_path / "p.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(Refused, match="not UTF-8"):
        load_profile(tmp_path / "p.toml")
    with pytest.raises(HupfastError, match="cannot read the profile"):
        load_profile(tmp_path / "no.toml")


def test_a_profile_may_lie_on_a_layout(tmp_path: Path) -> None:
    """Tables are merged key by key, lists are replaced whole, and what is wrong is told in the file it stands in."""
    (tmp_path / "layouts").mkdir()
    (tmp_path / "layouts/low.toml").write_text('state = "/low"\n[boot]\nsize = "1M"\ndirectory = "low"\n')
    (tmp_path / "p.toml").write_text('extends = "low"\nname = "top"\n[boot]\nsize = "2M"\n')
    top = load_profile(tmp_path / "p.toml", [tmp_path / "layouts"])
    boot = top.table("boot")

    assert (top.text("name"), top.path("state"), boot.size("size")) == ("top", "/low", 2 << 20)
    with pytest.raises(Refused, match=r"layouts/low.toml, line 4: boot.directory: 'low' is no absolute path"):
        boot.path("directory")
    with pytest.raises(Refused, match=r"p.toml, line 4: boot.size"):
        raise boot.fail("size", "so")


@pytest.mark.parametrize("name", ["none", "../p", 3])
def test_a_layout_that_is_not_there_is_refused(tmp_path: Path, name: object) -> None:
    """With the line of `extends`; a name is never a path."""
    (tmp_path / "p.toml").write_text(f"extends = {name!r}\n")
    with pytest.raises(Refused, match=r"p\.toml, line 1: extends: "):
        load_profile(tmp_path / "p.toml", [tmp_path / "layouts"])
