"""Which proxy is used, by the environment, and requests that go through one."""

import pytest

from certificates import PKI
from hupfast.errors import SourceError, UsageError
from hupfast.source.address import parse
from hupfast.source.http import HttpClient
from hupfast.source.proxy import Proxy, proxy_for
from hupfast.source.transport import Transport
from proxies import proxy
from servers import misbehaving

FILES = {"/f": b"content"}


@pytest.mark.parametrize(
    ("url", "environment", "found"),
    [
        ("http://h/", {"http_proxy": "http://p:3128"}, ("p", 3128)),
        ("http://h/", {"http_proxy": "p:3128/"}, ("p", 3128)),
        ("http://h/", {"http_proxy": "p"}, ("p", 1080)),
        ("http://h/", {"HTTP_PROXY": "http://p:3128"}, None),
        ("http://h/", {"https_proxy": "http://p:3128", "HTTPS_PROXY": "http://q:1"}, None),
        ("http://h/", {"all_proxy": "http://p:1", "http_proxy": ""}, ("p", 1)),
        ("https://h/", {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, ("p", 1)),
        ("https://h/", {"HTTPS_PROXY": "http://q:1"}, ("q", 1)),
        ("https://h/", {"ALL_PROXY": "http://[::1]:1"}, ("::1", 1)),
        ("https://h/", {"http_proxy": "http://p:1"}, None),
    ],
)
def test_variables(url, environment, found):
    """The variables are read as curl reads them: HTTP_PROXY, which a CGI client can set, is not."""
    got = proxy_for(parse(url), environment)
    assert (got if got is None else (got.host, got.port)) == found


@pytest.mark.parametrize(
    ("host", "rules", "direct"),
    [
        ("h.example.org", "*", True),
        ("h.example.org", "example.org", True),
        ("h.example.org", ".example.org", True),
        ("example.org", ".example.org", True),
        ("H.Example.ORG", "x, example.org", True),
        ("hexample.org", "example.org", False),
        ("example.org.net", "example.org", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("[::1]", "::1", True),
        ("[fe80::1]", "fe80::/10,x", True),
        ("h", "", False),
        ("h", "10.0.0.0/8 nonsense/x", False),
    ],
)
def test_no_proxy(host, rules, direct):
    """no_proxy has names with all that is below them, addresses, networks, and * for all."""
    found = proxy_for(parse(f"http://{host}/"), {"http_proxy": "p:1", "NO_PROXY": rules})
    assert (found is None) is direct


@pytest.mark.parametrize(
    "text",
    [
        "socks5://s3cret@p:1",
        "https://p:1",
        "http://",
        "http://p:x",
        "http://u:s3cret@p:x",
        "u:s3cret@p:x",
        "http://u:s3cret/x@p:x",
        "http://a..b:3128",
        "http://p:0",
        "http://p\xe4:1",
    ],
)
def test_proxy_of_another_kind(text):
    """A proxy that cannot be used is wrong usage, and its password is not shown."""
    with pytest.raises(UsageError, match="http_proxy") as caught:
        proxy_for(parse("http://h/"), {"http_proxy": text})
    assert "s3cret" not in str(caught.value)


def test_password_of_a_proxy():
    """User and password of the proxy's address are decoded, and become a header."""
    found = proxy_for(parse("http://h/"), {"http_proxy": "http://me%40home:x%3Ay@p"})
    assert found == Proxy("p", 1080, "Basic bWVAaG9tZTp4Onk=")


def fetch(url: str, **transport) -> bytes:
    with HttpClient(Transport(**transport)) as client, client.open("GET", url) as response:
        return response.expect(200).read_all(100)


def test_http_through_a_proxy(monkeypatch):
    """A request for http:// goes to the proxy, with its password, which the server does not see."""
    with misbehaving(FILES) as server, proxy("me:secret") as found:
        monkeypatch.setenv("http_proxy", found.url)
        assert fetch(server.url("f")) == b"content"
        assert found.requests == [(f"GET {server.url('f')} HTTP/1.1", "Basic bWU6c2VjcmV0", None)]
        assert "Proxy-Authorization" not in server.requests[0].headers
        assert server.requests[0].headers["Host"] == f"localhost:{server.server_port}"


def test_https_through_a_proxy(monkeypatch, pki: PKI):
    """A request for https:// goes through the proxy, which sees the server's name and no password of it."""
    monkeypatch.setenv("HUPFAST_AUTH", "bearer token")
    with misbehaving(FILES, tls=pki.issue()) as server, proxy("me:secret") as found:
        monkeypatch.setenv("https_proxy", found.url)
        assert fetch(server.url("f"), ca_file=str(pki.ca)) == b"content"
        ((line, password, secret),) = found.requests
        assert line.startswith(f"CONNECT localhost:{server.server_port} HTTP/1.")
        assert (password, secret) == ("Basic bWU6c2VjcmV0", None)
        assert server.requests[0].headers["Authorization"] == "Bearer token"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_refuses(monkeypatch, scheme):
    """A proxy that wants a password and got none is named as the one who refuses."""
    with proxy("me:secret") as found:
        monkeypatch.setenv("all_proxy", found.url.replace("me:secret@", ""))
        with pytest.raises(SourceError, match=r"407 Proxy Authentication Required"):
            fetch(f"{scheme}://localhost:1/f")
