"""`hupfast bundle` with bootloaders, as a user meets it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hupfast.cli import main


def run(*argv: str | Path) -> Result:
    """A command in this process; when it fails, it shows no traceback."""
    result = CliRunner().invoke(main, ["bundle", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every bundle needs, with an image in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("image").write_bytes(os.urandom(100_000))
    Path("MLO").write_bytes(b"m" * 2048)
    Path("a=b").write_bytes(b"u" * 1024)
    return ["--name", "os", "--version", "1", "--board", "x", "--image", "image", "--level", "1", "-q"]


def test_bootloaders_are_shown(options: list[str]) -> None:
    """--raw may be repeated, a file's name may have a = in it, and info tells of both."""
    assert run("create", *options, "--raw", "u-boot.img=a=b", "--raw", "MLO=MLO", "x.hup").exit_code == 0
    told = run("info", "x.hup").stdout
    assert "raw       MLO (2.00 KiB)\n" in told
    assert "raw       u-boot.img (1.00 KiB)\n" in told
    members = json.loads(run("info", "x.hup", "--json").stdout)["members"]
    assert [(member["kind"], member["name"]) for member in members] == [
        ("raw", "raw/MLO"),
        ("raw", "raw/u-boot.img"),
        ("image", "rootfs.img.zst"),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        ["MLO"],
        ["=MLO"],
        ["MLO="],
        ["MLO=none"],
        ["MLO=."],
        ["a/b=MLO"],
        ["MLO=MLO", "MLO=image"],
        ["MLO=MLO", "mlo=MLO"],
    ],
)
def test_wrong_bootloaders(options: list[str], raw: list[str]) -> None:
    """Exit 2, one line, and no bundle."""
    done = run("create", *options, *(word for value in raw for word in ("--raw", value)), "x.hup")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert not Path("x.hup").exists()
