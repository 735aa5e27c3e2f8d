"""libhupfast for C programs: it installs, pkg-config finds it, and the example in csrc/examples works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import content, sanitized

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(sanitized(), reason="the C library is built once, without sanitizers; tests/c runs with them")
def test_example(image, tmp_path):
    """The example is built against the installed library as its comment says, and writes an image."""
    meson = Path(sys.executable).with_name("meson")
    if not meson.exists() or not shutil.which("pkg-config"):
        pytest.skip("meson or pkg-config is not installed")
    build, prefix = tmp_path / "build", tmp_path / "usr"
    env = {**os.environ, "PATH": f"{meson.parent}:{os.environ['PATH']}"}
    setup = [
        meson,
        "setup",
        build,
        ROOT,
        "-Dpython=false",
        "-Dlibrary=true",
        f"--prefix={prefix}",
        "--libdir=lib",
    ]
    for command in (setup, [meson, "install", "-C", build]):
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
    env["PKG_CONFIG_PATH"] = str(prefix / "lib/pkgconfig")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "hupfast"], check=True, env=env, capture_output=True, text=True
    ).stdout.split()
    program, target = tmp_path / "write", tmp_path / "target"
    subprocess.run(["cc", "-Wall", "-Werror", ROOT / "csrc/examples/write.c", *flags, "-o", program], check=True)
    target.write_bytes(b"x" * 13 * 2**20)

    done = subprocess.run(
        [program, image.chunked, target],
        env={"LD_LIBRARY_PATH": str(prefix / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(f"{len(image.bytes)} bytes")
    assert content(target, len(image.bytes)) == image.bytes
    failed = subprocess.run(
        [program, image.chunked, tmp_path / "none"],
        env={"LD_LIBRARY_PATH": str(prefix / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 1
    assert "No such file" in failed.stderr
