"""Network: connections to addresses that people name in definitions, which must not lead into the operator's own network.

A name is resolved for each new connection, each address that it leads to is judged (`notifier.public_address`), and the
connection is made to an address that was judged: what a name leads to a moment later, a redirect or another way to write an
address changes nothing. The operator allows others by NOTIFIER_ALLOWED_ADDRESSES.

By a proxy, the proxy is the one that connects. So the name is resolved and judged here, and the proxy is asked for the address;
it is asked for names that are allowed or trusted as they are. The proxy's own address is judged too, unless it is the
operator's: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY hold where no other proxy is given.

The addresses of settings are the operator's; `notifier.outside` reaches those.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import aiohappyeyeballs
import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from python_socks import ProxyType
from python_socks.async_.asyncio import Proxy as ProxyClient

from notifier.allowed_addresses import plain_host, read_allowed
from notifier.errors import Permanent, Retryable
from notifier.one_line import one_line
from notifier.outside import authorities, proxy_of
from notifier.proxy import Proxy, read_proxy
from notifier.public_address import Address, held_in, is_public, read_address

CONNECT_S = 5.0
ANSWER_S = 15.0  # of a whole exchange in a session, unless its options say otherwise
_SHOWN = 200  # characters of what a proxy says
_HAPPY_S = 0.25  # after which the next address is tried too, as RFC 8305 recommends

# Family, type, protocol, name, and the address with its port: as getaddrinfo gives them.
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class Network:
    """The way out for what people name. `allowed`: addresses, networks and host names that may be private all the same."""

    allowed: Sequence[str] = ()
    _networks: tuple[IPv4Network | IPv6Network, ...] = field(init=False, repr=False, compare=False)
    _names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ValueError for an entry of `allowed` that is none of the three."""
        networks, names = read_allowed(self.allowed)
        object.__setattr__(self, "_networks", networks)
        object.__setattr__(self, "_names", names)

    def open_session(
        self, *, proxy: str | None = None, trusted: Sequence[str] = (), **options: Any
    ) -> aiohttp.ClientSession:
        """A session that refuses addresses that are not public, unless they are allowed. `options` are aiohttp's.

        `proxy`: `http://` or `socks5://`, with name and password where it needs them; None: that of the environment. `trusted`:
        host names of the operator's own, such as those of settings; they are not judged, and the proxy resolves them.

        Requests raise Permanent `forbidden` for an address that is refused, Retryable `connection` where no connection comes
        about, and what aiohttp raises for the rest. They must not name a proxy of their own, and should follow no redirects.
        """
        connector = _Connector(self, None if proxy is None else read_proxy(proxy), frozenset(map(plain_host, trusted)))
        options.setdefault("timeout", aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S))
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), **options)

    async def connect(
        self,
        host: str,
        port: int,
        *,
        proxy: str | None = None,
        url: str | None = None,
        trusted: bool = False,
        timeout_s: float = CONNECT_S,
    ) -> socket.socket:
        """A connected TCP socket that does not block, for clients of other protocols; the caller closes it.

        `url`: where a request would go to, so that without a `proxy` that of the environment counts; else it plays no part.
        `trusted`: the host is the operator's own. Raises Permanent `forbidden` and Retryable `connection`, without the proxy's
        password in the text.
        """
        by = None if proxy is None else _Way(read_proxy(proxy), trusted=False)
        if by is None and url is not None:
            by = _way_of_environment(url)
        return await self._connect(host, port, by, trusted=trusted, timeout_s=timeout_s)

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """The addresses that a host leads to and that may be reached, at least one, for a connection to just these.

        Raises Permanent `forbidden` where none may, and Retryable `connection` for a host that leads nowhere.
        """
        found = await _lookup(host, port)
        good = [info for info in found if self.permits(info[4][0], host)]
        if not good:
            # Without the address: whoever writes a definition need not learn what names of the operator's network lead to.
            raise Permanent(
                "forbidden",
                f"{_shown(host)} does not lead to a public address; NOTIFIER_ALLOWED_ADDRESSES can allow it",
            )
        return good

    def permits(self, address: str, host: str = "") -> bool:
        """Whether an IP address may be connected to. `host`: the name that led to it. Pure, for other guards to ask."""
        if plain_host(host) in self._names:
            return True
        found = read_address(address)
        return found is not None and (is_public(found) or self._allows(found))

    def _allows(self, address: Address) -> bool:
        ways = [address, *(held_in(address) if isinstance(address, IPv6Address) else ())]
        return any(way.version == network.version and way in network for way in ways for network in self._networks)

    async def _connect(
        self, host: str, port: int, by: "_Way | None", *, trusted: bool, timeout_s: float
    ) -> socket.socket:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                if by is not None:
                    return await self._tunnel(host, port, by, trusted)
                found = await (_lookup(host, port) if trusted else self.resolve(host, port))
                return await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=_HAPPY_S, loop=asyncio.get_running_loop()
                )
        except TimeoutError as error:
            text = f"no connection to {_shown(host)} within {timeout_s:g} s" if limit.expired() else str(error)
            raise Retryable("connection", text) from None
        except (OSError, UnicodeError) as error:
            raise Retryable("connection", f"no connection to {_shown(host)}: {_why(error)}") from None

    async def _tunnel(self, host: str, port: int, by: "_Way", trusted: bool) -> socket.socket:
        """A connection by a proxy, to the first address of the host that the proxy reaches."""
        as_it_is = trusted or plain_host(host) in self._names
        targets = [host] if as_it_is else [info[4][0] for info in await self.resolve(host, port)]
        proxy = by.proxy
        found = await (_lookup(proxy.host, proxy.port) if by.trusted else self.resolve(proxy.host, proxy.port))
        said = ""
        for target in targets:
            for info in found:
                client = ProxyClient(
                    ProxyType.SOCKS5 if proxy.socks else ProxyType.HTTP,
                    info[4][0],
                    proxy.port,
                    proxy.username,
                    proxy.password,
                    rdns=True,
                )
                try:
                    return await client.connect(target, port, timeout=CONNECT_S * 10)  # the caller's limit counts
                except Exception as error:  # what is no proxy may answer anything
                    said = said or _why(error)
        raise Retryable("connection", f"the proxy gives no connection to {_shown(host)}: {said}")


