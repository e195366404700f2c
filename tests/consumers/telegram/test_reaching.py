"""How Telegram is reached: at an address that changes, behind an authority of one's own, by a proxy."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from consumers.telegram import Telegram
from consumers.telegram.updates import Updates
from notifier import Result, Retryable
from notifier.errors import InputError
from notifier.network import Network
from notifier.registry import Registry
from tests.rigs.bot_api import TOKEN, at, bot, make, result, serving
from tests.rigs.company_network import Names, forget_proxies, make_authority, proxying
from tests.rigs.socks import socks


async def test_an_address_that_changed_is_found_with_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)
    names = Names(monkeypatch)
    names.addresses["botapi.example"] = "127.0.0.2"
    async with bot() as consumer:
        async with serving("127.0.0.2") as old:
            context = at(f"http://botapi.example:{old.port}")
            assert await result(consumer, make(), context) == Result()
        gone = await result(consumer, make(number=2), context)
        assert gone.reason == "connection"
        async with serving("127.0.0.3", old.port) as new:
            names.addresses["botapi.example"] = "127.0.0.3"
            assert await result(consumer, make(number=2), context) == Result()
            assert len(new.texts) == 1


async def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forget_proxies(monkeypatch)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    (tmp_path / "other").mkdir()
    authority, certificate = make_authority(tmp_path)
    other, _ = make_authority(tmp_path / "other")
    async with serving(certificate=certificate) as api:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        async with bot() as consumer:
            assert await result(consumer, make(), at(api.url)) == Result()
        for named in (str(other), str(tmp_path / "none.pem"), ""):
            monkeypatch.setenv("SSL_CERT_FILE", named)
            async with bot() as consumer:
                found = await result(consumer, make(), at(api.url))
            assert (found.outcome, found.reason) == ("deferred", "connection"), named
            assert "SSL_CERT_FILE may name the authority" in str(found.detail)
        assert len(api.texts) == 1


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_proxy_is_gone_by_and_its_password_is_in_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    forget_proxies(monkeypatch)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    authority, certificate = make_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    variable = f"{scheme}_proxy".upper()
    async with serving(certificate=certificate if scheme == "https" else None) as api, proxying("me:pl%nted") as proxy:
        monkeypatch.setenv(variable, f"http://me:pl%25nted@{proxy.address}")
        async with bot() as consumer:
            assert await result(consumer, make(), at(api.url)) == Result()
            assert len(proxy.asked) == 1
            assert str(api.port) in proxy.asked[0]
            monkeypatch.setenv("NO_PROXY", "localhost, 127.0.0.0/8")
            assert await result(consumer, make(number=2), at(api.url)) == Result()
            assert len(proxy.asked) == 1
            monkeypatch.delenv("NO_PROXY")
            for wrong, words in (
                (f"http://me:plonted@{proxy.address}", "407"),
                ("http://me:planted@127.0.0.1:1", "the proxy of HTTPS_PROXY or HTTP_PROXY"),
                ("socks5://me:planted@127.0.0.1:1080", f"{variable} or ALL_PROXY cannot be used"),
            ):
                monkeypatch.setenv(variable, wrong)
                found = await result(consumer, make(number=3), at(api.url))
                assert (found.outcome, found.reason) == ("deferred", "connection"), (wrong, found)
                assert words in str(found.detail)
                assert "nted" not in str(found.detail)
        assert len(api.texts) == 2


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_of_the_consumer_is_gone_by_and_asked_for_telegram_by_its_name(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    forget_proxies(monkeypatch)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # has no say
    network = Network(allowed=["127.0.0.1"])
    serves = proxying if kind == "http" else socks
    async with serving() as api, serves("me:planted") as proxy:
        context = replace(at(f"http://localhost:{api.port}"), network=network)
        address = f"{kind}://me:planted@{proxy.address}"
        async with bot(proxy=SecretStr(address)) as consumer:
            assert await result(consumer, make(), context) == Result()
            await consumer.check(context)
        assert len(proxy.asked) == 1  # the connection is kept
        assert f"localhost:{api.port}" in proxy.asked[0]
        for wrong, allowed in ((address.replace("planted", "plonted"), network), (address, Network())):
            async with bot(proxy=SecretStr(wrong)) as consumer:
                found = await result(consumer, make(number=2), replace(context, network=allowed))
                assert (found.outcome, found.reason) == ("deferred", "connection")
                assert "the proxy" in str(found.detail)
                assert "nted" not in str(found.detail) + repr(consumer.parameters)
        assert len(api.texts) == 1


async def test_who_listens_goes_by_the_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # has no say
    async with serving() as api, socks("me:planted") as proxy:
        for allowed in ("127.0.0.1", "192.0.2.1"):
            network = Network(allowed=[allowed])
            address = f"socks5://me:planted@{proxy.address}"
            async with network.open_session(proxy=address, trusted=["localhost"]) as session:
                updates = Updates(session, TOKEN, f"http://localhost:{api.port}", by_proxy=True)
                if allowed == "127.0.0.1":
                    await updates.say(5001, "hello")
                else:
                    with pytest.raises(Retryable, match="the proxy cannot be used") as refused:
                        await updates.say(5001, "hello")
                    assert "nted" not in str(refused.value)
        assert proxy.asked == [f"localhost:{api.port}"]


@pytest.mark.parametrize("proxy", ["socks4://h:1", "h:1080", "ftp://h", ""])
def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(InputError) as refused:
        Registry([Telegram]).check("consumer", "telegram", {"bot_token": TOKEN, "chat_id": 1, "proxy": proxy})
    assert [error.pointer for error in refused.value.errors] == ["/parameters/proxy"]
