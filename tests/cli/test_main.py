"""How every command ends: one line, or one document, and an exit code; never a traceback."""

import errno
import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from hupfast import cli
from hupfast.errors import Busy, MediumError, MemoryBudgetError


def run(*argv: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hupfast", *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL, **more
    )


@pytest.fixture
def command(monkeypatch):
    """Make `hupfast write` do something else: the returned function says what."""

    def put(action) -> None:
        @click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
        def write() -> object:
            return action()

        monkeypatch.setattr(cli._Hupfast, "get_command", lambda self, ctx, name: write)

    return put


def fail(error: BaseException):
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Busy("another update is running"), 9, "another update is running"),
        (MediumError("bad", offset=4096, errno=5), 6, "bad"),
        (click.UsageError("no"), 2, "no"),
        (click.BadParameter("no"), 2, "Invalid value: no"),
        (click.Abort(), 1, "interrupted"),
        (KeyboardInterrupt(), 1, "interrupted"),
        (KeyboardInterrupt("SIGTERM"), 1, "interrupted by SIGTERM"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), 1, "/x: No such file or directory"),
        (OSError("odd"), 1, "an error of hupfast itself, OSError: odd; HUPFAST_DEBUG=1 shows more"),
        (MemoryError(), 1, "this machine has no memory left"),
        (
            ZeroDivisionError("two\nlines"),
            1,
            "an error of hupfast itself, ZeroDivisionError: two lines; HUPFAST_DEBUG=1 shows more",
        ),
    ],
)
def test_errors(command, error, code, line):
    """Each error is one line on standard error and its exit code, or one document on standard output."""
    command(fail(error))
    result = CliRunner().invoke(cli.main, ["write"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"hupfast: {line}")
    assert result.stderr.count("\n") == 1

    result = CliRunner().invoke(cli.main, ["write", "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (code, "")
    assert (document["ok"], document["exit_code"]) == (False, code)
    assert document["error"].startswith(line)


def test_error_document_has_the_numbers(command):
    """What an error knows is in its document, and what it does not know is not."""
    command(fail(MediumError("bad", errno=5, offset=0, length=4096)))
    document = json.loads(CliRunner().invoke(cli.main, ["write", "--json"]).stdout)
    assert document == {
        "ok": False,
        "error": "bad",
        "kind": "MediumError",
        "exit_code": 6,
        "errno": 5,
        "offset": 0,
        "length": 4096,
    }

    command(fail(MemoryBudgetError("small", needed=77)))
    assert json.loads(CliRunner().invoke(cli.main, ["write", "--json"]).stdout)["needed"] == 77


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (10, 10)])
def test_exit_code_of_a_command(command, value, code):
    """What a command returns is the exit code."""
    command(lambda: value)
    assert CliRunner().invoke(cli.main, ["write"]).exit_code == code


def test_debug_shows_the_traceback(command, monkeypatch):
    """HUPFAST_DEBUG lets the exception through."""
    monkeypatch.setenv("HUPFAST_DEBUG", "1")
    command(fail(ZeroDivisionError()))
    assert isinstance(CliRunner().invoke(cli.main, ["write"]).exception, ZeroDivisionError)


def test_help_lists_every_command():
    """The help has all commands, whose modules exist and whose short help is the table's."""
    result = CliRunner().invoke(cli.main, ["-h"])
    assert result.exit_code == 0
    for name, home in cli._COMMANDS.items():
        assert f"  {name} " in result.stdout
        command = cli.main.get_command(click.Context(cli.main), name)
        assert command is not None
        assert command.name == name
        assert home.help.split()[0] in result.stdout


def test_no_command_shows_the_help():
    """`hupfast` alone shows the help."""
    assert run().stdout == run("--help").stdout != ""


def test_version():
    """--version names hupfast and libzstd."""
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("hupfast ")
    assert "zstd" in done.stdout


@pytest.mark.parametrize("argv", [["wirte"], ["write"], ["write", "--nope"], ["verify", "x"], ["pack", "a", "b", "c"]])
def test_wrong_usage(argv):
    """Wrong usage is one line that names the help, and exit 2."""
    done = run(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "--help" in done.stderr


def test_group_without_a_command():
    """A group of commands shows its help on standard error, and exits with 2."""
    done = run("bundle")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: hupfast bundle" in done.stderr


def test_reader_that_went_away():
    """A closed pipe on standard output is no error to tell anybody."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hupfast", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (1, b"")


def test_closed_streams():
    """Closed standard streams end in an exit code, not in a traceback or a crash."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m hupfast write none none <&- >&- 2>&-"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_commands_import_only_what_they_need():
    """Showing the help imports no command, and writing imports nothing of packing and updating."""
    script = (
        "import sys; before = set(sys.modules); from hupfast.cli import main;"
        "main.get_command(None, sys.argv[1]); print(*set(sys.modules) - before)"
    )
    loaded = {}
    for name in ("none", "write"):
        command = [sys.executable, "-c", script, name]
        loaded[name] = set(subprocess.run(command, capture_output=True, text=True).stdout.split())
    assert not {name for name in loaded["none"] if name.startswith("hupfast.cli.")}
    assert "hupfast.cli.write" in loaded["write"]
    assert not loaded["write"] & {"hupfast.image", "hupfast.update", "zstandard", "xxhash", "json", "pathlib", "urllib"}
