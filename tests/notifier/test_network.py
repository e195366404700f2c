"""Connections to addresses that people name: directly, by proxies, after redirects, and when names change."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from notifier import Permanent, Retryable
from notifier.network import Network
from notifier.proxy import read_proxy
from tests.rigs.company_network import Names, Proxy, forget_proxies, make_authority, proxying
from tests.rigs.socks import Socks, socks

LOOPBACK = Network(allowed=["127.0.0.0/8"])
NAME = "service.example"
PROXIES: Mapping[str, Callable[..., AbstractAsyncContextManager[Socks | Proxy]]] = {"http": proxying, "socks5": socks}


class Server:
    """A server on loopback that says which path and host it was asked for."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.connections: set[object] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.host}{request.path}")
        self.connections.add(request.transport)
        if request.path == "/away":
            raise web.HTTPFound(request.query["to"])
        return web.Response(text="reached")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names(monkeypatch)
    names.addresses[NAME] = "127.0.0.1"
    return names


async def get(network: Network, url: str, **options: object) -> str:
    async with network.open_session(**options) as session, session.get(url) as answer:  # type: ignore[arg-type]
        return await answer.text()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "user@127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST", "0x7f.1", "[::1]", "[::]", NAME],
)
async def test_no_way_to_write_a_private_address_leads_there(server: Server, names: Names, host: str) -> None:
    with pytest.raises(Permanent, match="does not lead to a public address; NOTIFIER_ALLOWED_ADDRESSES") as raised:
        await get(Network(), f"http://{host}:{server.port}/")
    assert raised.value.reason == "forbidden"
    assert host != NAME or "127" not in str(raised.value)
    assert server.asked == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "017700000001", "0177.0.0.1"])
async def test_short_forms_of_an_address_lead_nowhere(server: Server, host: str) -> None:
    with pytest.raises((Permanent, Retryable, aiohttp.InvalidURL)):
        await get(Network(), f"http://{host}:{server.port}/")
    assert server.asked == []


@pytest.mark.parametrize("allowed", ["127.0.0.0/8", "127.0.0.1", NAME])
async def test_what_is_allowed_is_reached_by_one_connection(server: Server, names: Names, allowed: str) -> None:
    async with Network(allowed=[allowed]).open_session() as session:
        for _ in range(3):
            async with session.get(f"http://{NAME}:{server.port}/x") as answer:
                assert await answer.text() == "reached"
    assert server.asked == [f"{NAME}:{server.port}/x"] * 3
    assert len(server.connections) == 1


async def test_a_redirect_leads_to_no_private_address(server: Server, names: Names) -> None:
    network = Network(allowed=[NAME])
    with pytest.raises(Permanent, match="does not lead to a public address"):
        await get(network, f"http://{NAME}:{server.port}/away?to=http://127.0.0.1:{server.port}/in")
    assert server.asked == [f"{NAME}:{server.port}/away"]


async def test_a_name_is_judged_again_for_each_connection(server: Server, names: Names) -> None:
    names.addresses[NAME] = "127.0.0.1"
    network = Network(allowed=["127.0.0.1"])
    async with network.open_session() as session:
        async with session.get(f"http://{NAME}:{server.port}/", headers={"Connection": "close"}) as answer:
            assert await answer.text() == "reached"
        names.addresses[NAME] = "127.0.0.2"  # which leads to the same server, were it asked
        with pytest.raises(Permanent):
            await session.get(f"http://{NAME}:{server.port}/")
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("credentials", [None, "me:p%40ss"])
async def test_a_proxy_is_asked_for_the_address_that_was_judged(
    server: Server, names: Names, kind: str, credentials: str | None
) -> None:
    async with PROXIES[kind](credentials and credentials.replace("%40", "@")) as proxy:
        url = f"{kind}://{credentials + '@' if credentials else ''}{proxy.address}"
        assert await get(LOOPBACK, f"http://{NAME}:{server.port}/x", proxy=url) == "reached"
    assert server.asked == [f"{NAME}:{server.port}/x"]
    (asked,) = proxy.asked
    assert f"127.0.0.1:{server.port}" in asked
    assert NAME not in asked


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_no_private_address_is_reached_by_a_proxy(server: Server, names: Names, kind: str) -> None:
    async with PROXIES[kind]() as proxy:
        host, _, port = proxy.address.partition(":")
        names.addresses["proxy.example"] = host
        network = Network(allowed=["proxy.example"])
        with pytest.raises(Permanent, match=r"service\.example does not lead"):
            await get(network, f"http://{NAME}:{server.port}/", proxy=f"{kind}://proxy.example:{port}")
        with pytest.raises(Permanent, match=r"127\.0\.0\.1 does not lead"):  # the proxy itself
            await get(Network(allowed=[NAME]), f"http://{NAME}:{server.port}/", proxy=f"{kind}://{proxy.address}")
    assert proxy.asked == []
    assert server.asked == []


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_resolves_the_names_that_the_operator_trusts(server: Server, kind: str) -> None:
    network = Network(allowed=["127.0.0.1"])
    async with PROXIES[kind]() as proxy:
        url = f"{kind}://{proxy.address}"
        assert await get(network, f"http://localhost:{server.port}/", proxy=url, trusted=["localhost"]) == "reached"
        (asked,) = proxy.asked
        assert f"localhost:{server.port}" in asked
        connected = await network.connect("localhost", server.port, proxy=url, trusted=True)
        connected.close()


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_what_a_proxy_refuses_is_said_without_its_password(server: Server, names: Names, kind: str) -> None:
    async with PROXIES[kind]("me:right") as proxy:
        with pytest.raises(Retryable, match=r"the proxy gives no connection to service\.example: .+") as raised:
            await get(LOOPBACK, f"http://{NAME}:{server.port}/", proxy=f"{kind}://me:planted@{proxy.address}")
        assert raised.value.reason == "connection"
        assert "planted" not in str(raised.value)
    with pytest.raises(Retryable):
        await get(LOOPBACK, f"http://{NAME}:{server.port}/", proxy=f"{kind}://{proxy.address}")  # has ended
    with pytest.raises(Retryable):  # is no proxy
        await get(LOOPBACK, f"http://{NAME}:{server.port}/", proxy=f"{kind}://127.0.0.1:{server.port}")


