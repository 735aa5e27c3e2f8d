"""The benchmarks start parts of themselves."""

import pytest


@pytest.fixture(autouse=True)
def import_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """They do so with -m, from the tree."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
