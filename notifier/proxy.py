"""Proxy: the address of a proxy as people write it."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

_PORTS: Final = {"http": 8080, "socks5": 1080, "socks5h": 1080}
_FORM = "must be a proxy, such as http://name:password@proxy.example:3128 or socks5://proxy.example:1080"


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy. Its text holds no password."""

    socks: bool  # SOCKS5; else HTTP, by CONNECT
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def read_proxy(url: str) -> Proxy:
    """The proxy of `http://…` or `socks5://…`. Raises ValueError, whose text does not repeat the URL."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(_FORM) from None
    odd = parts.path not in ("", "/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or odd or not url.isprintable():
        raise ValueError(_FORM)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in username or not all(map(_writable, (username, password))):
        raise ValueError("has a name or a password that no proxy can be told")
    return Proxy(
        socks=parts.scheme != "http",
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        username=username,
        password=password,
    )


def _writable(text: str) -> bool:
    """Whether a name or a password fits both kinds: 255 bytes of SOCKS5 (RFC 1929), Latin 1 of HTTP."""
    return len(text) <= 255 and all(ord(character) < 256 for character in text)