@pytest.mark.parametrize("kind", [None, "http", "socks5"])
async def test_certificates_are_checked_for_the_name(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    authority, certificate = make_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    found = Server()
    app = web.Application()
    app.router.add_get("/", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate).start()
    port = runner.addresses[0][1]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        url = None
        if kind is not None:
            url = f"{kind}://{(await stack.enter_async_context(PROXIES[kind]())).address}"
        names.addresses["localhost"] = "127.0.0.1"
        assert await get(LOOPBACK, f"https://localhost:{port}/", proxy=url) == "reached"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await get(LOOPBACK, f"https://{NAME}:{port}/", proxy=url)


async def test_the_proxy_of_the_environment_is_used_and_is_the_operators(
    server: Server, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxying() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        assert await get(Network(allowed=[NAME]), f"http://{NAME}:{server.port}/") == "reached"
        assert proxy.asked == [f"CONNECT {NAME}:{server.port} HTTP/1.1"]
        with pytest.raises(Permanent):
            await get(Network(), f"http://127.0.0.1:{server.port}/")
        monkeypatch.setenv("NO_PROXY", NAME)
        assert await get(Network(allowed=[NAME]), f"http://{NAME}:{server.port}/") == "reached"
        assert len(proxy.asked) == 1
        monkeypatch.setenv("HTTP_PROXY", "https://me:planted@proxy.example")
        with pytest.raises(
            Retryable, match="HTTP_PROXY or ALL_PROXY cannot be used for addresses of definitions"
        ) as no:
            await get(LOOPBACK, f"http://127.0.0.1:{server.port}/")
        assert "planted" not in str(no.value)


async def test_a_request_names_no_proxy_of_its_own(server: Server) -> None:
    async with proxying() as proxy, LOOPBACK.open_session() as session:
        with pytest.raises(RuntimeError, match="belongs to `open_session`"):
            await session.get(f"http://127.0.0.1:{server.port}/", proxy=f"http://{proxy.address}")


async def test_a_raw_socket_is_guarded_too(server: Server, names: Names) -> None:
    with pytest.raises(Permanent):
        await Network().connect("localhost", server.port)
    with pytest.raises(Permanent):
        await Network().resolve("localhost", server.port)
    assert {info[4][:2] for info in await LOOPBACK.resolve("127.0.0.1", 25)} == {("127.0.0.1", 25)}
    reader, writer = await asyncio.open_connection(sock=await LOOPBACK.connect("127.0.0.1", server.port))
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert b"reached" in await reader.read()
    writer.close()
    with pytest.raises(Retryable, match=r"no connection to 127\.0\.0\.1"):
        await LOOPBACK.connect("127.0.0.1", 1)
    for nowhere in ("nowhere.invalid", "a" * 100, "a..b", "\udcff.example", "a\0b"):
        with pytest.raises(Retryable, match="leads nowhere") as raised:
            await LOOPBACK.connect(nowhere, 25)
        str(raised.value).encode()
    with pytest.raises(Permanent, match="no host"):
        await LOOPBACK.connect("", 25)


@pytest.mark.parametrize(
    "url",
    ["", "proxy:3128", "ftp://p", "https://p", "http://", "http://p:0", "http://p:port", "http://[p", "http://p/x", "socks4://p",
     "http://p?x", "http://p\n", "http://" + "я" * 3 + ":x@p", "socks5://" + "a" * 256 + "@p", "http://a%3Ab:c@p"],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be a proxy, such as|that no proxy can be told"):
        read_proxy(url)


def test_a_proxys_text_holds_no_password() -> None:
    proxy = read_proxy("socks5h://me:planted@p.example/")
    assert (proxy.socks, proxy.host, proxy.port, proxy.username, proxy.password) == (
        True,
        "p.example",
        1080,
        "me",
        "planted",
    )
    assert "planted" not in repr(proxy)
    assert read_proxy("http://[::1]").host == "::1"
