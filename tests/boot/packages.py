"""Debian packages and sources for any processor, fetched with the host's apt and without changing the host."""

import re
import subprocess
from pathlib import Path


def run(*command: object, cwd: Path | None = None) -> str:
    """A program that must not fail."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, (
        f"{' '.join(words)} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    )
    return done.stdout


class Apt:
    """The host's apt, for another processor, with lists, cache and status of its own."""

    def __init__(self, architecture: str, folder: Path) -> None:
        self._architecture = architecture
        self.archives = folder / "archives"
        for path in (self.archives / "partial", folder / "lists/partial"):
            path.mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        sources = _sources(folder)
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "Dir::State::Lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache::archives": self.archives,
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "APT::Install-Recommends": 0,
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": 1,
            "Acquire::Retries": 3,
        }
        self._options = [str(word) for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self("update", "-qq")

    def __call__(self, *words: object, program: str = "apt-get") -> str:
        return run(*self._command(program), *words)

    def _command(self, program: str) -> list[str]:
        return [program, *self._options]

    def kernel(self) -> str:
        """The package that linux-image-cloud stands for today."""
        name = f"linux-image-cloud-{self._architecture}"
        found = re.search(r"Depends: (linux-image-\S+)", self("depends", name, program="apt-cache"))
        assert found, f"apt knows no {name}"
        return found[1]

    def unpack(self, tree: Path, *packages: str) -> None:
        """The packages and all that they need."""
        before = set(self.archives.glob("*.deb"))
        self("install", "-y", "--download-only", *packages)
        tree.mkdir()
        for package in sorted(set(self.archives.glob("*.deb")) - before):
            run("dpkg", "-x", package, tree)

    def source(self, package: str) -> Path:
        """The upstream archive of a source package."""
        folder = self.archives.parent / "source"
        folder.mkdir(exist_ok=True)
        run(*self._command("apt-get"), "source", "--download-only", package, cwd=folder)
        return next(folder.glob("*.orig.tar.*"))


def _sources(folder: Path) -> Path:
    """The host's Debian sources, in either form that they have, with the sources of packages."""
    new, old = Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")
    if new.exists():
        text = re.sub("^Types: deb$", "Types: deb deb-src", new.read_text(), flags=re.MULTILINE)
    else:
        text = re.sub("^deb (.*)$", r"deb \1\ndeb-src \1", old.read_text(), flags=re.MULTILINE)
    file = folder / (new if new.exists() else old).name
    file.write_text(text)
    return file
