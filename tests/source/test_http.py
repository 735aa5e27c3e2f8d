"""The client itself: connections, redirects, logging in, TLS."""

import io
import socket
import ssl
import threading

import pytest

from certificates import PKI
from hupfast.errors import SourceError, UsageError
from hupfast.source.connection import tls_context
from hupfast.source.http import HttpClient
from hupfast.source.retry import Temporary
from hupfast.source.transport import Transport
from servers import Answer, Behaviour, misbehaving, nginx

FILES = {"/f": b"content", "/long": bytes(300_000)}


@pytest.fixture
def client():
    with HttpClient() as client:
        yield client


def fetch(client: HttpClient, url: str, method: str = "GET", **more) -> bytes:
    with client.open(method, url, **more) as response:
        return response.expect(200).read_all(2**20)


# ---- connections -------------------------------------------------------------------------------------------


def test_connection_is_used_again(client):
    """Answers that were read to their ends, or nearly, leave their connection for the next request."""
    with misbehaving(FILES) as server:
        for method, path in (("GET", "/f"), ("HEAD", "/long"), ("GET", "/none"), ("PUT", "/f"), ("GET", "/f")):
            client.open(method, server.url(path)).close()
        assert (len(server.requests), server.connections) == (5, 1)


def test_connection_with_a_long_rest_is_closed(client):
    """An answer that is given up early takes its connection along."""
    with misbehaving(FILES) as server:
        client.open("GET", server.url("long")).close()
        assert fetch(client, server.url("f")) == b"content"
        assert server.connections == 2


def test_two_answers_at_once(client):
    """Two answers that are read side by side have a connection each."""
    with misbehaving(FILES) as server, client.open("GET", server.url("long")) as first:
        assert fetch(client, server.url("f")) == b"content"
        assert first.read_all(300_000) == FILES["/long"]
        assert server.connections == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_idle_connection_that_the_server_closed(client, method, tmp_path):
    """A connection that was closed while it was idle is replaced without a word."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "f").write_bytes(b"content")
    with nginx(tmp_path / "files", extra="keepalive_requests 1; error_page 405 =200 /f;") as server:
        for _ in range(3):
            assert fetch(client, server.url("f"), method) == b"content"
    with misbehaving(FILES) as one:
        fetch(client, one.url("f"))
        for connection in client._idle.values():
            connection.sock.shutdown(2)
        assert fetch(client, one.url("f"), method) == b"content"


def test_body_of_a_known_size(client):
    """Bytes and a file, from where it stands, are sent with their length."""
    file = io.BytesIO(b"xxhello")
    file.seek(2)
    with misbehaving(FILES) as server:
        fetch(client, server.url("f"), "PUT", body=b"bytes")
        fetch(client, server.url("f"), "PUT", body=file, headers={"Content-Length": "5"})
        assert [request.body for request in server.requests] == [b"bytes", b"hello"]


@pytest.mark.parametrize("rate", [1000, 20_000])
def test_body_at_a_limited_rate(clock, rate):
    """What goes out takes its time as what comes in does, in pieces that are not waited for long."""
    data = bytes(40_000)
    with misbehaving(FILES) as server:
        with HttpClient(clock.transport(limit_rate=rate)) as client:
            fetch(client, server.url("f"), "PUT", body=data)
            fetch(client, server.url("f"), "PUT", body=io.BytesIO(data), headers={"Content-Length": "40000"})
        assert [request.body for request in server.requests] == [data] * 2
    assert 80_000 / rate - 0.5 < clock.now < 80_000 / rate + 0.5
    assert max(clock.slept) <= 0.5


def test_answer_that_is_too_long(client):
    """A small answer that is not small is refused."""
    with (
        misbehaving(FILES) as server,
        client.open("GET", server.url("long")) as response,
        pytest.raises(SourceError, match="more than 1000 bytes"),
    ):
        response.read_all(1000)


def test_what_is_asked_for(client):
    """Every request says who we are, and that the file is wanted as it is."""
    with misbehaving(FILES) as server:
        fetch(client, server.url("f?a=b%20c"))
        (request,) = server.requests
        assert request.path == "/f?a=b%20c"
        assert request.headers == {
            "Host": f"localhost:{server.server_port}",
            "User-Agent": "hupfast",
            "Accept-Encoding": "identity",
        }


@pytest.mark.parametrize("status", [429, 503])
def test_status_that_may_pass(client, status):
    """expect tells a status that may pass from one that stays, with what the server wants us to wait."""
    with (
        misbehaving(FILES, Behaviour(answers=[Answer(status, {"Retry-After": "7"})])) as server,
        pytest.raises(Temporary) as caught,
    ):
        client.open("GET", server.url("f")).expect(200)
    assert caught.value.retry_after == 7


def test_no_http(client):
    """A server of another kind is told as what it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SourceError, match=r"does not speak HTTP, it says SSH-2\.0"):
            client.open("GET", f"http://127.0.0.1:{server.getsockname()[1]}/f")
        thread.join()


