"""A small virtual board, and bundles for it that are made once."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from streams import OLD

from hupfast import virtual
from hupfast.bundling import create_bundle
from hupfast.confirm import Aftermath, confirm, rollback
from hupfast.ext4 import Ext4
from hupfast.filesystem import is_clean, make, missing_tools, put
from hupfast.image import pack
from hupfast.journal import Journal
from hupfast.status import Status, status
from hupfast.transaction import UpdateResult, update

IMAGE_SIZE = 2 << 20
SLOT_SIZE = 3 << 20


def payload(version: str) -> bytes:
    """Bytes that are in the filesystem of this version and of no other."""
    import random

    return random.Random(version).randbytes(400_000)


def kernel(version: str) -> bytes:
    """The kernel of this version."""
    return f"kernel of {version}\n".encode() * 2000


def _pack(source: Path, out: Path) -> None:
    pack(source, out, level=1, chunk_size=1 << 16)


@dataclass
class Shelf:
    """Images and bundles, made when they are first asked for."""

    folder: Path
    made: dict[tuple[str, str], Path] = field(default_factory=dict)

    def image(self, version: str) -> Path:
        """A raw ext4 image that knows its version."""
        path = self.folder / f"{version}.img"
        if not path.exists():
            tree = self.folder / f"tree-{version}"
            put(tree, "etc/os-release", f'ID=os\nVERSION_ID="{version}"\n'.encode())
            put(tree, "etc/hostname", f"named by {version}\n".encode())
            put(tree, "payload", payload(version))
            make(tree, path, IMAGE_SIZE)
        return path

    def bundle(self, version: str, *, board: str = "virtual", name: str = "os", **options: object) -> Path:
        """A bundle of this version."""
        key = f"{version}-{board}-{name}-{sorted(options.items())}"
        if (version, key) not in self.made:
            boot = self.folder / f"boot-{version}"
            put(boot, "kernel", kernel(version))
            put(boot, "dtb/board.dtb", version.encode())
            path = self.folder / f"{len(self.made)}.hup"
            create_bundle(
                path,
                name=name,
                version=version,
                boards=[board],
                image=self.image(version),
                boot=boot,
                pack=_pack,
                **options,  # type: ignore[arg-type]  # of create_bundle, by the tests that know them
            )
            self.made[version, key] = path
        return self.made[version, key]


@dataclass
class VirtualBoard:
    """One board with 1.0 in slot a, and the commands on it."""

    root: Path
    shelf: Shelf

    def update(self, source: "str | Path | int", **options: object) -> UpdateResult:
        """`hupfast update SOURCE --allow-unsigned`; a version stands for its bundle."""
        if isinstance(source, str) and "://" not in source:
            source = self.shelf.bundle(source)
        arguments = {"allow_unsigned": True, **options}
        return update(source, root=self.root, **arguments)  # type: ignore[arg-type]

    def boot(self) -> virtual.Booted:
        """One power cycle."""
        return virtual.boot(self.root)

    def status(self) -> Status:
        """`hupfast status`."""
        return status(root=self.root)

    def confirm(self) -> Aftermath:
        """`hupfast confirm`."""
        return confirm(root=self.root)

    def rollback(self) -> Aftermath:
        """`hupfast rollback`."""
        return rollback(root=self.root)

    def installed(self, version: str) -> None:
        """Update, reboot and confirm."""
        self.update(version)
        self.boot()
        self.confirm()

    def slot(self, name: str) -> Path:
        """The file of a slot."""
        return self.root / f"slots/{name}.img"

    def journal(self) -> Journal:
        """What is durably noted."""
        return Journal(self.root / "state")

    def profile(self, change: Callable[[str], str]) -> None:
        """Give the board a profile of its own."""
        from hupfast.board import SHIPPED

        put(
            self.root,
            "etc/hupfast/boards/virtual.toml",
            change((SHIPPED / "virtual.toml").read_text()).encode(),
        )

    def check_whole(self, slot: str, version: str) -> None:
        """Slot and boot files are those of one version, to the last byte, and the filesystem is clean."""
        filesystem = Ext4(self.slot(slot))
        scratch = self.root / "check"
        assert filesystem.read("/payload", scratch) == payload(version)
        assert f'"{version}"'.encode() in filesystem.read("/etc/os-release", scratch)
        assert is_clean(self.slot(slot))
        assert (self.root / f"boot/{slot}/kernel").read_bytes() == kernel(version)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Bundles for all tests of a run."""
    if missing_tools():
        pytest.skip(f"{', '.join(missing_tools())} of e2fsprogs not installed")
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def factory_board(shelf: Shelf) -> Path:
    """The board that the others are copied from."""
    folder = shelf.folder / "factory"
    virtual.create(
        folder,
        image=shelf.image("1.0"),
        boot_files={"kernel": kernel("1.0"), "old.dtb": b"1.0"},
        name="os",
        version="1.0",
        slot_size=SLOT_SIZE,
    )
    return folder


@pytest.fixture
def new_board(factory_board: Path, shelf: Shelf, tmp_path: Path) -> Callable[[str], VirtualBoard]:
    """Make a board under a name of its own."""

    def fresh(name: str) -> VirtualBoard:
        subprocess.run(["cp", "-a", "--sparse=always", factory_board, tmp_path / name], check=True)
        return VirtualBoard(tmp_path / name, shelf)

    return fresh


@pytest.fixture
def board(new_board: Callable[[str], VirtualBoard]) -> VirtualBoard:
    """A board with 1.0 in slot a, running and confirmed, and nothing in slot b."""
    return new_board("board")


@pytest.fixture
def empty(board: VirtualBoard) -> VirtualBoard:
    """A board whose slot b holds nothing of the image."""
    board.slot("b").write_bytes(OLD)
    return board


@pytest.fixture(scope="session")
def data(shelf: Shelf) -> bytes:
    """The bundle of 2.0, unsigned."""
    return shelf.bundle("2.0").read_bytes()


def copied(source: VirtualBoard, target: Path) -> VirtualBoard:
    """The same board once more."""
    shutil.copytree(source.root, target)
    return VirtualBoard(target, source.shelf)
