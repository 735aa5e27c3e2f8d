"""The commands as a user types them: words, exit codes, JSON, and never a traceback."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hupfast.cli import main

Board = Any
Run = Callable[..., "Ended"]


class Ended:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict[str, Any]:
        """The one document on standard output."""
        assert self.out.count("\n") == 1
        document: dict[str, Any] = json.loads(self.out)
        assert document["exit_code"] == self.code
        return document


@pytest.fixture
def hupfast(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int)
        assert "Traceback" not in captured.err
        assert "error of hupfast itself" not in captured.err
        return Ended(code, captured.out, captured.err)

    return run


def test_a_whole_update_in_words(board: Board, shelf: Any, hupfast: Run) -> None:
    """Plan, update, status, reboot, confirm, rollback: exit codes and the sentences that matter."""
    bundle, root = shelf.bundle("2.0"), ("--root", board.root)
    plan = hupfast("update", bundle, *root, "--allow-unsigned", "--dry-run")
    assert plan.code == 0
    assert "would install os 2.0 into slot b" in plan.out
    assert "writes b/kernel" in plan.out
    assert "nothing was written" in plan.out

    update = hupfast("update", bundle, *root, "--allow-unsigned")
    assert update.code == 10
    assert "os 2.0 is installed in slot b: reboot" in update.out
    assert update.err.index("writing the image") < update.err.index("telling the bootloader")
    assert "a reboot tries it" in hupfast("status", *root).out
    again = hupfast("update", bundle, *root, "--allow-unsigned")
    assert (again.code, "reboot to try it" in again.out) == (10, True)
    assert hupfast("confirm", *root).code == 10

    board.boot()
    assert "on trial" in hupfast("status", *root).out
    confirm = hupfast("confirm", *root)
    assert (confirm.code, confirm.out) == (0, "slot b (version 2.0) is permanent (0 health checks passed)\n")
    assert hupfast("update", bundle, *root, "--allow-unsigned").code == 3
    status = hupfast("status", *root).out
    assert "running  slot b, version 2.0" in status
    assert "last     os 2.0 in slot b confirmed on 2" in status
    rollback = hupfast("rollback", *root)
    assert (rollback.code, rollback.out) == (10, "slot a (version 1.0) is what boots next: reboot\n")


def test_a_whole_update_in_json(board: Board, shelf: Any, hupfast: Run) -> None:
    """One document for each command, with what a script branches on."""
    bundle, root = shelf.bundle("2.0"), ("--root", board.root, "--json")
    plan = hupfast("update", bundle, *root, "--allow-unsigned", "-n").json
    assert plan["plan"]["boot"]["needed"] <= plan["plan"]["boot"]["free"]
    update = hupfast("update", bundle, *root, "--allow-unsigned", "--reboot").json
    assert (update["ok"], update["outcome"], update["slot"]) == (True, "rebooting", "b")
    assert update["report"]["verified"]
    status = hupfast("status", *root).json
    assert (status["situation"], status["running"], status["version"], status["tries"]) == ("trial", "b", "2.0", 2)
    assert hupfast("confirm", *root).json["outcome"] == "confirmed"
    assert hupfast("rollback", *root).json["slot"] == "a"


def test_errors_in_json(board: Board, shelf: Any, hupfast: Run) -> None:
    """The document has the sentence, the kind and the exit code; the numbers where there are some."""
    bundle, root = shelf.bundle("2.0"), ("--root", board.root, "--json")
    refused = hupfast("update", bundle, *root)
    assert (refused.code, refused.json["ok"], refused.json["kind"]) == (4, False, "Refused")
    assert refused.err == ""
    memory = hupfast("update", bundle, *root, "--allow-unsigned", "--memory", "64K").json
    assert (memory["kind"], memory["needed"] > 65536) == ("MemoryBudgetError", True)


def test_a_fallback_ends_in_8(board: Board, shelf: Any, hupfast: Run) -> None:
    """confirm, not status; both say why."""
    board.update("2.0")
    for _ in range(4):
        board.boot()
    root = ("--root", board.root)
    status = hupfast("status", *root)
    assert (status.code, "os 2.0 in slot b fell back: slot b was tried" in status.out) == (0, True)
    confirm = hupfast("confirm", *root, "--json")
    assert (confirm.code, confirm.json["kind"]) == (8, "RolledBack")
    assert "fell back" in hupfast("status", *root).out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["update"], 2, "SOURCE or --resume"),
        (["update", "x.hup", "--resume"], 2, "SOURCE or --resume"),
        (["update", "--resume", "--dry-run"], 2, "as the update was asked for"),
        (["update", "--resume", "--no-reboot"], 2, "as the update was asked for"),
        (["update", "/no/such.hup", "--allow-unsigned"], 7, "/no/such.hup"),
        (["update", "ftp://x/y", "--allow-unsigned"], 2, "ftp"),
        (["update", "http://127.0.0.1:1/x.hup", "--allow-unsigned"], 7, "127.0.0.1"),
        (["update", "/etc/passwd", "--allow-unsigned"], 5, "no bundle"),
        (["update", "/etc", "--allow-unsigned"], 2, "/etc"),
        (["update", "/no/*.hup", "--allow-unsigned"], 2, "/no/"),
        (["update", "/dev/null", "--allow-unsigned"], 7, "/dev/null"),
        (["update", "BUNDLE", "--allow-unsigned", "--memory", "lots"], 2, "no size"),
        (["update", "BUNDLE", "--allow-unsigned", "--memory", "0"], 4, "memory"),
        (["update", "BUNDLE", "--key", "/no/key"], 2, "/no/key"),
        (["update", "BUNDLE", "--board", "toaster"], 2, "toaster"),
        (["update", "BUNDLE", "--board", "../../x"], 2, "no profile"),
        (["update", "BUNDLE"], 4, "--allow-unsigned"),
        (["confirm", "surplus"], 2, "surplus"),
        (["rollback"], 4, "no complete system"),
        (["status", "--what"], 2, "--what"),
        (["bundle"], 2, ""),
        (["bundle", "create", "OUT"], 2, "Missing option"),
        (["bundle", "info", "/no/such.hup"], 7, "/no/such.hup"),
        (["bundle", "info", "/etc/passwd"], 5, "no bundle"),
        (["boards", "show", "toaster"], 2, "toaster"),
    ],
)
def test_wrong_input(board: Board, shelf: Any, hupfast: Run, arguments: list[str], code: int, words: str) -> None:
    """Each ends in its exit code with one line that names what is wrong."""
    arguments = [str(shelf.bundle("2.0")) if word == "BUNDLE" else word for word in arguments]
    if arguments[0] in ("update", "status", "confirm", "rollback"):
        arguments += ["--root", str(board.root)]
    ended = hupfast(*arguments)

    assert ended.code == code
    assert words in ended.err
    assert code == 2 or ended.err.splitlines()[-1].startswith("hupfast: ")
    assert board.status().situation == "idle"


@pytest.mark.parametrize("root", ["/no/such/root", "/etc/passwd", "/proc"])
def test_a_root_that_is_none(root: str, hupfast: Run) -> None:
    """No such directory is wrong usage; a directory that is no board is refused."""
    for command in (["status"], ["confirm"], ["rollback"], ["update", "x"]):
        assert hupfast(*command, "--root", root).code in (2, 4)


def test_bundle_create_and_info(board: Board, shelf: Any, hupfast: Run, tmp_path: Path) -> None:
    """What is made is what the board takes."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/kernel").write_bytes(b"kernel")
    out = tmp_path / "x.hup"
    options = ["--name", "os", "--version", "5.0", "--board", "virtual", "--board", "other", "--level", "1"]
    options += [
        "--boot",
        str(tmp_path / "boot"),
        "--minimum-system",
        "1.0",
        "--created",
        "today",
        "--chunk-size",
        "64K",
    ]
    made = hupfast("bundle", "create", *options, "--image", shelf.image("2.0"), out)
    assert made.code == 0
    assert str(out) in made.out

    info = hupfast("bundle", "info", out)
    for words in ("os", "5.0", "virtual, other", "today", "system 1.0 or later", "kernel (6 B)", "rootfs.img.zst"):
        assert words in info.out
    document = hupfast("bundle", "info", out, "--json").json
    assert [member["name"] for member in document["members"]] == ["boot/kernel", "rootfs.img.zst"]
    refused = hupfast("bundle", "create", *options, "--image", shelf.image("2.0"), out, "--json")
    assert (refused.code, "--force" in refused.json["error"]) == (4, True)
    forced = hupfast("bundle", "create", *options, "--image", shelf.image("2.0"), out, "--force", "--json").json
    assert forced["manifest_sha256"] == document["manifest_sha256"]
    assert board.update(out).outcome == "installed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (["--name", "a b"], 2),
        (["--version", ""], 2),
        (["--board", "x/y"], 2),
        (["--boot", "/no/such/directory"], 2),
        (["--boot", "/etc/passwd"], 2),
        (["--image", "/no/such/image"], 2),
        (["--image", "/etc"], 2),
        (["--image", "/dev/null"], 5),
        (["--level", "99"], 2),
        (["--chunk-size", "1000"], 2),
        (["--minimum-system", "1 0"], 2),
    ],
)
def test_wrong_input_of_bundle_create(shelf: Any, hupfast: Run, tmp_path: Path, change: list[str], code: int) -> None:
    """Exit code and a line; and nothing is left in the folder."""
    options = ["--name", "os", "--version", "5.0", "--board", "virtual", "--image", shelf.image("2.0")]
    ended = hupfast("bundle", "create", *options, *change, tmp_path / "x.hup", "-q")

    assert ended.code == code
    assert ended.err.startswith("hupfast: ")
    assert os.listdir(tmp_path) == []


