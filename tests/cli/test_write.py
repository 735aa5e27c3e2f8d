"""`hupfast write` and `hupfast verify`, as a user meets them."""

import gzip
import hashlib
import http.server
import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hupfast.cli import main

OLD = b"old "


def run(*argv: str | Path) -> Result:
    """A command in this process, without a terminal; when it fails, its last word is one line and no traceback."""
    result = CliRunner().invoke(main, [str(word) for word in argv])
    assert "Traceback" not in result.output
    if result.exit_code and "--json" not in argv:
        assert result.stderr.splitlines()[-1].startswith("hupfast: ")
    return result


def spawn(*argv: str | Path, stdin: object) -> subprocess.CompletedProcess[str]:
    """The program, with a standard input of its own."""
    command = [sys.executable, "-m", "hupfast", *map(str, argv)]
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True)


@pytest.fixture
def target(tmp_path):
    """A file of 14 MiB with old content."""
    path = tmp_path / "target"
    path.write_bytes(OLD * (14 * 2**18))
    return path


def untouched(target: Path) -> bool:
    return target.read_bytes() == OLD * (14 * 2**18)


def holds(target: Path, image) -> bool:
    data = target.read_bytes()
    return data[: len(image.bytes)] == image.bytes and set(data[len(image.bytes) :]) <= set(OLD)


# ---- writing ----


@pytest.mark.parametrize("kind", ["raw", "zst", "chunked"])
def test_write_and_verify(image, target, kind):
    """An image of each kind is written, said to be verified, and verify agrees."""
    source = getattr(image, kind)
    done = run("write", "--yes", source, target)
    assert done.exit_code == 0
    assert holds(target, image)
    assert done.stdout.startswith("wrote 12.0 MiB in ")
    assert "read back and compared" in done.stdout

    done = run("verify", source, target)
    assert done.exit_code == 0
    assert done.stdout.startswith("compared 12.0 MiB in ")


def test_new_file(image, tmp_path):
    """A file that does not exist is made, without a question, since nothing is lost."""
    assert run("write", image.chunked, tmp_path / "new").exit_code == 0
    assert (tmp_path / "new").read_bytes() == image.bytes


def test_standard_input(image, target):
    """- reads the image from standard input, file or pipe."""
    with image.zst.open("rb") as file:
        assert spawn("write", "--yes", "-", target, stdin=file).returncode == 0
    assert holds(target, image)

    with subprocess.Popen(["cat", image.chunked], stdout=subprocess.PIPE) as cat:
        assert spawn("verify", "-", target, stdin=cat.stdout).returncode == 0


