"""Outside: HTTP sessions to the services outside, as programs of this machine reach them.

- Names are resolved for each new connection, so the one after a failure finds an address that has changed.
- Certificates are checked against the machine's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR.
- HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY hold, also in lower case.

The addresses are those of the settings, which are the operator's. Behind a proxy only the proxy sees the address that a name
leads to, so whoever sends to addresses of other people must check them for private ones before, and send without a proxy
where it cannot.
"""

import os
import ssl
from ipaddress import ip_address, ip_network
from typing import Any, TypedDict
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import truststore

from notifier.errors import Retryable

_PROXIES = ("http", "https")  # schemes of a proxy's own address


class Proxied(TypedDict, total=False):
    """Arguments of a request that goes by a proxy; empty for one that does not."""

    proxy: str


def open_session(**options: Any) -> aiohttp.ClientSession:
    """A session without cookies. Its requests take `**proxy_of(url)`; `options` are aiohttp's."""
    # Not aiohttp's `trust_env`, which sends passwords from ~/.netrc too.
    connector = aiohttp.TCPConnector(ssl=authorities(), use_dns_cache=False)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), **options)


def authorities() -> ssl.SSLContext:
    """Trusts what this machine trusts."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()  # of OpenSSL, which obeys the two
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def proxy_of(url: str) -> Proxied:
    """By which proxy a request to the address goes. Raises Retryable for a proxy that cannot be used."""
    parts = urlsplit(url)
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named or proxy_bypass(parts.netloc.rpartition("@")[2]) or _in_network(parts.hostname, proxies.get("no", "")):
        return {}
    try:
        proxy = urlsplit(named if "://" in named else f"http://{named}")
        good = proxy.scheme in _PROXIES and bool(proxy.hostname) and proxy.port != 0
    except ValueError:
        good = False
    if not good:  # it is not repeated, since it may hold a password
        variable = f"{parts.scheme.upper()}_PROXY or ALL_PROXY"
        raise Retryable("connection", f"{variable} cannot be used: write it as http://host:port")
    return {"proxy": proxy.geturl()}  # aiohttp takes name and password out of it


def _in_network(host: str | None, no_proxy: str) -> bool:
    """Whether an address literal lies in a network of NO_PROXY, such as 10.0.0.0/8, which Python itself does not read."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return False
    for entry in no_proxy.split(","):
        try:
            if "/" in entry and address in ip_network(entry.strip(), strict=False):
                return True
        except ValueError:  # a name, or nonsense
            pass
    return False


def unreachable(error: Exception) -> str:
    """Why no connection came about, with what a person can do where a certificate is not trusted or a proxy refuses."""
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its own text holds the proxy's password
        return f"the proxy of HTTPS_PROXY or HTTP_PROXY answered {error.status}"
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"{text}; that is the proxy of HTTPS_PROXY or HTTP_PROXY"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{text}; SSL_CERT_FILE may name the authority that this machine does not know"
    return text
