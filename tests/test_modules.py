"""Loaded kernel modules that the running system has no file for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hupfast.errors import HupfastError
from hupfast.modules import custom_modules

RELEASE = "6.1.21-v8+"


def board(root: Path, loaded: str, files: tuple[str, ...] = (), lib: str = "lib") -> Path:
    """A system with loaded modules, by their names, and with files below its directory of modules."""
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/osrelease").write_text(f"{RELEASE}\n")
    (root / "proc/modules").write_text("".join(f"{name} 16384 1 - Live 0x0\n" for name in loaded.split()))
    for file in files:
        path = root / lib / "modules" / RELEASE / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize("suffix", ["ko", "ko.xz", "ko.zst", "ko.gz"])
def test_a_module_is_known_by_its_file(tmp_path: Path, suffix: str) -> None:
    """In any directory, packed or not, with - for _; what has no file is custom."""
    files = (f"kernel/net/snd-soc_x.{suffix}", f"extra/dvb.{suffix}", "kernel/vendor.ko.sig", "vendor.txt")
    assert custom_modules(board(tmp_path, "zz_driver snd_soc_x vendor dvb", files)) == ["vendor", "zz_driver"]


def test_usr_lib_is_looked_at_too(tmp_path: Path) -> None:
    """Where /lib is no link to it, or a link that leads out of a container, and where the two are one."""
    (tmp_path / "lib").symlink_to("/nowhere")
    root = board(tmp_path, "dvb own", ("dvb.ko",), lib="usr/lib")
    assert custom_modules(root) == ["own"]
    (tmp_path / "lib").unlink()
    (tmp_path / "lib").symlink_to("usr/lib")
    assert custom_modules(root) == ["own"]


def test_a_built_in_module_is_no_problem(tmp_path: Path) -> None:
    """It is named in modules.builtin, and has no file."""
    root = board(tmp_path, "ext4 own", ("modules.builtin",))
    (root / "lib/modules" / RELEASE / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/lib/x.ko\n")
    assert custom_modules(root) == ["own"]


@pytest.mark.parametrize("gone", ["proc/modules", "proc/sys/kernel/osrelease", f"lib/modules/{RELEASE}"])
def test_nothing_is_said_without_the_facts(tmp_path: Path, gone: str) -> None:
    """No modules at all, an unknown kernel, a kernel whose modules are not there."""
    root = board(tmp_path, "own", ("modules.builtin",))
    shutil.rmtree(root / gone) if (root / gone).is_dir() else (root / gone).unlink()
    assert custom_modules(root) == []


def test_the_modules_of_another_kernel_do_not_count(tmp_path: Path) -> None:
    """A file of an older release is not what the loaded module came from."""
    root = board(tmp_path, "own", ("modules.builtin",))
    (root / "lib/modules/5.10").mkdir()
    (root / "lib/modules/5.10/own.ko").touch()
    assert custom_modules(root) == ["own"]


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that could not be seen are not called custom."""
    root = board(tmp_path, "own", ("modules.builtin",))

    def denied(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", denied)
    with pytest.raises(HupfastError, match=r"cannot look for kernel modules in .*Permission denied"):
        custom_modules(root)


def test_modinfo_says_the_same(tmp_path: Path) -> None:
    """modinfo finds a file exactly for the modules that are not custom."""
    for program in ("gcc", "xz", "zstd", "depmod", "modinfo"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            pytest.skip(f"{program} is not installed")
    names = ["my_own", "plain_one", "packed_xz", "packed-zst", "other"]
    root = board(tmp_path, " ".join(name.replace("-", "_") for name in names), ("kernel/a/plain-one.ko",))
    plain = root / "lib/modules" / RELEASE / "kernel/a/plain-one.ko"
    source = b'__attribute__((section(".modinfo"), used)) static const char text[] = "license=GPL";'
    subprocess.run(["gcc", "-x", "c", "-c", "-", "-o", plain], input=source, check=True)
    for name, argv in (("packed_xz.ko.xz", ["xz", "-c"]), ("packed-zst.ko.zst", ["zstd", "-qc"])):
        packed = subprocess.run([*argv, plain], capture_output=True, check=True).stdout
        (plain.parent / name).write_bytes(packed)
    made = subprocess.run(["/usr/sbin/depmod", "-b", root, RELEASE], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"depmod does not work here: {made.stderr.strip()}")
    modinfo = ["/usr/sbin/modinfo", "-b", root, "-k", RELEASE, "-F", "filename"]
    custom = [
        name for name in names if subprocess.run([*modinfo, name], capture_output=True, check=False).returncode != 0
    ]

    assert custom == ["my_own", "other"]
    assert custom_modules(root) == custom


def test_lsmod_and_modinfo_of_this_machine_say_the_same() -> None:
    """On a real kernel with modules."""
    if not Path("/proc/modules").exists():
        pytest.skip("this kernel has no modules")
    if not (Path("/lib/modules") / Path("/proc/sys/kernel/osrelease").read_text().strip()).is_dir():
        pytest.skip("the modules of this kernel are not in /lib/modules")
    if not shutil.which("lsmod") or not shutil.which("modinfo"):
        pytest.skip("lsmod and modinfo are not installed")
    lines = subprocess.run(["lsmod"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    custom = [
        name
        for name in sorted(line.split()[0] for line in lines)
        if subprocess.run(["modinfo", "-F", "filename", name], capture_output=True, check=False).returncode != 0
    ]
    assert custom_modules(Path("/")) == custom
