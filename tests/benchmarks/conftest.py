"""The benchmarks start parts of themselves."""

import pytest

from conftest import sanitized

collect_ignore = ["test_bundles.py", "test_compare.py", "test_peers.py", "test_suites.py"] if sanitized() else []
"""They start programs of others, of which rauc waits for ever with a sanitizer loaded into it; `make test` has them."""


@pytest.fixture(autouse=True)
def import_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """They do so with -m, from the tree."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
