"""
A small Debian system with hupfast in it, made from packages without a chroot and without changing the host.

`build(target, folder)` downloads the packages' closure with the host's own apt, for the board's processor (lists and
cache are the folder's own, against an empty dpkg status), unpacks them, and leaves `tree/` (the root file system),
`vmlinuz` and `initrd` in the folder.
"""

import compileall
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from py_compile import PycInvalidationMode

from boot.guest import COMMON, FW_ENV_CONFIG, INIT, INITRAMFS, PROFILES
from boot.packages import Apt, run

CSRC = Path(__file__).parents[2] / "csrc"
UNCHECKED = PycInvalidationMode.UNCHECKED_HASH
PACKAGES = (
    "python3-minimal",
    "libpython3.11-stdlib",
    "python3-cffi-backend",
    "python3-click",
    "libzstd1",
    "libssl3",
    "busybox-static",
    "e2fsprogs",
    "util-linux",
)
FILE_SYSTEMS = ("virtio_blk", "ext4", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1")


@dataclass(frozen=True)
class Target:
    """A processor. debian: its name there; headers: packages that the engine is compiled against; packages: its own."""

    debian: str
    modules: tuple[str, ...]
    headers: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


X86 = Target("amd64", ("virtio_pci", *FILE_SYSTEMS, "efivarfs"), packages=("efibootmgr",))
ARM64 = Target(
    "arm64",
    ("virtio_mmio", *FILE_SYSTEMS),
    headers=("libzstd-dev", "libssl-dev", "libxxhash-dev", "libpython3.11-dev"),
    packages=("dosfstools", "mount", "mtools"),
)


def build(target: Target, folder: Path) -> None:
    """Fill the folder, unless it is filled."""
    if (folder / "initrd").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    tree = folder / "tree"
    apt = Apt(target.debian, folder)
    apt.unpack(tree, *PACKAGES, *target.packages, apt.kernel())
    if target.headers:
        apt.unpack(folder / "headers", *target.headers)
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    shutil.copy(kernel, folder / "vmlinuz")
    _initrd(folder, tree, version, target.modules)
    for name in ("boot", "usr/lib/modules", "lib/modules", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in ("boot", "data", "dev", "mnt", "proc", "root", "run", "sys", "tmp", "etc/hupfast/boards"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in PROFILES.items():
        (tree / f"etc/hupfast/boards/{name}.toml").write_text(text + COMMON)
    (tree / "etc/fw_env.config").write_text(FW_ENV_CONFIG)
    # Imports from source would take most of a guest's time.
    compileall.compile_dir(tree / "usr/lib/python3.11", quiet=2, invalidation_mode=UNCHECKED)
    compileall.compile_dir(tree / "usr/lib/python3", quiet=2, invalidation_mode=UNCHECKED)
    (tree / "sbin/init").unlink(missing_ok=True)
    _script(tree / "sbin/init", INIT)
    (folder / "initrd.part").rename(folder / "initrd")


def install_hupfast(target: Target, folder: Path) -> None:
    """The package that is under test, compiled for the guest."""
    spec = find_spec("hupfast")
    assert spec is not None
    assert spec.origin is not None
    installed = folder / "tree/usr/lib/python3/dist-packages/hupfast"
    shutil.rmtree(installed, ignore_errors=True)
    shutil.copytree(Path(spec.origin).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    if target.headers:
        _cross_compile(folder, installed / "_engine.abi3.so")
    compileall.compile_dir(installed, quiet=2, invalidation_mode=UNCHECKED)


def _cross_compile(folder: Path, out: Path) -> None:
    """The engine and its binding for arm64, with the options that meson.build gives them."""
    binding = folder / "_engine.c"
    run(sys.executable, "-m", "cffi.gen_src", "exec-python", "--ffi-var=ffi", CSRC.parent / "build_ffi.py", binding)
    headers, libraries = folder / "headers/usr/include", folder / "tree/usr/lib/aarch64-linux-gnu"
    run(
        "aarch64-linux-gnu-gcc", "-shared", "-fPIC", "-O2", "-std=c11", "-fvisibility=hidden", "-o", out,
        "-D_GNU_SOURCE", "-DNDEBUG", "-DPy_LIMITED_API=0x030b0000", '-DHUPFAST_VERSION="boot test"',
        "-DOPENSSL_SUPPRESS_DEPRECATED", f"-I{CSRC}", f"-I{headers}/python3.11", "-idirafter", headers,
        "-idirafter", headers / "aarch64-linux-gnu", binding, *sorted(CSRC.glob("*.c")),
        libraries / "libzstd.so.1", libraries / "libcrypto.so.3",
    )  # fmt: skip


def _initrd(folder: Path, tree: Path, version: str, modules: tuple[str, ...]) -> None:
    """busybox, and the modules that the root and the boot partition need, in the order of their needs."""
    work = folder / "initramfs"
    (work / "bin").mkdir(parents=True)
    (work / "modules").mkdir()
    shutil.copy(tree / "bin/busybox", work / "bin/busybox")
    run("depmod", "-b", tree, version)
    order: list[str] = []
    for module in modules:
        shown = run("modprobe", "-d", tree, "-S", version, "--show-depends", module)
        for line in shown.splitlines():
            words = line.split()
            if words[0] == "insmod" and Path(words[1]).name not in order:
                order.append(Path(words[1]).name)
                shutil.copy(words[1], work / "modules")
    (work / "modules/order").write_text("\n".join(order) + "\n")
    _script(work / "init", INITRAMFS)
    names = "\n".join(str(path.relative_to(work)) for path in sorted(work.rglob("*"))).encode()
    archive = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=work, input=names, capture_output=True, check=True
    )
    packed = subprocess.run(["gzip", "-1"], input=archive.stdout, capture_output=True, check=True)
    (folder / "initrd.part").write_bytes(packed.stdout)


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    os.chmod(path, 0o755)
