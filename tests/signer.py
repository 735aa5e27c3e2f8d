"""Keys and signatures made by openssl, whose own command line is the oracle for all of ours."""

import shutil
import subprocess
from pathlib import Path

import pytest


def openssl(*argv: str | Path, input: bytes = b"") -> bytes:
    """Run openssl; it must succeed. Skips the test when it is not installed."""
    if not shutil.which("openssl"):
        pytest.skip("the openssl program is not installed")
    done = subprocess.run(["openssl", *map(str, argv)], input=input, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def make_pair(folder: Path, name: str = "release", algorithm: str = "ed25519") -> tuple[Path, Path]:
    """NAME.key and NAME.pem: a private key and its public one."""
    private, public = folder / f"{name}.key", folder / f"{name}.pem"
    openssl("genpkey", "-algorithm", algorithm, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def key_id(public: Path) -> str:
    """What names a public key, by openssl and sha256sum."""
    der = openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
    return subprocess.run(["sha256sum"], input=der, capture_output=True, check=True).stdout.decode().split()[0]


def sign(private: Path, data: bytes) -> bytes:
    """The 64 bytes of a signature."""
    message = private.with_suffix(".message")
    message.write_bytes(data)
    return openssl("pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", message)


def verifies(public: Path, data: bytes, signature: bytes) -> bool:
    """Whether openssl takes a signature."""
    message, raw = public.with_suffix(".message"), public.with_suffix(".raw")
    message.write_bytes(data)
    raw.write_bytes(signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", message, "-sigfile", raw]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0 and b"Verified Successfully" in done.stdout