@dataclass(frozen=True)
class _Way:
    """By a proxy; whether it is the operator's own."""

    proxy: Proxy
    trusted: bool


class _Names(AbstractResolver):
    """Leaves names as they are: `Network` resolves them."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [{"hostname": host, "host": host, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


class _Connector(aiohttp.TCPConnector):
    """Makes each of its connections by `Network`."""

    def __init__(self, network: Network, proxy: Proxy | None, trusted: frozenset[str]) -> None:
        # aiohttp opens no socket: should it come to connect by a way that is not overridden here, it must fail.
        super().__init__(ssl=authorities(), use_dns_cache=False, resolver=_Names(), socket_factory=_no_socket)
        self._network = network
        self._by = None if proxy is None else _Way(proxy, trusted=False)
        self._trusted = trusted

    async def connect(self, req: Any, *more: Any, **options: Any) -> Any:
        """A connection for a request."""
        if req.proxy is not None:
            raise RuntimeError("a request names no proxy: it belongs to `open_session`")
        return await super().connect(req, *more, **options)

    async def _wrap_create_connection(self, *args: Any, addr_infos: Any, req: Any, timeout: Any, **options: Any) -> Any:
        # `addr_infos` are the names, see `_Names`. aiohttp-socks overrides the same method.
        host, port = req.url.raw_host, req.url.port
        connected = await self._network._connect(
            host,
            port,
            self._by or _way_of_environment(str(req.url)),
            trusted=plain_host(host) in self._trusted,
            timeout_s=timeout.sock_connect or CONNECT_S,
        )
        return await self._wrap_existing_connection(*args, req=req, timeout=timeout, sock=connected, **options)


def _no_socket(info: object) -> socket.socket:
    raise Permanent("forbidden", "a connection that was not judged")


def _way_of_environment(url: str) -> _Way | None:
    """The proxy of the environment for an address. Raises Retryable for one that cannot be used."""
    found = proxy_of(url).get("proxy")
    if found is None:
        return None
    try:
        return _Way(read_proxy(found), trusted=True)
    except ValueError:
        name = f"{urlsplit(url).scheme.upper()}_PROXY or ALL_PROXY"
        raise Retryable(
            "connection", f"{name} cannot be used for addresses of definitions: only http://host:port"
        ) from None


async def _lookup(host: str, port: int) -> Sequence[AddressInfo]:
    """What the machine says of a name. Raises Retryable, and Permanent where there is no name."""
    if not host:
        raise Permanent("invalid_content", "there is no host in the address")
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        return cast("Sequence[AddressInfo]", found)
    except (OSError, UnicodeError) as error:
        raise Retryable("connection", f"{_shown(host)} leads nowhere: {_why(error)}") from None


def _shown(host: str) -> str:
    return one_line(host, _SHOWN)


def _why(error: Exception) -> str:
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__, _SHOWN)
