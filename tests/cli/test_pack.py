"""`hupfast pack`, as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

from hupfast.cli import main
from hupfast.image import read_table


def run(*argv: str | Path) -> Result:
    """A packing in this process; when it fails, it shows no traceback."""
    result = CliRunner().invoke(main, ["pack", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


def test_pack(image, tmp_path):
    """A packed image holds the image, and the last line says what came of it."""
    out = tmp_path / "out.zst"
    done = run(image.raw, out, "--level", "1", "--chunk-size", "256K")
    assert done.exit_code == 0
    assert done.stdout.startswith("packed 12.0 MiB into ")
    assert "49 chunks of 256 KiB" in done.stdout
    assert "pack    100%  12.0 MiB" in done.stderr

    table = read_table(out)
    with out.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as frames:
        assert frames.read(len(image.bytes) + 1) == image.bytes
    assert table.chunk_size == 256 * 1024


def test_json(image, tmp_path):
    """--json has the name of the table, which a bundle's manifest needs."""
    done = run(image.zst, tmp_path / "out", "--level", "1", "--json", "-q")
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert document["ok"] is True
    assert document["table_sha256"] == read_table(tmp_path / "out").sha256.hex()
    assert document["packed_size"] == (tmp_path / "out").stat().st_size


def test_standard_input(image, tmp_path):
    """- packs standard input, with the same result as the file."""
    run(image.raw, tmp_path / "file", "--level", "1", "-q")
    with image.zst.open("rb") as file:
        command = [sys.executable, "-m", "hupfast", "pack", "-q", "--level", "1", "-", tmp_path / "stdin"]
        subprocess.run(command, stdin=file, check=True)
    assert (tmp_path / "stdin").read_bytes() == (tmp_path / "file").read_bytes()


def test_existing_out(image, tmp_path):
    """OUT is replaced only with --force."""
    (tmp_path / "out").write_bytes(b"old")
    done = run(image.raw, tmp_path / "out")
    assert done.exit_code == 4
    assert "--force" in done.stderr
    assert (tmp_path / "out").read_bytes() == b"old"

    assert run(image.raw, tmp_path / "out", "--force", "--level", "1").exit_code == 0


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["none", "out"], 7, "No such file"),
        (["", "out"], 7, "cannot read"),
        (["empty", "out"], 5, "empty"),
        (["RAW", "."], 4, "no regular file"),
        (["RAW", "/dev/null", "--force"], 4, "no regular file"),
        (["RAW", "none/out"], 4, "no folder"),
        (["RAW", "out", "--level", "0"], 2, "level"),
        (["RAW", "out", "--level", "high"], 2, "level"),
        (["RAW", "out", "--chunk-size", "100K"], 2, "power of two"),
        (["RAW", "out", "--chunk-size", "1G"], 2, "power of two"),
        (["RAW", "out", "--threads", "0"], 2, "threads"),
        (["RAW", "out", "--threads", "-1"], 2, "threads"),
        (["RAW"], 2, "OUT"),
    ],
)
def test_wrong(image, tmp_path, monkeypatch, argv, code, words):
    """What cannot work ends in its exit code with one line, and leaves no OUT."""
    (tmp_path / "empty").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    done = run(*(str(image.raw) if word == "RAW" else word for word in argv))
    assert done.exit_code == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