def test_address(image, target, monkeypatch):
    """An image is fetched from its address."""
    monkeypatch.setenv("no_proxy", "*")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(image.raw.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        address = f"http://127.0.0.1:{server.server_port}"
        done = run("write", "--yes", "--json", f"{address}/{image.chunked.name}?token=x", target)
        missing = run("write", "--yes", f"{address}/none", target)
        server.shutdown()

    assert done.exit_code == 0
    assert json.loads(done.stdout)["image"] == f"{address}/{image.chunked.name}?..."
    assert holds(target, image)
    assert missing.exit_code == 7
    assert "404" in missing.stderr


def test_gzip_shows_how_much_was_read(image, target, tmp_path):
    """The progress of a compressed file is that of the file, since its raw size is unknown."""
    (tmp_path / "image.gz").write_bytes(gzip.compress(image.bytes, 1))
    done = run("write", "--yes", tmp_path / "image.gz", target)
    assert done.exit_code == 0
    assert holds(target, image)


def test_json(image, target):
    """--json prints one document with all figures of the report."""
    done = run("write", "--yes", "--quiet", "--json", image.chunked, target)
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert (document["ok"], document["exit_code"]) == (True, 0)
    assert (document["image"], document["target"]) == (str(image.chunked), str(target))
    assert (document["format"], document["verified"]) == ("chunked", True)
    assert document["image_size"] == len(image.bytes) == document["written"] + document["zeroed"]
    assert document["bytes_in"] == image.chunked.stat().st_size


def test_quiet(image, target):
    """-q says nothing when all is well."""
    done = run("write", "-yq", image.raw, target)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


def test_no_verify(image, target):
    """Without the read-back the result says so."""
    done = run("write", "--yes", "--no-verify", image.raw, target)
    assert "not read back" in done.stdout
    assert "verify " not in done.stderr


def test_skip_unchanged(image, target):
    """What is there already is left alone, and counted."""
    run("write", "-yq", image.raw, target)
    document = json.loads(run("write", "-yq", "--json", "--skip-unchanged", image.raw, target).stdout)
    assert document["written"] == 0
    assert document["unchanged"] > 0


def test_sha256(image, target):
    """The right SHA-256 of the file lets it be written, in capitals too; a wrong one is exit 5, before a byte."""
    wrong = run("write", "-y", "--sha256", "0" * 64, image.zst, target)
    assert wrong.exit_code == 5
    assert untouched(target)

    digest = hashlib.sha256(image.zst.read_bytes()).hexdigest()
    assert run("write", "-yq", "--sha256", digest.upper(), image.zst, target).exit_code == 0
    assert holds(target, image)


def bmap_of(image, path: Path, *, spoil: bool = False) -> Path:
    """A block map of the first MiB and the end of an image."""
    blocks = [(0, 255), (3000, (len(image.bytes) - 1) // 4096)]
    digests = [hashlib.sha256(image.bytes[first * 4096 : (last + 1) * 4096]).hexdigest() for first, last in blocks]
    if spoil:
        digests[1] = "0" * 64
    ranges = "".join(f'<Range chksum="{d}">{a}-{b}</Range>' for d, (a, b) in zip(digests, blocks, strict=True))
    text = (
        f'<bmap version="2.0"><ImageSize>{len(image.bytes)}</ImageSize><BlockSize>4096</BlockSize>'
        f"<ChecksumType>sha256</ChecksumType><BmapFileChecksum>{'0' * 64}</BmapFileChecksum>"
        f"<BlockMap>{ranges}</BlockMap></bmap>"
    )
    path.write_text(text.replace(f">{'0' * 64}<", f">{hashlib.sha256(text.encode()).hexdigest()}<"))
    return path


@pytest.mark.parametrize("kind", ["raw", "zst", "chunked"])
def test_bmap(image, target, tmp_path, kind):
    """Only what the block map lists is written, and compared; the rest stays as it was."""
    bmap = bmap_of(image, tmp_path / "image.bmap")
    done = run("write", "-y", "--bmap", bmap, getattr(image, kind), target)
    assert done.exit_code == 0, done.stderr
    assert "not in the block map" in done.stdout

    data = target.read_bytes()
    assert data[: 2**20] == image.bytes[: 2**20]
    assert data[2**20 : 3000 * 4096] == (OLD * (14 * 2**18))[2**20 : 3000 * 4096]
    assert data[3000 * 4096 : len(image.bytes)] == image.bytes[3000 * 4096 :]
    assert run("verify", "--bmap", bmap, getattr(image, kind), target).exit_code == 0
    assert run("verify", getattr(image, kind), target).exit_code == 6


def test_bmap_with_a_wrong_checksum(image, target, tmp_path):
    """A range without its checksum is exit 5, and nothing was written, not even the ranges before it."""
    bmap = bmap_of(image, tmp_path / "image.bmap", spoil=True)
    assert run("write", "-y", "--bmap", bmap, image.zst, target).exit_code == 5
    assert untouched(target)


def test_bmap_beside_the_image_is_not_used(image, tmp_path):
    """A block map counts only when it is named."""
    source = tmp_path / "image.img"
    source.write_bytes(image.bytes)
    bmap_of(image, tmp_path / "image.img.bmap", spoil=True)
    assert run("write", source, tmp_path / "new").exit_code == 0
    assert (tmp_path / "new").read_bytes() == image.bytes


def test_verify_finds_a_flipped_bit(image, target):
    """verify names the bytes that differ, and exits with 6."""
    run("write", "-yq", image.raw, target)
    with target.open("r+b") as file:
        file.seek(5_000_000)
        byte = file.read(1)[0]
        file.seek(5_000_000)
        file.write(bytes([byte ^ 1]))

    done = run("verify", "--json", "-q", image.raw, target)
    document = json.loads(done.stdout)
    assert (done.exit_code, document["kind"]) == (6, "MismatchError")
    assert document["offset"] <= 5_000_000 < document["offset"] + document["length"]


# ---- refusals ----


def test_no_terminal_and_no_yes(image, target):
    """Without a terminal and without --yes nothing is overwritten."""
    done = run("write", image.raw, target)
    assert done.exit_code == 4
    assert "--yes" in done.stderr
    assert untouched(target)

    with image.raw.open("rb") as file:
        done = spawn("write", "-", target, stdin=file)
    assert done.returncode == 4
    assert "standard input is the image" in done.stderr
    assert untouched(target)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["none", "TARGET"], 7, "No such file"),
        ([".", "TARGET"], 7, "Is a directory"),
        (["", "TARGET"], 7, "an empty name"),
        (["RAW", "/dev/mmcblk9p9"], 4, "check the name"),
        (["RAW", "/"], 4, "a folder"),
        (["RAW", "/dev/null"], 4, "character device"),
        (["RAW", "none/new"], 4, "no folder"),
        (["RAW", "SMALL"], 4, "has room for 1000"),
        (["EMPTY", "TARGET"], 5, "is empty"),
        (["TAR", "TARGET"], 5, "a tar archive"),
        (["TARGET", "TARGET"], 4, "the image itself"),
        (["ZST", "TARGET", "--memory", "64K"], 4, "memory budget"),
        (["RAW", "TARGET", "--memory", "16X"], 2, "is no size"),
        (["RAW", "TARGET", "--sha256", "abc"], 2, "64 hexadecimal digits"),
        (["RAW", "TARGET", "--bmap", "none"], 7, "No such file"),
        (["RAW", "TARGET", "--bmap", "RAW"], 5, "no block map"),
        (["ftp://host/x", "TARGET"], 2, "not understood"),
        (["http://127.0.0.1:1/x", "TARGET"], 7, "Connection refused"),
        (["http://", "TARGET"], 2, "not an address"),
    ],
)
def test_refusals(image, target, tmp_path, monkeypatch, argv, code, words):
    """What cannot work ends in its exit code with one line, before a byte of the target has changed."""
    (tmp_path / "small").write_bytes(bytes(1000))
    (tmp_path / "empty").write_bytes(b"")
    with tarfile.open(tmp_path / "tar", "w") as tar:
        tar.add(tmp_path / "small")
    names = {
        "RAW": str(image.raw),
        "ZST": str(image.zst),
        "TARGET": str(target),
        "SMALL": str(tmp_path / "small"),
        "EMPTY": str(tmp_path / "empty"),
        "TAR": str(tmp_path / "tar"),
    }
    monkeypatch.chdir(tmp_path)
    done = run("write", "--yes", *(names.get(word, word) for word in argv))
    assert done.exit_code == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert untouched(target)


