"""balena's config.json: found, verified, and brought to where the new system looks for it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hupfast import boardconfig
from hupfast.boardconfig import Config, ConfigPlan, migrate_config, plan_config, read_config
from hupfast.errors import HupfastError, MismatchError, Refused
from hupfast.profile import load_profile

CONFIG = Config("/boot/config.json", ("/conf/config.json", "/data/config.json"), ("deviceType",))
GOOD = b'{"deviceType": "raspberrypi4-64"}\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with the three directories, and no config.json."""
    for name in ("boot", "conf", "data"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_good_file_stays(root: Path) -> None:
    """Sources are not even looked at."""
    (root / "boot/config.json").write_bytes(GOOD)
    (root / "conf/config.json").write_text("broken")
    plan = plan_config(CONFIG, root)
    migrate_config(plan)

    assert plan == ConfigPlan(root / "boot/config.json", None, ("deviceType",))
    assert (root / "boot/config.json").read_bytes() == GOOD


def test_the_first_source_is_copied(root: Path) -> None:
    """Byte for byte, with its mode, when migrate_config() is called; a second call changes nothing."""
    (root / "conf/config.json").write_bytes(GOOD)
    (root / "conf/config.json").chmod(0o600)
    (root / "data/config.json").write_bytes(GOOD)
    plan = plan_config(CONFIG, root)
    assert plan == ConfigPlan(root / "boot/config.json", root / "conf/config.json", ("deviceType",))
    assert not (root / "boot/config.json").exists()
    migrate_config(plan)
    migrate_config(plan)

    assert (root / "boot/config.json").read_bytes() == GOOD
    assert (root / "boot/config.json").stat().st_mode & 0o777 == 0o600
    assert plan_config(CONFIG, root).source is None


def test_sources_that_differ_are_told(root: Path) -> None:
    """The first one is used."""
    (root / "conf/config.json").write_bytes(GOOD)
    (root / "data/config.json").write_bytes(GOOD + b"\n")
    assert "and not " + str(root / "data/config.json") in plan_config(CONFIG, root).warning


def test_an_empty_file_is_replaced(root: Path) -> None:
    """It is what a power cut leaves of the first copy on FAT."""
    (root / "boot/config.json").touch()
    (root / "data/config.json").write_bytes(GOOD)
    migrate_config(plan_config(CONFIG, root))
    assert (root / "boot/config.json").read_bytes() == GOOD


def test_none_at_all(root: Path) -> None:
    """Refused when keys are required of it; else there is nothing to be done."""
    with pytest.raises(Refused, match=r"no config\.json at .*boot.* or .*conf.* or .*data.* needs 'deviceType'"):
        plan_config(CONFIG, root)
    assert plan_config(Config(CONFIG.file, CONFIG.sources), root) == ConfigPlan()
    assert plan_config(Config(), root) == ConfigPlan()
    migrate_config(ConfigPlan())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "line 1, column 1: it is empty"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6: it is no JSON"),
        (b'{"deviceType": "x"', "line 1, column 19: it is no JSON"),
        (b'\n ["deviceType"]', "line 2, column 2: it is JSON, but not an object"),
        (b"null", "line 1, column 1: it is JSON, but not an object"),
        (b'{"a": 1,\n "\xff": 2}', "line 2, column 3: this byte is not UTF-8"),
        (b'\xef\xbb\xbf{"deviceType": "x"}', "line 1, column 1: it is no JSON"),
        (b'{"a": 1,\n "b": "a\\\\", "a": 2}', "line 2, column 14: the key 'a' is there twice"),
        (b'{"a": {"b": 1, "\\u0062" : 2}}', "line 1, column 16: the key 'b' is there twice"),
        (b'{"a": "NaN",\n"b": [-Infinity]}', "line 2, column 7: -Infinity is no number"),
        (b'{"a": NaN}', "line 1, column 7: NaN is no number"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"deviceTypes": {"deviceType": 1}}', "lacks 'deviceType', which"),
    ],
)
@pytest.mark.parametrize("place", ["boot", "conf"])
def test_what_cannot_be_used_is_refused(root: Path, data: bytes, reason: str, place: str) -> None:
    """The file itself and a source alike, with the place and what to do."""
    (root / place / "config.json").write_bytes(data)
    with pytest.raises(Refused) as caught:
        plan_config(CONFIG, root)
    assert str(caught.value).startswith(str(root / place / "config.json"))
    assert reason in str(caught.value)
    assert str(caught.value).endswith("repair it, and start the update again")


