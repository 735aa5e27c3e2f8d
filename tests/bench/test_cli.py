"""`hupfast bench`, as a user meets it."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from bench.made import document
from click.testing import CliRunner, Result

from hupfast.bench import settings
from hupfast.bench.document import load, parse
from hupfast.cli import main
from hupfast.cli.bench_tables import show_document

MIB = 2**20
QUICK = ("--quick", "--rounds", "1", "--size", "8M")


def run(*argv: str | Path) -> Result:
    """A command in this process, without a terminal; it never ends in a traceback."""
    result = CliRunner().invoke(main, ["bench", *map(str, argv)])
    assert "Traceback" not in result.output
    if result.exit_code and "--json" not in argv:
        assert result.stderr.splitlines()[-1].startswith("hupfast: ")
    return result


@pytest.fixture
def file(tmp_path):
    """A file of 8 MiB with old content."""
    path = tmp_path / "file"
    path.write_bytes(b"old " * (2 * MIB))
    return path


def test_folder(tmp_path):
    """A folder needs no agreement; the verdict comes first, the document is in the file, and nothing else is left."""
    done = run(tmp_path, *QUICK, "-o", tmp_path / "a.json")
    assert (done.exit_code, done.stderr) == (0, "")
    verdict = load(str(tmp_path / "a.json")).verdict
    first, second, *rest = done.stdout.splitlines()
    assert first == f"limited by  {verdict.sentence}"
    assert f"depth {verdict.depth} " in second
    for title in ("write ", "read ", "flushed every", "latency", "processors", "whole write"):
        assert any(line.startswith(title) for line in rest)
    assert "what the file system made of them" in done.stdout
    assert "(stalls and full caches not counted)" in done.stdout
    assert any(line.startswith("write 1M, depth 4, flushed every 4M ") for line in rest)
    assert os.listdir(tmp_path) == ["a.json"]


def test_health(tmp_path, capsys):
    """What an eMMC tells of its wear is told in words."""
    show_document(replace(document(), storage=replace(document().storage, health={"pre_eol_info": "0x02"})))
    assert "pre_eol_info 0x02 (80% of the spare blocks are used)" in capsys.readouterr().out


def test_json(tmp_path):
    """--json prints one document, which reports and comparisons take as it is."""
    done = run("run", tmp_path, *QUICK, "--json")
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["exit_code"] == 0
    assert parse(done.stdout, "x").settings.mode == "quick"


def test_file_needs_agreement(file):
    """A file is not touched without --yes, and overwritten with it."""
    before = file.read_bytes()
    refused = run(file, *QUICK)
    assert refused.exit_code == 4
    assert "say --yes" in refused.stderr
    assert file.read_bytes() == before

    assert run(file, *QUICK, "--yes", "-q").exit_code == 0
    assert b"old old " not in file.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_mounted_device(device, tmp_path):
    """A device that is mounted is refused, even with --yes."""
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    (tmp_path / "mount").mkdir()
    subprocess.run(["mount", device, tmp_path / "mount"], check=True)
    try:
        done = run(device, *QUICK, "--yes")
    finally:
        subprocess.run(["umount", tmp_path / "mount"], check=True)
    assert done.exit_code == 4
    assert "is mounted on" in done.stderr


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ([], 2, "Usage"),
        (["nothing-there"], 4, "does not exist"),
        (["/dev/nothing-there"], 4, "check the name"),
        (["/dev/null"], 4, "character device"),
        ([".", "--size", "1000T"], 4, "choose a smaller"),
        ([".", "--rounds", "0"], 2, "--rounds"),
        ([".", "--seconds", "-1"], 2, "--seconds"),
        ([".", "--in-flight", "1K"], 2, "too small"),
        ([".", "-o", "/nowhere/a.json", "--size", "8M"], 2, "cannot be made"),
        ([".", "--image", "nothing-there", "--size", "8M"], 7, "nothing-there"),
        ([".", "--image", "-", "--size", "8M"], 2, "standard input"),
        ([".", "--board", "nonsense", "--size", "8M"], 2, "nonsense"),
        (["--nonsense", "."], 2, "No such option"),
    ],
)
def test_wrong_input(tmp_path, monkeypatch, argv, code, words):
    """What makes no sense, and what cannot be used, is told with its exit code, and nothing is measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hupfast.bench.measure.move", None)
    done = CliRunner().invoke(main, ["bench", *argv])
    assert done.exit_code == code
    assert words in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="devices need root")
