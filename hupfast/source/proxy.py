"""
Which proxy stands between us and a server, by the environment, as curl reads it.

    http_proxy                for http://; only in lower case, since HTTP_PROXY is what a client of a CGI program sets
    https_proxy, HTTPS_PROXY  for https://, which goes through it untouched (CONNECT)
    all_proxy, ALL_PROXY      for those that have none of their own
    no_proxy, NO_PROXY        `*`, or names, domains, addresses and networks (10.0.0.0/8), with commas between them

A proxy is `http://[user:password@]host[:port]`; the port is 1080 when it is left out.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

from hupfast.errors import UsageError
from hupfast.source.address import Address, is_host, public_name
from hupfast.source.auth import basic

_PORT = 1080


class Proxy(NamedTuple):
    """A proxy. authorization: the value of Proxy-Authorization, or None."""

    host: str
    port: int
    authorization: str | None

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy alone gets."""
        return {} if self.authorization is None else {"Proxy-Authorization": self.authorization}


def proxy_for(address: Address, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy for an address, or None. Raises UsageError when the environment names one of another kind."""
    names = [f"{address.scheme}_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    if address.scheme == "http":
        names.remove("HTTPS_PROXY")
    found = next(((name, environment[name]) for name in names if environment.get(name)), None)
    if found is None or _direct(address.host, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    return _parse(*found)


def _parse(variable: str, text: str) -> Proxy:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"the environment's {variable} is no address of a proxy: {public_name(url)}") from None
    if parts.scheme != "http" or not parts.hostname or port == 0 or not _is_plain(parts.hostname):
        raise UsageError(
            f"the environment's {variable} names a proxy that cannot be used, {public_name(url)}: "
            "one of the kind http://host:port is needed"
        )
    secret = None
    if parts.username is not None:
        secret = basic(f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}")
    return Proxy(parts.hostname, _PORT if port is None else port, secret)


def _is_plain(host: str) -> bool:
    return is_host(host) and all("!" <= letter <= "~" for letter in host)


def _direct(host: str, rules: str) -> bool:
    """Does no_proxy have this host in it?"""
    if rules.strip() == "*":
        return True
    host = host.lower().rstrip(".")
    for rule in rules.lower().replace(",", " ").split():
        if "/" in rule:
            if _inside(host, rule):
                return True
            continue
        name = rule.strip(".").strip("[]")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _inside(host: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
