"""Pulling bundles, and what skopeo does with them in between."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from registries import PASSWORD, USER, Registry, basic_auth, docker_registry, front, need, token_server

from hupfast.errors import DataError, DigestError, Refused, SourceError, UsageError
from hupfast.oci.pull import pull
from hupfast.oci.push import push
from hupfast.source.transport import Transport

FAST = Transport(sleep=lambda seconds: None)


def skopeo(*argv: str | Path) -> str:
    """What skopeo says."""
    need("skopeo")
    done = subprocess.run(["skopeo", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_file_comes_back(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """By its tag and by its digest, byte for byte; cmp says so."""
    pushed = push(str(bundle), f"oci://{registry.host}/back/os:1")
    for number, address in enumerate((f"oci://{registry.host}/back/os:1", pushed.reference)):
        out = tmp_path / f"{number}.hup"
        pulled = pull(address, out)
        subprocess.run(["cmp", bundle, out], check=True)
        assert (pulled.digest, pulled.manifest_sha256) == (pushed.digest, pushed.manifest_sha256)
        assert (pulled.name, pulled.version, pulled.size) == ("os", "1.0", bundle.stat().st_size)


def test_skopeo_lists_and_shows(registry: Registry, bundle: Path, other_bundle: Path) -> None:
    """The tags, and the manifest with its kind."""
    push(str(bundle), f"oci://{registry.host}/listed/os:1")
    push(str(other_bundle), f"oci://{registry.host}/listed/os:2")
    where = f"docker://{registry.host}/listed/os"
    assert sorted(json.loads(skopeo("list-tags", "--tls-verify=false", where))["Tags"]) == ["1", "2"]
    shown = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"{where}:2"))
    assert shown["artifactType"] == "application/vnd.hupfast.bundle.v1"
    assert shown["annotations"]["org.opencontainers.image.version"] == "2.0"


def test_skopeo_copies_to_a_folder_and_back(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """Through an OCI layout into another repository: what is pulled from there is the same file."""
    pushed = push(str(bundle), f"oci://{registry.host}/copied/os:1")
    source, layout = f"docker://{registry.host}/copied/os:1", f"oci:{tmp_path}/layout:1"
    skopeo("copy", "--src-tls-verify=false", source, layout)
    assert (tmp_path / "layout/blobs/sha256" / pushed.digest[7:]).is_file()
    skopeo("copy", "--dest-tls-verify=false", layout, f"docker://{registry.host}/copy/of/os:x")
    pulled = pull(f"oci://{registry.host}/copy/of/os:x", tmp_path / "out.hup")
    assert pulled.digest == pushed.digest
    subprocess.run(["cmp", bundle, tmp_path / "out.hup"], check=True)


def test_skopeo_copies_between_registries(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """Straight into another registry that wants a password."""
    push(str(bundle), f"oci://{registry.host}/straight/os:1")
    with docker_registry(tmp_path / "registry", auth=basic_auth(tmp_path)) as other:
        skopeo(
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            f"--dest-creds={USER}:{PASSWORD}",
            f"docker://{registry.host}/straight/os:1",
            f"docker://{other.host}/os:1",
        )
        words = tmp_path / "auth"
        words.touch(0o600)
        words.write_text(f"basic {USER}:{PASSWORD}")
        pull(f"oci://{other.host}/os:1", tmp_path / "out.hup", transport=Transport(auth_file=str(words)))
    subprocess.run(["cmp", bundle, tmp_path / "out.hup"], check=True)


def test_with_tokens(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One token is enough for all blobs, and without a password there is no bundle."""
    monkeypatch.setenv("HUPFAST_AUTH", f"basic {USER}:{PASSWORD}")
    with (
        token_server(tmp_path / "tokens") as tokens,
        docker_registry(tmp_path / "registry", auth=tokens.auth) as guarded,
    ):
        push(str(bundle), f"oci://{guarded.host}/os:1")
        tokens.asked.clear()
        pull(f"oci://{guarded.host}/os:1", tmp_path / "out.hup")
        assert [query["scope"] for query, _ in tokens.asked] == ["repository:os:pull"]
        monkeypatch.delenv("HUPFAST_AUTH")
        with pytest.raises(SourceError, match="--auth-file"):
            pull(f"oci://{guarded.host}/os:1", tmp_path / "none.hup")
    subprocess.run(["cmp", bundle, tmp_path / "out.hup"], check=True)
    assert not (tmp_path / "none.hup").exists()


