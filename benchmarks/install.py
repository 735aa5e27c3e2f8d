"""
hupfast as users have it: a release wheel in an environment of its own, not the editable install of this tree.

An editable install asks meson at every start whether anything changed, which costs time and memory that no
user pays. The dependencies are those of the environment that runs the benchmarks.
"""

import hashlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.images import Images, kept
from benchmarks.machine import BenchmarkError, run

SUFFIXES = frozenset({".c", ".h", ".py", ".toml", ".build"})

TREE = Path(__file__).resolve().parent.parent


def _digest(files: Iterable[Path]) -> str:
    """Changes when one of the files does, or when one comes or goes."""
    state = hashlib.sha256()
    for path in files:
        if path.is_file():
            state.update(f"{path.relative_to(TREE)}\0{path.stat().st_size}\0".encode())
            state.update(path.read_bytes())
    return state.hexdigest()


def fingerprint() -> str:
    """Changes when anything that goes into the wheel does."""
    files = [TREE / name for name in ("pyproject.toml", "meson.build", "meson.options", "build_ffi.py")]
    for folder in ("csrc", "hupfast"):
        files += sorted(path for path in (TREE / folder).rglob("*") if path.suffix in SUFFIXES)
    return _digest(files)[:16]


def program(directory: Path) -> Path:
    """
    The hupfast program to measure, below directory, built when the sources have changed.

    Raises: BenchmarkError when it does not build.
    """
    folder = directory / f"hupfast-{fingerprint()}"
    binary, ready = folder / "env" / "bin" / "hupfast", folder / "ready"
    if ready.exists():
        return binary
    for old in directory.glob("hupfast-*"):
        shutil.rmtree(old)
    environment(TREE, folder)
    ready.touch()
    return binary


def environment(tree: Path, folder: Path) -> Path:
    """
    Build the sources in `tree`, and install them into an environment `env` in a folder. Returns its bin/.

    Raises: BenchmarkError when they do not build.
    """
    programs = folder / "env" / "bin"
    bin_folder = Path(sys.executable).parent  # not resolved: the environment's, where ninja and meson are
    path = {"PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    wheels = folder / "wheel"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    here = ["--quiet", "--no-deps", "--no-index"]
    run([*pip, "wheel", *here, "--no-build-isolation", "--wheel-dir", wheels, tree], env=path)
    run([sys.executable, "-m", "venv", "--without-pip", folder / "env"])
    [wheel] = wheels.glob("*.whl")
    run([*pip, "--python", folder / "env", "install", *here, wheel])
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = run([programs / "python", "-c", ask])
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # A line with a path only adds it: the editable install's own hook, in there, is not run.
    Path(site.strip(), "dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(paths)))
    run([programs / "hupfast", "write", "--help"])
    return programs


def pack(images: Images, hupfast: Path) -> Images:
    """The images with the two chunked forms, which are kept as long as the packing code stays the same."""
    folder = images.raw.parent
    code = _digest(TREE / "hupfast" / name for name in ("image.py", "table.py"))
    facts = folder / "packed.json"
    if facts.exists() and kept(facts, dict).get("code") != code:
        facts.unlink()
    ours, default = folder / "chunked-3.zst", folder / "chunked.zst"

    def make() -> dict[str, object]:
        for path in (ours, default):
            path.unlink(missing_ok=True)
        run([hupfast, "pack", "--level", "3", images.raw, ours])
        run([hupfast, "pack", images.raw, default])
        return {"code": code}

    kept(facts, make)
    if not ours.exists() or not default.exists():
        raise BenchmarkError(f"hupfast pack left nothing in {folder}: remove {facts} and run again")
    return replace(images, chunked3=ours, chunked=default)
