"""`hupfast bench predict`: how long an image will take, out of a document."""

import json
from dataclasses import replace

import pytest
from bench.made import document
from click.testing import CliRunner, Result

from hupfast.bench.document import Sustained
from hupfast.cli import main


@pytest.fixture
def file(tmp_path):
    """A document of a card of 40 MB/s that reads 80 MB/s and zeroes 20 MB/s."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document().as_dict()))
    return path


def predict(*argv: object) -> Result:
    result = CliRunner().invoke(main, ["bench", "predict", *map(str, argv)])
    assert "Traceback" not in result.output
    return result


def test_seconds(file):
    """The time is that of the parts, by hand; the file is half as large unless it is told."""
    done = predict(file, 80_000_000, "--zeroes", "25%", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["packed_size"]) == (0, 40_000_000)
    assert found["write_seconds"] == pytest.approx(60 / 40 + 20 / 20)
    assert found["seconds"] == pytest.approx(found["write_seconds"] + 80 / 80)
    assert json.loads(predict(file, "80M", "--packed", "1M", "--json").stdout)["packed_size"] == 2**20


def test_text(file):
    """A line for people, and a doubt where no long write was made."""
    first, second = predict(file, 80_000_000).stdout.splitlines()
    assert first == "76.3 MiB from 38.1 MiB: 3.0 s, 2.0 s to write and 1.0 s to read back"
    assert "No long write" in second
    long = Sustained(2**20, 4, ((0.0, 0), (1.0, 40_000_000)), 40e6, 40e6, None)
    file.write_text(json.dumps(replace(document(), sustained=long).as_dict()))
    assert len(predict(file, "80M").stdout.splitlines()) == 1


def test_a_long_write_of_nothing(file):
    """A document whose rates are 0 gives a time all the same."""
    long = Sustained(2**20, 4, ((0.0, 0), (1.0, 0)), 0.0, 5.0, 10)
    file.write_text(json.dumps(replace(document(), sustained=long).as_dict()))
    assert predict(file, "80M").exit_code == 0


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["{0}"], 2), (["{0}", "much"], 2), (["none.json", "1G"], 2), (["{0}", "1G", "--zeroes", "200%"], 2)],
)
def test_wrong_input(file, argv, code):
    """Each has its exit code, and says why."""
    done = predict(*(word.format(file) for word in argv))
    assert (done.exit_code, bool(done.stderr)) == (code, True)
