"""`hupfast bundle push` and `pull`, as a user meets them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from registries import PASSWORD, USER, Registry, basic_auth, docker_registry, make_bundle

from hupfast.cli import main


def run(*argv: str | Path) -> Result:
    """A command in this process; when it fails, it says why in one line."""
    result = CliRunner().invoke(main, ["bundle", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), "1.0")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants USER and PASSWORD."""
    folder = tmp_path_factory.mktemp("registry")
    with docker_registry(folder, auth=basic_auth(folder)) as running:
        yield running


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    """A file for --auth-file."""
    path = tmp_path / "auth"
    path.touch(0o600)
    path.write_text(f"basic {USER}:{PASSWORD}\n")
    return path


def test_there_and_back(registry: Registry, bundle: Path, auth: Path, tmp_path: Path) -> None:
    """Push says the address of exactly this bundle, and pull takes it."""
    pushed = run("push", bundle, f"oci://{registry.host}/os:1", "--auth-file", auth)
    assert pushed.exit_code == 0
    assert pushed.stdout.startswith("pushed os 1.0, ")
    assert "check" in pushed.stderr
    address = pushed.stdout.split()[-1]
    assert "@sha256:" in address
    pulled = run("pull", address, tmp_path / "out.hup", "--auth-file", auth)
    assert pulled.exit_code == 0
    assert pulled.stdout.startswith("pulled os 1.0, ")
    assert (tmp_path / "out.hup").read_bytes() == bundle.read_bytes()


def test_json(registry: Registry, bundle: Path, auth: Path, tmp_path: Path) -> None:
    """One document each, and both tell the same digests."""
    told = json.loads(run("push", bundle, f"oci://{registry.host}/json:1", "--auth-file", auth, "--json").stdout)
    assert told["ok"]
    assert told["sent"] + told["present"] > 300_000
    again = json.loads(run("pull", told["reference"], tmp_path / "x.hup", "--auth-file", auth, "--json").stdout)
    assert (again["digest"], again["manifest_sha256"]) == (told["digest"], told["manifest_sha256"])
    assert again["size"] == bundle.stat().st_size


def test_quiet(registry: Registry, bundle: Path, auth: Path, tmp_path: Path) -> None:
    """Not a word."""
    done = run("push", bundle, f"oci://{registry.host}/quiet:1", "--auth-file", auth, "-q")
    assert (done.exit_code, done.output) == (0, "")
    done = run("pull", f"oci://{registry.host}/quiet:1", tmp_path / "x.hup", "--auth-file", auth, "-q")
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["pull", "oci://HOST/os:none", "x.hup", "--auth-file", "AUTH"], 7, "is not in the registry"),
        (["pull", "oci://HOST/os:1", "x.hup"], 7, "--auth-file"),
        (["push", "BUNDLE", "oci://HOST/os:1"], 7, "--auth-file"),
        (["push", "BUNDLE", "oci://127.0.0.1:1/os:1"], 7, "is there a registry"),
        (["push", "BUNDLE", "oci://HOST/os"], 2, ":TAG"),
        (["push", "none.hup", "oci://HOST/os:1"], 2, "none.hup is no file"),
        (["push", "BUNDLE", "oci://a:secret@HOST/os:1"], 2, "--auth-file"),
        (["pull", "oci://HOST/os:1", "BUNDLE"], 4, "--force"),
    ],
)
def test_what_goes_wrong(
    registry: Registry,
    bundle: Path,
    auth: Path,
    argv: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exit code, and one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    values = {"HOST": registry.host, "AUTH": str(auth), "BUNDLE": str(bundle)}
    for name, value in values.items():
        argv = [word.replace(name, value) for word in argv]
    done = run(*argv)
    assert done.exit_code == code
    message = done.stderr.splitlines()[-1]
    assert message.startswith("hupfast: ")
    assert words in message
    assert "secret" not in message


def test_both_are_listed() -> None:
    """`hupfast bundle --help` has them."""
    told = run("--help").stdout
    assert "push " in told
    assert "pull " in told
