"""
The image as other updaters want it, signed, made once and kept until the image is made anew.

    cert.pem, key.pem   one self-signed certificate, for RAUC and for SWUpdate
    image.raucb         RAUC: squashfs of manifest.raucm and rootfs.ext4, compressed by zstd at level 3, and its CMS
                        signature. Of the format "plain": "verity" wants dm-verity, which not every kernel has
    image.swu           SWUpdate: cpio of sw-description, its CMS signature, and rootfs.zst, which is image.zst
    image.fw            fwup: zip of meta.conf with an Ed25519 signature and of the image, deflated; holes are in it too
    target              symbolic link to the device, as a description has to name it when it is signed
    system.conf         RAUC: two slots, of which "target" is not the one that runs
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images import Images, kept
from benchmarks.machine import BenchmarkError, missing, run

RECIPE = 1
"""Raise it when something is to be made in another way."""

BOARD = "bench"
"""What the bundles call the board that they are for."""

MANIFEST = f"""\
[update]
compatible={BOARD}
version=2.0

[bundle]
format=plain

[image.rootfs]
filename=rootfs.ext4
"""

SYSTEM = f"""\
[system]
compatible={BOARD}
bootloader=noop
mountprefix={{folder}}/mount
statusfile={{folder}}/status.raucs

[keyring]
path={{folder}}/cert.pem

[slot.rootfs.0]
device={{folder}}/running
type=ext4
bootname=A

[slot.rootfs.1]
device={{folder}}/target
type=ext4
bootname=B
"""

DESCRIPTION = """\
software = {{
    version = "2.0";
    hardware-compatibility: [ "1.0" ];
    stable = {{
        copy-2: {{
            images: ( {{
                filename = "rootfs.zst";
                device = "{folder}/target";
                type = "raw";
                compressed = "zstd";
                installed-directly = true;
                sha256 = "{sha256}";
            }} );
        }};
    }};
}};
"""

FWUP = """\
file-resource rootfs.img {{
    host-path = "{image}"
    skip-holes = false
}}
task complete {{
    on-resource rootfs.img {{ raw_write(0) }}
}}
"""


@dataclass(frozen=True)
class Bundles:
    """What is in `folder`. absent: what is not, by the name of the tool, and why."""

    folder: Path
    absent: Mapping[str, str]

    @property
    def raucb(self) -> Path:
        return self.folder / "image.raucb"

    @property
    def swu(self) -> Path:
        return self.folder / "image.swu"

    @property
    def fw(self) -> Path:
        return self.folder / "image.fw"

    def aim(self, device: Path) -> None:
        """From now on these bundles are for `device`, and RAUC knows of no bundle before."""
        link = self.folder / "target"
        link.unlink(missing_ok=True)
        link.symlink_to(device)
        (self.folder / "status.raucs").unlink(missing_ok=True)


def no_squashfs(filesystems: Path = Path("/proc/filesystems")) -> str | None:
    """Why no bundle of RAUC can be mounted here, or None."""
    if "\tsquashfs\n" not in filesystems.read_text() and shutil.which("modprobe"):
        with suppress(BenchmarkError):
            run(["modprobe", "squashfs"])
    if "\tsquashfs\n" in filesystems.read_text():
        return None
    return "this kernel has no squashfs, which rauc install mounts"


def _no_rauc() -> str | None:
    return missing("rauc", "mksquashfs", "dbus-run-session", "dbus-send", "openssl") or no_squashfs()


def _no_swupdate() -> str | None:
    return missing("swupdate", "cpio", "openssl")


def _no_fwup() -> str | None:
    return None if shutil.which("fwup") else "fwup is not installed (Debian does not have it)"


def _certificate(folder: Path) -> None:
    """The key and the certificate that sign, if they are not there."""
    if not (folder / "cert.pem").exists():
        files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
        run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "36500", "-subj", "/CN=bench", *files]
        )


def _raucb(images: Images, folder: Path, result: Path) -> None:
    _certificate(folder)
    content = folder / "content"
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir()
    os.link(images.raw, content / "rootfs.ext4")
    (content / "manifest.raucm").write_text(MANIFEST)
    (folder / "system.conf").write_text(SYSTEM.format(folder=folder))
    (folder / "running").touch()
    (folder / "mount").mkdir(exist_ok=True)
    signer = [f"--cert={folder}/cert.pem", f"--key={folder}/key.pem"]
    run(["rauc", "bundle", *signer, "--mksquashfs-args=-comp zstd -Xcompression-level 3", content, result])
    shutil.rmtree(content)


def _swu(images: Images, folder: Path, result: Path) -> None:
    _certificate(folder)
    sha256 = run(["sha256sum", images.zst]).split()[0]
    names = ["sw-description", "sw-description.sig", "rootfs.zst"]
    description, signature, rootfs = (folder / name for name in names)
    description.write_text(DESCRIPTION.format(folder=folder, sha256=sha256))
    signer = ["-signer", f"{folder}/cert.pem", "-inkey", f"{folder}/key.pem"]
    form = ["-outform", "DER", "-nosmimecap", "-binary"]
    run(["openssl", "cms", "-sign", "-in", description, "-out", signature, *signer, *form])
    rootfs.unlink(missing_ok=True)
    os.link(images.zst, rootfs)
    listed = "".join(f"{name}\n" for name in names)
    run(["cpio", "--quiet", "-o", "-H", "crc", "-D", folder, "-O", result], given=listed)
    rootfs.unlink()


def _fw(images: Images, folder: Path, result: Path) -> None:
    recipe = folder / "fwup.conf"
    recipe.write_text(FWUP.format(image=images.raw))
    for key in folder.glob("fwup-key.*"):
        key.unlink()
    run(["env", "-C", folder, "fwup", "-g"])
    run(["fwup", "-c", "-f", recipe, "-s", folder / "fwup-key.priv", "-o", result])


MAKERS: dict[str, tuple[Callable[[], str | None], str, Callable[[Images, Path, Path], None]]] = {
    "rauc": (_no_rauc, "image.raucb", _raucb),
    "swupdate": (_no_swupdate, "image.swu", _swu),
    "fwup": (_no_fwup, "image.fw", _fw),
}
"""For each tool: why it cannot be used here, the file that it wants, and how that is made."""


def build(images: Images) -> Bundles:
    """All bundles of the image, those made that are not there. What cannot be made is absent, with the reason."""
    folder = (images.raw.parent / "peers").absolute()
    source = {"recipe": RECIPE, "folder": str(folder), "image": images.raw.stat().st_mtime_ns}
    facts, absent = folder / "made.json", {}
    if facts.exists() and kept(facts, dict) != source:
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    kept(facts, lambda: dict(source))
    for tool, (why, name, make) in MAKERS.items():
        result, part = folder / name, folder / f"part-{name}"
        reason = why()
        if reason:
            absent[tool] = reason
        elif not result.exists():
            part.unlink(missing_ok=True)
            try:
                make(images, folder, part)
                part.rename(result)
            except BenchmarkError as error:
                absent[tool] = f"{name} could not be made: {error}"
    return Bundles(folder, absent)
