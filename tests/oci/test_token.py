"""Logging in with tokens: docker-registry believes what a small server of ours has signed."""

import json
from collections.abc import Iterator
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path

import pytest
from registries import PASSWORD, USER, Registry, TokenServer, docker_registry, token_server

from hupfast.errors import Refused, SourceError
from hupfast.oci.push import push
from hupfast.oci.reference import parse_reference
from hupfast.oci.registry import Registry as Client
from hupfast.oci.token import Authorizer
from hupfast.source.transport import Transport


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    """A server of tokens."""
    with token_server(tmp_path_factory.mktemp("tokens")) as running:
        yield running


@pytest.fixture
def tokens(server: TokenServer) -> TokenServer:
    """The same, as new."""
    server.asked.clear()
    server.anonymous, server.seconds, server.key_name = False, 300, "token"
    return server


@pytest.fixture(scope="module")
def guarded(server: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants tokens."""
    with docker_registry(tmp_path_factory.mktemp("registry"), auth=server.auth) as running:
        yield running


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> Transport:
    """USER and PASSWORD in the environment."""
    monkeypatch.setenv("HUPFAST_AUTH", f"basic {USER}:{PASSWORD}")
    return Transport(sleep=lambda seconds: None)


@pytest.mark.parametrize("key_name", ["token", "access_token"])
def test_push_with_a_token(
    guarded: Registry, tokens: TokenServer, login: Transport, bundle: Path, key_name: str
) -> None:
    """One token to look with, one to push with, however many blobs there are; both forms of the answer are known."""
    tokens.key_name = key_name
    push(str(bundle), f"oci://{guarded.host}/{key_name}/os:1", transport=login)
    # docker-registry names the actions in any order.
    scopes = [query["scope"].rpartition(":") for query, _ in tokens.asked]
    assert [(name, sorted(actions.split(","))) for name, _, actions in scopes] == [
        (f"repository:{key_name}/os", ["pull"]),
        (f"repository:{key_name}/os", ["pull", "push"]),
    ]
    assert all(query["service"] == "the registry" for query, _ in tokens.asked)


def test_a_token_that_runs_out(guarded: Registry, tokens: TokenServer, login: Transport, bundle: Path) -> None:
    """docker-registry refuses it in the middle of a push, and another one is asked for."""
    tokens.seconds = -61  # docker-registry allows a minute of difference between two clocks
    with pytest.raises(SourceError, match="--auth-file"):
        push(str(bundle), f"oci://{guarded.host}/late/os:1", transport=login)
    tokens.seconds = 300
    with Client(parse_reference(f"oci://{guarded.host}/late/os:1"), login) as client:
        assert not client.has_blob("sha256:" + "0" * 64, 1)
        client.client._granted = {origin: "Bearer stale" for origin in client.client._granted}
        assert not client.has_blob("sha256:" + "0" * 64, 1)


def test_a_public_repository(guarded: Registry, tokens: TokenServer, login: Transport, bundle: Path) -> None:
    """Without a password a token is asked for without one: enough to pull, not to push."""
    address = f"oci://{guarded.host}/public/os:1"
    pushed = push(str(bundle), address, transport=login)
    tokens.anonymous = True
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HUPFAST_AUTH")
        with Client(parse_reference(address)) as client:
            assert client.manifest()[1] == pushed.digest
        with pytest.raises(SourceError, match=r"may not write .*--auth-file"):
            push(str(bundle), f"oci://{guarded.host}/private/os:1", transport=Transport())


@pytest.mark.parametrize("line", ["", f"basic {USER}:wrong"])
def test_no_password_and_a_wrong_one(
    guarded: Registry, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch, bundle: Path, line: str
) -> None:
    """The message says who refused, and what to do."""
    monkeypatch.setenv("HUPFAST_AUTH", line)
    with pytest.raises(SourceError, match=r"which gives tokens for .* answered 401 .*--auth-file") as caught:
        push(str(bundle), f"oci://{guarded.host}/refused/os:1")
    assert "wrong" not in str(caught.value)


def test_a_token_that_the_user_brought(
    guarded: Registry, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    """`bearer TOKEN` is sent as it is, and nobody is asked for another one."""
    access: list[dict[str, object]] = [{"type": "repository", "name": "own/os", "actions": ["pull", "push"]}]
    monkeypatch.setenv("HUPFAST_AUTH", f"bearer {tokens.token('the registry', access)}")
    push(str(bundle), f"oci://{guarded.host}/own/os:1")
    with pytest.raises(SourceError, match="--auth-file"):
        push(str(bundle), f"oci://{guarded.host}/not-own/os:1")
    assert tokens.asked == []


def test_tokens_over_tls(bundle: Path, tmp_path: Path, login: Transport) -> None:
    """Registry and server of tokens behind a private CA; the password goes to the realm that was named over TLS."""
    with (
        token_server(tmp_path, tls=True) as tokens,
        docker_registry(tmp_path / "r", auth=tokens.auth, certificate=tokens.certificate, key=tokens.key) as guarded,
    ):
        address = f"oci+https://{guarded.host}/os:1"
        with pytest.raises(SourceError, match="--ca-file"):
            push(str(bundle), address, transport=login)
        assert tokens.asked == []
        push(str(bundle), address, transport=Transport(ca_file=str(tokens.certificate)))
        assert tokens.asked[0][1].startswith("Basic ")


def test_no_password_to_a_realm_without_tls(
    tokens: TokenServer, bundle: Path, tmp_path: Path, login: Transport
) -> None:
    """A registry over TLS that names a realm without it: refused, and the realm is not even asked."""
    transport = Transport(ca_file=str(tokens.certificate))
    with docker_registry(tmp_path / "r", auth=tokens.auth, certificate=tokens.certificate, key=tokens.key) as guarded:
        with pytest.raises(Refused, match="not https"):
            push(str(bundle), f"oci+https://{guarded.host}/os:1", transport=transport)
        assert tokens.asked == []


def headers(challenge: str) -> HTTPMessage:
    """Of a 401."""
    message: Message = HTTPMessage()
    message["WWW-Authenticate"] = challenge
    assert isinstance(message, HTTPMessage)
    return message


def test_no_password_to_another_host_without_tls(tokens: TokenServer, login: Transport) -> None:
    """Whoever stands in the way of a registry without TLS could name his own server."""
    authorizer = Authorizer(parse_reference("oci+http://registry.example/os:1"), login)
    with pytest.raises(Refused, match="another host"):
        authorizer("http://registry.example/v2/", headers(f'Bearer realm="{tokens.url}"'))
    assert tokens.asked == []


def test_nothing_to_who_we_were_redirected_to(tokens: TokenServer, login: Transport) -> None:
    """Object storage that says 401 gets neither a password nor a token."""
    authorizer = Authorizer(parse_reference("oci://127.0.0.1:5000/os:1"), login)
    challenge = headers(f'Bearer realm="{tokens.url}",service="the registry",scope="repository:os:pull"')
    assert authorizer("http://127.0.0.1:5001/v2/", challenge) is None
    assert tokens.asked == []
    assert str(authorizer("http://127.0.0.1:5000/v2/", challenge)).startswith("Bearer ")


def test_tokens_are_remembered_by_scope(tokens: TokenServer, login: Transport) -> None:
    """Each scope has its own; one that was just refused, or has run out, is asked for again."""
    now = [0.0]
    authorizer = Authorizer(parse_reference("oci://127.0.0.1:5000/os:1"), Transport(clock=lambda: now[0]))

    def ask(actions: str) -> str | None:
        challenge = f'Bearer realm="{tokens.url}",service="the registry",scope="repository:os:{actions}"'
        return authorizer("http://127.0.0.1:5000/v2/", headers(challenge))

    pull, both = ask("pull"), ask("pull,push")
    assert pull != both
    assert ask("pull") == pull
    assert len(tokens.asked) == 2
    assert ask("pull") != pull
    ask("pull,push")
    now[0] = 296.0
    ask("pull")
    assert len(tokens.asked) == 4


@pytest.mark.parametrize(
    "realm", ["", "/token", "ftp://x/", "http://user:secret@127.0.0.1/", "http://[/", "file:///etc"]
)
def test_realms_that_are_no_address(login: Transport, realm: str) -> None:
    """They are told, not followed."""
    authorizer = Authorizer(parse_reference("oci://127.0.0.1:5000/os:1"), login)
    with pytest.raises(SourceError, match="no address") as caught:
        authorizer("http://127.0.0.1:5000/v2/", headers(f'Bearer realm="{realm}"'))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}', b'{"token": "a b"}']
)
def test_answers_that_are_no_token(answer: bytes) -> None:
    """Nothing of them gets into a header."""
    from hupfast.oci.token import _parse

    with pytest.raises(SourceError, match="answered something else"):
        _parse(answer, "https://auth.example")


@pytest.mark.parametrize(("life", "expected"), [(300, 300.0), (None, 60.0), (-1, 60.0), ("9", 60.0), (True, 60.0)])
def test_how_long_a_token_lasts(life: object, expected: float) -> None:
    """A minute, when nothing sensible is said."""
    from hupfast.oci.token import _parse

    assert _parse(json.dumps({"token": "t", "expires_in": life}).encode(), "") == ("t", expected)