@pytest.mark.parametrize("layer", [0, 4, 6])
def test_a_blob_that_is_damaged_in_the_registry(bundle: Path, tmp_path: Path, layer: int) -> None:
    """One flipped bit of a manifest, a boot file or an image: exit 5, and no file."""
    with docker_registry(tmp_path / "registry") as registry:
        pushed = push(str(bundle), f"oci://{registry.host}/os:1")
        layers = json.loads(registry.blob(pushed.digest).read_bytes())["layers"]
        blob = registry.blob(layers[layer]["digest"])
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(data)
        (tmp_path / "out").mkdir()
        with pytest.raises(DataError) as caught:
            pull(f"oci://{registry.host}/os:1", tmp_path / "out/os.hup")
    assert caught.value.exit_code == 5
    assert isinstance(caught.value, DigestError) or layer == 0
    assert list((tmp_path / "out").iterdir()) == []


def test_a_connection_that_breaks(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """It goes on by ranges: what is sent in all is hardly more than the bundle."""
    push(str(bundle), f"oci://{registry.host}/breaks/os:1")
    with front(registry, drop_after=20_000) as before:
        pulled = pull(f"oci://{before.host}/breaks/os:1", tmp_path / "out.hup", transport=FAST)
        assert before.sent < bundle.stat().st_size + 10_000
    subprocess.run(["cmp", bundle, tmp_path / "out.hup"], check=True)
    assert pulled.fetched < bundle.stat().st_size + 10_000


def test_a_connection_that_never_holds(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """Exit 7 in the end; the file that was there before is as it was, and nothing lies beside it."""
    push(str(bundle), f"oci://{registry.host}/never/os:1")
    (tmp_path / "out.hup").write_bytes(b"old")
    with front(registry, drop_after=0) as before, pytest.raises(SourceError, match="run the same command again"):
        pull(f"oci://{before.host}/never/os:1", tmp_path / "out.hup", force=True, transport=FAST)
    assert (tmp_path / "out.hup").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.hup"]


def test_a_file_that_exists(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """It is replaced with force only; without, nothing is asked."""
    push(str(bundle), f"oci://{registry.host}/exists/os:1")
    (tmp_path / "out.hup").write_bytes(b"old")
    before = len(registry.requests())
    with pytest.raises(Refused, match="--force"):
        pull(f"oci://{registry.host}/exists/os:1", tmp_path / "out.hup")
    assert len(registry.requests()) == before
    pull(f"oci://{registry.host}/exists/os:1", tmp_path / "out.hup", force=True)
    subprocess.run(["cmp", bundle, tmp_path / "out.hup"], check=True)


@pytest.mark.parametrize(("out", "error"), [(".", UsageError), ("none/x.hup", UsageError), ("/dev/x.hup", Refused)])
def test_places_where_no_file_can_be(tmp_path: Path, out: str, error: type[Exception]) -> None:
    """They are refused before the registry is asked."""
    with pytest.raises(error):
        pull("oci://127.0.0.1:1/os:1", tmp_path / out)


def test_layers_that_are_not_those_of_the_manifest(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    """An artifact that somebody else made of other members: exit 5, and no file."""
    pushed = push(str(bundle), f"oci://{registry.host}/mixed/os:1")
    document = json.loads(registry.blob(pushed.digest).read_bytes())
    del document["layers"][1]
    with front(registry) as before:
        before.manifest = lambda path: (200, json.dumps(document).encode())  # type: ignore[method-assign]
        with pytest.raises(DataError, match=r"does not hold what its manifest\.json says"):
            pull(f"oci://{before.host}/mixed/os:1", tmp_path / "out.hup")
    assert not (tmp_path / "out.hup").exists()