def test_empty_standard_input(target):
    """A program in front of the pipe that failed leaves an empty image, which is exit 5."""
    done = spawn("write", "--yes", "-", target, stdin=subprocess.DEVNULL)
    assert done.returncode == 5
    assert done.stderr == "hupfast: standard input is empty: there is no image in it\n"
    assert untouched(target)


def test_refused_before_the_question(image, tmp_path):
    """A target that cannot be written is refused though nobody could have been asked."""
    (tmp_path / "small").write_bytes(bytes(1000))
    assert "has room for 1000" in run("write", image.raw, tmp_path / "small").stderr


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["RAW", "none"], 4, "does not exist"),
        (["RAW", "SMALL"], 4, "has room for"),
        (["none", "SMALL"], 7, "No such file"),
    ],
)
def test_verify_refusals(image, tmp_path, monkeypatch, argv, code, words):
    """verify makes nothing and needs the whole image on the target."""
    (tmp_path / "small").write_bytes(bytes(1000))
    names = {"RAW": str(image.raw), "SMALL": str(tmp_path / "small")}
    monkeypatch.chdir(tmp_path)
    done = run("verify", *(names.get(word, word) for word in argv))
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("cut", [10, 5000, -1])
@pytest.mark.parametrize("kind", ["zst", "chunked"])
def test_cut_image(image, target, tmp_path, kind, cut):
    """An image that is cut short is exit 5, wherever it is cut."""
    (tmp_path / "cut").write_bytes(getattr(image, kind).read_bytes()[:cut])
    assert run("write", "--yes", tmp_path / "cut", target).exit_code == 5