def test_output_is_a_file(tmp_path):
    """A device is never replaced by the result, and that is told before anything is measured."""
    os.mknod(tmp_path / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    done = run(tmp_path, *QUICK, "-o", tmp_path / "null")
    assert (done.exit_code, "cannot be made" in done.stderr) == (2, True)
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_error_as_json(tmp_path):
    """With --json, an error is a document too."""
    done = run(tmp_path / "none", "--json")
    assert (done.exit_code, done.stderr) == (4, "")
    assert json.loads(done.stdout)["exit_code"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted(tmp_path, number):
    """Whenever it is interrupted, even by a kill, no file is left; the others are told in one line, exit 1."""
    command = [sys.executable, "-P", "-m", "hupfast", "bench", tmp_path, "--size", "64M", "--seconds", "30"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not _has_open(process.pid, tmp_path):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert os.listdir(tmp_path) == []
    if number != signal.SIGKILL:
        assert (process.returncode, out) == (1, "")
        assert err == "hupfast: interrupted: there is no result, and nothing is left\n"


def _has_open(pid: int, folder: Path) -> bool:
    """Whether a process has a file of a folder open, which need not have a name."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(f"{folder}/"):
                return True
    return False


def test_saved_settings_are_used(device, image, tmp_path, monkeypatch):
    """--save notes the best settings of a medium, and `hupfast write` takes them, says so, and lets go of them."""
    monkeypatch.setattr(settings, "STATE", str(tmp_path / "state"))
    assert run(device, *QUICK, "--yes", "-q", "--save").exit_code == 0
    found = settings.saved_settings(str(device))
    assert found is not None

    def write(*more: str) -> tuple[dict[str, object], str]:
        done = CliRunner().invoke(main, ["write", "-y", "--json", *more, str(image.raw), str(device)])
        assert done.exit_code == 0
        return json.loads(done.stdout), done.stderr

    settings.save_settings(settings.WriteSettings(65536, 7, found.key, "x"))
    report, told = write()
    assert (report["block"], report["depth"]) == (65536, 7)
    assert "settings measured for this medium: block 64K, depth 7" in told
    report, told = write("--block", "128K", "--depth", "2")
    assert (report["block"], report["depth"]) == (131072, 2)
    assert "measured" not in told
    assert write("-q")[1] == ""


def test_settings_need_a_place(device, tmp_path, monkeypatch):
    """Where settings could not be saved, that is told at once, and with --json in one document."""
    (tmp_path / "state").write_text("no directory")
    monkeypatch.setattr(settings, "STATE", str(tmp_path / "state"))
    monkeypatch.setattr("hupfast.bench.measure.move", None)
    done = run(device, *QUICK, "--yes", "--save", "--json")
    assert (done.exit_code, json.loads(done.stdout)["kind"]) == (4, "Refused")
    assert "--save needs the directory" in done.stdout


def test_failed_save_is_one_document(device, tmp_path, monkeypatch):
    """When saving fails in the end all the same, --json still prints one document, which says so."""
    monkeypatch.setattr(settings, "STATE", str(tmp_path / "state"))
    monkeypatch.setattr(settings, "check_settings", lambda root, state: None)
    (tmp_path / "state").write_text("no directory")
    done = run(device, *QUICK, "--yes", "--save", "--json")
    assert json.loads(done.stdout)["exit_code"] == done.exit_code == 1


def test_settings_need_a_name(tmp_path, monkeypatch):
    """A medium that nothing tells from others is refused before anything is measured."""
    (tmp_path / "root").mkdir()
    done = run(tmp_path, *QUICK, "--save", "--root", tmp_path / "root")
    assert done.exit_code == 4
    assert "could not know it again" in done.stderr


@pytest.mark.parametrize("option", [["--block", "100000"], ["--block", "8M"], ["--depth", "0"], ["--depth", "33"]])
def test_wrong_settings(image, file, option):
    """Settings that the engine does not know are wrong usage, before the target is touched."""
    done = CliRunner().invoke(main, ["write", "-y", *option, str(image.raw), str(file)])
    assert done.exit_code == 2
    assert file.read_bytes() == b"old " * (2 * MIB)