def test_what_only_looks_wrong_is_good(root: Path) -> None:
    """The same key in two objects, braces and NaN in texts, a key as a value, a number of any length."""
    (root / "boot/config.json").write_text(
        '{"deviceType": "a{\\"}", "x": [{"y": "y"}, {"y": "NaN"}], "y": "deviceType", "n": ' + "9" * 5000 + "}"
    )
    assert plan_config(CONFIG, root).source is None


def test_a_file_that_is_too_large_is_an_error(root: Path) -> None:
    """Nothing of more than 1 MiB belongs there."""
    (root / "boot/config.json").write_bytes(b" " * (1 << 20) + GOOD)
    with pytest.raises(HupfastError, match="is larger than"):
        plan_config(CONFIG, root)


def test_no_directory_to_copy_to(root: Path) -> None:
    """A boot partition that is not mounted is not made up."""
    (root / "boot").rmdir()
    (root / "conf/config.json").write_bytes(GOOD)
    with pytest.raises(Refused, match=r"there is no directory .*boot; is it mounted"):
        plan_config(CONFIG, root)


def test_a_link_to_nothing_is_refused(root: Path) -> None:
    """It would be replaced by a file, behind the back of whoever made it."""
    (root / "boot/config.json").symlink_to("nowhere")
    (root / "conf/config.json").write_bytes(GOOD)
    with pytest.raises(Refused, match="is a link to a file that is not there"):
        plan_config(CONFIG, root)


def test_an_existing_file_is_never_overwritten(root: Path) -> None:
    """One that came up after the plan was made, or a source that went or went bad since: nothing is written."""
    source, file = root / "conf/config.json", root / "boot/config.json"
    source.write_bytes(GOOD)
    plan = plan_config(CONFIG, root)
    file.write_text("{}")
    with pytest.raises(HupfastError, match="is not overwritten"):
        migrate_config(plan)
    assert file.read_text() == "{}"
    file.unlink()
    source.write_text("{}")
    with pytest.raises(Refused, match="lacks 'deviceType'"):
        migrate_config(plan)
    source.unlink()
    with pytest.raises(HupfastError, match="is gone"):
        migrate_config(plan)
    assert not file.exists()


def test_it_is_read_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A medium that keeps other bytes is told."""
    (root / "conf/config.json").write_bytes(GOOD)
    plan = plan_config(CONFIG, root)
    monkeypatch.setattr(boardconfig, "write_atomic", lambda path, data, mode: path.write_bytes(data[:-9]))
    with pytest.raises(MismatchError, match="does not hold"):
        migrate_config(plan)


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda below: st.lists(below) | st.dictionaries(st.text(), below)
    )
)
def test_what_json_writes_is_good(value: object) -> None:
    """Every object of Python's own writer passes, and the key that was asked for is seen."""
    for ascii_only in (True, False):
        text = json.dumps({"deviceType": value, "{": value}, ensure_ascii=ascii_only)
        assert boardconfig._keys(Path("x"), text.encode()) == {"deviceType", "{"}


@given(st.binary(max_size=200) | st.text('{}[]:,"\\ naN1-Infity').map(str.encode))
def test_other_bytes_are_refused(data: bytes) -> None:
    """Nothing else than Refused comes out."""
    try:
        keys = boardconfig._keys(Path("x"), data)
    except Refused:
        return
    assert keys == set(json.loads(data))


def test_the_table_of_a_profile(tmp_path: Path) -> None:
    """All keys, and none of them."""
    profile = tmp_path / "board.toml"
    profile.write_text(
        '[config]\nfile = "/boot/config.json"\nsources = ["/conf/config.json", "/data/config.json"]\n'
        'required = ["deviceType"]\n'
    )
    assert read_config(load_profile(profile).table("config")) == CONFIG
    profile.write_text("")
    assert read_config(load_profile(profile).table("config", optional=True)) == Config()


@pytest.mark.parametrize(
    "lines",
    [
        'sources = ["/a"]',
        'required = ["a"]',
        'file = "a"',
        'file = "/a"\nsources = ["/a"]',
        'file = "/a"\nrequire = []',
    ],
)
def test_a_wrong_key_is_refused(tmp_path: Path, lines: str) -> None:
    """With its line."""
    profile = tmp_path / "board.toml"
    profile.write_text(f"[config]\n{lines}\n")
    with pytest.raises(Refused, match=r"board\.toml, line [123]: config\."):
        read_config(load_profile(profile).table("config"))
