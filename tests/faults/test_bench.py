"""An io_uring that fails while a medium is measured: a comparison less, and all else is there."""

import json

import pytest

MIB = 2**20


@pytest.mark.parametrize("fault", ["ring:einval:1:inf", "ring:eio:5:inf", "submit:eagain:3:inf"])
def test_a_failing_ring_is_left_out(command, tmp_path, fault):
    """Exit 0, and the document says why there is no io_uring in it."""
    target = tmp_path / "target"
    target.write_bytes(bytes(8 * MIB))
    options = ("--quick", "--rounds", "1", "--size", "8M", "-y", "-o", tmp_path / "a.json")
    ended = command("bench", "run", target, *options, fault=fault, on=target)

    assert ended.code == 0
    document = json.loads((tmp_path / "a.json").read_text())
    why = {one["what"]: one["why"] for one in document["skipped"]}["io_uring"]
    if not ended.hits:
        pytest.skip(f"there is no io_uring to fail here: {why}")
    assert ("no memory" if "eagain" in fault else "io_uring_enter failed") in why
    assert {run["method"] for run in document["runs"]} == {"threads"}
    assert document["pipeline"]["report"]["verified"]
