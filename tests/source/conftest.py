"""No proxy and no password of the machine that the tests run on; one CA for all of them."""

from dataclasses import dataclass, field

import pytest

from certificates import PKI
from hupfast.source.transport import Transport


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "hupfast_auth"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass
class Clock:
    """Time that passes only when somebody sleeps. slept: for how long, each time."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def transport(self, **more) -> Transport:
        """A Transport that waits on this clock, always for the longest time that it may."""
        return Transport(clock=lambda: self.now, sleep=self.sleep, chance=lambda: 1.0, **more)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return PKI(tmp_path_factory.mktemp("pki") / "ca")