# ---- a terminal ----


def on_terminal(*argv: str | Path, answer: bytes) -> tuple[int, str]:
    """Run on a terminal of 80 columns where `answer` is typed at the question; exit code, and what was shown."""
    pid, leader = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "vt100"
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job's children would not see Ctrl-C
        os.execv(sys.executable, [sys.executable, "-m", "hupfast", *map(str, argv)])
    shown = b""
    while True:
        try:
            data = os.read(leader, 4096)
        except OSError:
            break
        shown += data
        if answer and b"[y/N] " in shown:
            os.write(leader, answer)
            answer = b""
    os.close(leader)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_asked_and_agreed(image, target):
    """On a terminal the question names target and size, and y lets it be written."""
    code, shown = on_terminal("write", image.raw, target, answer=b"y\n")
    assert code == 0
    assert f"Overwrite {target} (14.0 MiB)? [y/N] " in shown
    assert holds(target, image)


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04", b"\x03"])
def test_asked_and_not_agreed(image, target, answer):
    """Anything else leaves the target alone: exit 4, or 1 for Ctrl-C."""
    code, shown = on_terminal("write", image.raw, target, answer=answer)
    assert code == (1 if answer == b"\x03" else 4)
    assert "hupfast: " in shown
    assert "Traceback" not in shown
    assert untouched(target)


def test_question_about_a_device(image, device):
    """The question about a device names what the kernel knows of it."""
    code, shown = on_terminal("write", image.raw, device, answer=b"n\n")
    assert code == 4
    assert f"Overwrite all of {device} (16.0 MiB, loop device of " in shown


def test_no_image_on_a_terminal(target):
    """- on a terminal is wrong usage: nobody types an image."""
    code, shown = on_terminal("write", "--yes", "-", target, answer=b"")
    assert code == 2
    assert "standard input is a terminal" in shown


# ---- signals ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_cleanly(image, target, number):
    """A signal in the middle of a write is exit 1 with one line that says how the target is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hupfast", "write", "--yes", "-q", "-", str(target)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=False,
    )
    assert process.stdin is not None
    process.stdin.write(image.bytes[: 6 * 2**20])
    process.stdin.flush()
    deadline = time.monotonic() + 10
    while untouched(target) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate()

    assert process.returncode == 1
    assert err.decode() == (
        f"hupfast: interrupted: {target} may hold a part of the image only; run the same command again\n"
    )


def test_ignored_signal_stays_ignored(image, target):
    """Under nohup, SIGHUP does not end the write."""
    script = f"trap '' HUP; exec {sys.executable} -m hupfast write -yq - {target}"
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(image.bytes[: 6 * 2**20])
    process.stdin.flush()
    time.sleep(0.5)
    process.send_signal(signal.SIGHUP)
    process.communicate(image.bytes[6 * 2**20 :])
    assert process.returncode == 0
    assert holds(target, image)
