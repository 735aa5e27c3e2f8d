"""The benchmarks are a package beside hupfast that is not installed: make it importable."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


@pytest.fixture(autouse=True)
def import_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks start parts of themselves with -m."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