def test_boards(board: Board, hupfast: Run) -> None:
    """list has all, a wrong one with its reason; show prints the file; detect says which."""
    local = board.root / "etc/hupfast/boards"
    local.mkdir()
    (local / "wrong.toml").write_text('name = "wrong"\n')
    listed = hupfast("boards", "list", "--root", board.root)
    assert listed.code == 0
    assert "virtual" in listed.out
    assert re.search(r"^wrong +wrong: ", listed.out, re.MULTILINE)
    assert {row["name"] for row in hupfast("boards", "list", "--root", board.root, "--json").json["boards"]} >= {
        "wrong"
    }

    shown = hupfast("boards", "show", "virtual")
    assert "[bootloader]" in shown.out
    assert hupfast("boards", "show", "virtual", "--json").json["profile"]["bootloader"]["tries"] == 3
    assert hupfast("boards", "show", "wrong", "--root", board.root).code == 4

    assert hupfast("boards", "detect", "--root", board.root).out == "virtual\n"
    assert hupfast("boards", "detect", "--root", board.root, "--json").json["name"] == "virtual"
    assert hupfast("boards", "detect", "--root", local).code == 4


def test_an_update_from_standard_input(board: Board, shelf: Any) -> None:
    """The real program at the end of a pipe."""
    command = [sys.executable, "-m", "hupfast", "update", "-", "--root", board.root, "--allow-unsigned", "--json"]
    ended = subprocess.run(command, input=shelf.bundle("2.0").read_bytes(), capture_output=True, check=False)
    assert ended.returncode == 10
    assert json.loads(ended.stdout)["plan"]["spool"] > 0
    board.check_whole("b", "2.0")


def test_the_demo_takes_small_sizes_and_refuses_full_folders(hupfast: Run, tmp_path: Path) -> None:
    """--size has a least value, --dir must be empty."""
    assert hupfast("demo", "--size", "1").code == 2
    (tmp_path / "mine").touch()
    assert hupfast("demo", "--dir", tmp_path).code == 2
    ended = hupfast("demo", "--dir", tmp_path / "demo", "--size", "64", "--keep")
    assert ended.code == 0
    assert "All of it holds: 18 checks passed" in ended.out
    assert hupfast("status", "--root", tmp_path / "demo/board").code == 0


def test_help_names_the_options_of_the_design(hupfast: Run) -> None:
    """Each command explains itself, exit codes included."""
    text = hupfast("update", "--help").out
    for option in ("--dry-run", "--reboot / --no-reboot", "--board", "--root", "--key", "--allow-unsigned"):
        assert option in text
    for option in ("--allow-downgrade", "--memory", "--json"):
        assert option in text
    assert "8   the last update fell back" in hupfast("confirm", "--help").out
    for command in ("status", "rollback", "bundle", "boards", "demo"):
        assert hupfast(command, "--help").code == 0