# ---- redirects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"),
        (302, "HEAD", "HEAD"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ],
)
def test_redirect(client, status, method, then):
    """A redirect is followed with the method that HTTP says, and the body goes along or stays behind."""
    redirects = {"/moved": Answer(status, {"Location": "/f"})}
    body = b"body" if method in ("PUT", "POST") else None
    with misbehaving(FILES, Behaviour(redirects=redirects)) as server:
        with client.open(method, server.url("moved"), body=body) as response:
            assert (response.status, response.url) == (200, server.url("f"))
        second = server.requests[1]
        assert (second.method, second.path) == (then, "/f")
        assert second.body == (body if then == method and body else b"")


@pytest.mark.parametrize(("hops", "works"), [(10, True), (11, False)])
def test_redirects_come_to_an_end(client, hops, works):
    """Ten redirects are followed, and not one more."""
    redirects = {f"/{n}": Answer(302, {"Location": f"/{n - 1}" if n > 1 else "/f"}) for n in range(1, hops + 1)}
    with misbehaving(FILES, Behaviour(redirects=redirects)) as server:
        if works:
            assert fetch(client, server.url(str(hops))) == b"content"
        else:
            with pytest.raises(SourceError, match="redirects more than 10 times"):
                client.open("GET", server.url(str(hops)))


def test_password_does_not_follow_to_another_server(monkeypatch, client):
    """What was meant for one server is not sent to another that it redirects to, nor for another address later."""
    monkeypatch.setenv("HUPFAST_AUTH", "bearer s3cret")
    with HttpClient() as client, misbehaving(FILES) as other:
        redirects = {"/here": Answer(302, {"Location": "/f"}), "/there": Answer(302, {"Location": other.url("f")})}
        with misbehaving(FILES, Behaviour(redirects=redirects)) as server:
            fetch(client, server.url("here"))
            fetch(client, server.url("there"))
            fetch(client, server.url("there"), headers={"Authorization": "Bearer mine"})
            fetch(client, other.url("f"))
            secrets = [request.headers.get("Authorization") for request in server.requests]
            assert secrets == ["Bearer s3cret"] * 3 + ["Bearer mine"]
        assert [request.headers.get("Authorization") for request in other.requests] == [None] * 3


# ---- logging in --------------------------------------------------------------------------------------------


def test_file_that_needs_a_password(tmp_path):
    """A server that wants a password gets the one of the file."""
    path = tmp_path / "auth"
    path.write_text("basic me:secret\n")
    path.chmod(0o600)
    with misbehaving(FILES, Behaviour(password="Basic bWU6c2VjcmV0")) as server:
        with HttpClient(Transport(auth_file=str(path))) as client:
            assert fetch(client, server.url("f")) == b"content"
        with HttpClient() as client, pytest.raises(SourceError, match=r"401 .*--auth-file.*HUPFAST_AUTH") as caught:
            fetch(client, server.url("f"))
    assert "secret" not in str(caught.value)


def test_authorizer(client):
    """Who is asked about a 401 gives what its server gets from then on."""
    asked = []

    def authorize(url, headers):
        asked.append((url, headers["WWW-Authenticate"]))
        fetch(client, server.url("token"))  # its own requests do not come back to it
        return "Bearer token"

    client.authorizer = authorize
    with misbehaving({**FILES, "/token": b"t"}, Behaviour(password="Bearer token")) as server:
        server.behaviour.before = lambda server, request: setattr(
            server.behaviour, "password", None if request.path == "/token" else "Bearer token"
        )
        for _ in range(2):
            assert fetch(client, server.url("f"), "PUT", body=b"sent twice") == b"content"
        assert asked == [(server.url("f"), 'Basic realm="test"')]
        bodies = [request.body for request in server.requests if request.method == "PUT"]
        assert bodies == [b"sent twice"] * 3


def test_authorizer_is_not_asked_about_itself(client):
    """A 401 to what the authorizer itself asks for is its own matter."""
    statuses = []

    def authorize(url, headers):
        with client.open("GET", url) as response:
            statuses.append(response.status)

    client.authorizer = authorize
    with misbehaving(FILES, Behaviour(password="Bearer token")) as server:
        for _ in range(2):
            client.open("GET", server.url("f")).close()
    assert statuses == [401, 401]


@pytest.mark.parametrize("granted", [None, "Bearer wrong"])
def test_authorizer_that_does_not_know(client, granted):
    """A 401 that the authorizer cannot help with comes out, after one repetition at most."""
    client.authorizer = lambda url, headers: granted
    with misbehaving(FILES, Behaviour(password="Bearer token")) as server:
        with client.open("GET", server.url("f")) as response:
            assert response.status == 401
        assert len(server.requests) == (1 if granted is None else 2)


