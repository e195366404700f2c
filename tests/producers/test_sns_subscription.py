"""Confirming subscriptions of Amazon SNS, which a server on loopback stands for, reached under Amazon's names."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from notifier import Hook, Received
from notifier.network import Network
from producers.push import Push
from producers.sns_subscription import CONFIRMED, is_confirmation
from tests.rigs.company_network import make_authority
from tests.rigs.hook_server import HookServer, hooks
from tests.rigs.plugin_world import context_without_scripts

TOPIC = "arn:aws:sns:us-west-2:123456789012:MyTopic"
URL = f"https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"


@dataclass(frozen=True, kw_only=True)
class Everywhere(Network):
    """A network in which every name is one server."""

    port: int

    def open_session(self, **options: Any) -> aiohttp.ClientSession:
        resolver = _Resolver(self.port)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver, ssl=False))


class _Resolver(AbstractResolver):
    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@pytest.fixture
async def amazon(tmp_path: Path) -> AsyncIterator[HookServer]:
    _, certificate = make_authority(tmp_path)
    async with hooks(certificate) as server:
        yield server


async def received(amazon: HookServer, **fields: object) -> Received:
    payload = {
        "Type": "SubscriptionConfirmation",
        "TopicArn": TOPIC,
        "Token": "2336412f37",
        "SubscribeURL": URL,
        **fields,
    }
    context = replace(context_without_scripts("ci"), network=Everywhere(port=amazon.port))
    producer = Push(Push.Parameters.model_validate({"mapping": "sns"}))
    return await producer.received(Hook(door="json", payload=payload), context)


async def test_a_subscription_is_confirmed_and_is_no_message(amazon: HookServer) -> None:
    read = await received(amazon)
    assert (list(read.messages), read.detail) == ([], CONFIRMED)
    assert [sent.target.partition("&")[0] for sent in amazon.sent] == ["/?Action=ConfirmSubscription"]
    assert amazon.sent[0].headers["Host"] == "sns.us-west-2.amazonaws.com"


async def _refuse(request: web.Request) -> web.StreamResponse:
    return web.Response(status=403, text="<ErrorResponse/>")


async def _lead_away(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "https://elsewhere.example/"})


async def _break_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize("answer", [_refuse, _lead_away, _break_off], ids=["refused", "led away", "broken off"])
async def test_one_that_is_not_confirmed_is_a_message_that_says_so(amazon: HookServer, answer: Any) -> None:
    amazon.answers += [answer, answer]  # a connection that breaks off is tried again once
    read = await received(amazon)
    [message] = read.messages
    assert message["content"].startswith("the subscription is not confirmed: ")
    assert read.detail == message["content"]
    assert "2336412f37" not in str(read)
    assert {sent.headers["Host"] for sent in amazon.sent} == {"sns.us-west-2.amazonaws.com"}


@pytest.mark.parametrize("url", ["https://evil.example/?Action=ConfirmSubscription", None, 5, ["x"]])
async def test_nothing_but_sns_is_asked(amazon: HookServer, url: object) -> None:
    read = await received(amazon, SubscribeURL=url)
    assert "does not lead to Amazon SNS" in str(read.detail)
    assert amazon.sent == []


async def test_other_mappings_confirm_nothing(amazon: HookServer) -> None:
    context = replace(context_without_scripts("ci"), network=Everywhere(port=amazon.port))
    payload = {"Type": "SubscriptionConfirmation", "SubscribeURL": URL}
    for parameters in ({}, {"mapping": "grafana"}, {"mapping": {"content": "Message"}}):
        producer = Push(Push.Parameters.model_validate(parameters))
        assert len((await producer.received(Hook(door="json", payload=payload), context)).messages) == 1
    assert amazon.sent == []


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        (URL, True),
        (URL.replace(".com/", ".com.cn/"), True),
        (URL.replace(".com/", ".com:443/"), True),
        (URL.replace("https", "http"), False),
        (URL.replace(".com/", ".com:8443/"), False),
        (URL.replace("sns.us", "name:password@sns.us"), False),
        (URL.replace("amazonaws.com", "amazonaws.com.evil.example"), False),
        (URL.replace("amazonaws.com", "amazonaws.com@evil.example"), False),
        (URL.replace("amazonaws.com/", "evil.example\\.amazonaws.com/"), False),
        (URL.replace("us-west-2", "evil.example/x"), False),
        (URL.replace("us-west-2", "a.b"), False),
        (URL.replace("ConfirmSubscription", "DeleteTopic"), False),
        (URL.replace("ConfirmSubscription", "ConfirmSubscription&Action=DeleteTopic"), False),
        (URL.replace("/?", "/more?"), False),
        (URL + "\r\nX: y", False),
        (URL + "a" * 2000, False),
        ("https://[", False),
    ],
)
def test_which_addresses_confirm(url: str, is_one: bool) -> None:
    assert is_confirmation(url) is is_one