# ---- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A function that starts nginx with a certificate."""
    folder = tmp_path_factory.mktemp("tls") / "files"
    folder.mkdir()
    (folder / "f").write_bytes(b"content")
    return lambda certificate, extra="": nginx(folder, tls=certificate, extra=extra)


def test_https(secure, pki, monkeypatch):
    """A server that the CA of --ca-file vouches for is read from, and so is one that the system trusts."""
    with secure(pki.issue()) as server:
        with HttpClient(Transport(ca_file=str(pki.ca))) as client:
            assert fetch(client, server.url("f")) == b"content"
            assert fetch(client, server.url("f").replace("localhost", "127.0.0.1")) == b"content"
        monkeypatch.setenv("SSL_CERT_FILE", str(pki.ca))
        with HttpClient() as client:
            assert fetch(client, server.url("f")) == b"content"


def test_https_connection_is_used_again(pki):
    """One handshake is enough."""
    with (
        misbehaving(FILES, tls=pki.issue()) as server,
        HttpClient(Transport(ca_file=str(pki.ca))) as client,
    ):
        for _ in range(3):
            assert fetch(client, server.url("f")) == b"content"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("name", "days", "known", "reason"),
    [
        ("localhost", 2, False, r"nobody that this system trusts vouches .*--ca-file"),
        ("elsewhere.example", 2, True, "for another host name .*localhost"),
        ("localhost", -1, True, r"not valid today .*expired.*clock"),
    ],
)
def test_certificate_that_is_not_good(secure, pki, name, days, known, reason):
    """An unknown CA, another name and an expired certificate are refused at once, each in its own words."""
    transport = Transport(ca_file=str(pki.ca) if known else None)
    with (
        secure(pki.issue(name, days=days)) as server,
        HttpClient(transport) as client,
        pytest.raises(SourceError, match=reason) as caught,
    ):
        client.open("GET", server.url("f"))
    assert not isinstance(caught.value, Temporary)
    assert server.url("f") in str(caught.value)


def test_another_ca(secure, pki, tmp_path):
    """With --ca-file nobody but it is trusted."""
    other = PKI(tmp_path / "other", "another CA")
    with (
        secure(other.issue()) as server,
        HttpClient(Transport(ca_file=str(pki.ca))) as client,
        pytest.raises(SourceError, match=rf"not vouched for by {pki.ca}"),
    ):
        client.open("GET", server.url("f"))


def test_old_tls(secure, pki):
    """TLS below 1.2 is not spoken."""
    extra = "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"
    with (
        secure(pki.issue(), extra) as server,
        HttpClient(Transport(ca_file=str(pki.ca))) as client,
        pytest.raises(SourceError, match="TLS failed") as caught,
    ):
        client.open("GET", server.url("f"))
    assert not isinstance(caught.value, Temporary)


@pytest.mark.parametrize(("text", "reason"), [(None, "No such file"), ("hello", "no certificate in PEM form")])
def test_ca_file_that_will_not_do(tmp_path, text, reason):
    """A file of --ca-file that is missing or has no certificate is wrong usage."""
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with HttpClient(Transport(ca_file=str(path))) as client, pytest.raises(UsageError, match=reason):
        client.open("GET", "https://localhost:1/")


def test_http_on_a_port_for_https(client):
    """A server that does not speak TLS is told as what it is, and is not asked again."""
    with misbehaving(FILES) as server, pytest.raises(SourceError, match="TLS failed") as caught:
        client.open("GET", server.url("f").replace("http:", "https:"))
    assert not isinstance(caught.value, Temporary)


def test_tls_that_breaks_off(client):
    """A connection that ends in the middle of the handshake may stand the next time."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Temporary):
            client.open("GET", f"https://127.0.0.1:{server.getsockname()[1]}/f")
        thread.join()


def test_the_oldest_tls():
    """Whatever the machine's own configuration of OpenSSL allows."""
    assert tls_context(Transport()).minimum_version is ssl.TLSVersion.TLSv1_2


def test_nothing_in_common(secure, pki):
    """A server with no cipher that we have is not asked again."""
    with (
        secure(pki.issue(), "ssl_protocols TLSv1.2; ssl_ciphers NULL-SHA256:@SECLEVEL=0;") as server,
        HttpClient(Transport(ca_file=str(pki.ca))) as client,
        pytest.raises(SourceError, match="TLS failed") as caught,
    ):
        fetch(client, server.url("f"))
    assert not isinstance(caught.value, Temporary)


def test_https_is_not_left_by_a_redirect(pki):
    """A redirect from https to http is not followed."""
    with misbehaving(FILES) as plain:
        redirects = {"/moved": Answer(302, {"Location": plain.url("f")})}
        with (
            misbehaving(FILES, Behaviour(redirects=redirects), tls=pki.issue()) as server,
            HttpClient(Transport(ca_file=str(pki.ca))) as client,
            pytest.raises(SourceError, match="which is not https"),
        ):
            client.open("GET", server.url("moved"))
        assert plain.requests == []
