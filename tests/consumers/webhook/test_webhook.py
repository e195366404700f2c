"""A webhook: what it sends, how it signs, what it makes of answers, and what it does not reach."""

import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from consumers.text.template import Renderer
from consumers.text.texts import Texts
from consumers.webhook import posting
from consumers.webhook.webhook import Webhook, WebhookParameters
from notifier import Context, Delivery, Permanent, Result, Retryable
from notifier.catalog import Catalog
from notifier.network import Network
from notifier.outcome import Outcome, Reason
from notifier.registry import Registry
from notifier.rendered import Rendered, content_of
from tests.rigs.bot_api import Answer, cut, hang_up, raw, stay_silent
from tests.rigs.company_network import forget_proxies, proxying
from tests.rigs.hook_server import HookServer, result
from tests.rigs.plugin_world import make_delivery

NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()


@asynccontextmanager
async def webhook(url: str, **parameters: Any) -> AsyncIterator[Webhook]:
    consumer = Webhook(WebhookParameters.model_validate({"url": url, **parameters}))
    try:
        yield consumer
    finally:
        await consumer.close()


def make(content: str = "build failed", number: int = 1, **fields: Any) -> Delivery:
    return make_delivery(content, number=number, consumer="hook", **fields)


async def test_the_body_has_the_text_and_the_whole_message(server: HookServer, context: Context) -> None:
    message = {
        "title": "Сборка",
        "labels": {"team": "infra"},
        "custom": {"deep": [1, None]},
        "url": "https://x.example",
    }
    async with webhook(server.url + "/in?a=%2F") as consumer:
        found = await result(consumer, make(message={**message, "occurred_at": "2026-11-29T18:00:00Z"}), context)
    assert found == Result(detail="the service answered 200: ok")
    (sent,) = server.sent
    assert (sent.method, sent.target) == ("POST", "/in?a=%2F")
    assert sent.headers["Content-Type"] == "application/json"
    body = sent.json()
    assert (body["type"], body["timestamp"]) == ("message", "2026-11-29T18:00:00Z")
    data = body["data"]
    assert data["id"] == "ci/1/all/hook/alice"
    assert (data["sender"], data["receiver"], data["recipients"]) == ("octocat", "al", None)
    assert (data["configuration"], data["subject"]) == ("all", "Сборка")
    assert "build failed" in data["text"]
    assert data["message"] == {"producer": "ci", "content": "build failed", **message, "occurred_at": body["timestamp"]}


async def test_a_message_to_everyone_names_its_recipients(server: HookServer, context: Context) -> None:
    async with webhook(server.url) as consumer:
        await result(consumer, make(recipient=None, receiver=None, recipients=("alice", "bob")), context)
    data = server.sent[0].json()["data"]
    assert (data["receiver"], data["recipients"]) == (None, ["alice", "bob"])
    assert abs(time.time() - float(server.sent[0].headers["webhook-timestamp"])) < 600


@pytest.mark.parametrize("content", ["\ud800 alone", "x" * 200_000, "", "\0\x1b[31m", "🇺🇦 தமிழ்"])
async def test_odd_texts_arrive(server: HookServer, context: Context, content: str) -> None:
    message = json.dumps({"producer": "ci", "content": content}).encode()
    async with webhook(server.url, secret=NEW) as consumer:
        found = await result(consumer, make(message=message), context)
    if "\ud800" in content:  # is no text: the record itself is refused
        assert (found.outcome, found.reason) == ("refused", "invalid_content")
        return
    assert found.outcome == "accepted"
    assert server.sent[0].json()["data"]["message"]["content"] == content


async def test_an_independent_verifier_takes_the_signature(server: HookServer, context: Context) -> None:
    async with webhook(server.url, secret=NEW, secret_old=OLD) as consumer:
        for _ in range(2):
            await result(consumer, make("привет"), context)
        await result(consumer, make(number=2), context)
    first, again, other = server.sent
    for secret in (NEW, OLD):
        assert Verifier(secret).verify(first.body, dict(first.headers))["type"] == "message"
    with pytest.raises(WebhookVerificationError):
        Verifier(NEW).verify(first.body + b" ", dict(first.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_" + base64.b64encode(b"another").decode()).verify(first.body, dict(first.headers))
    ids = [sent.headers["webhook-id"] for sent in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]


async def test_a_secret_may_be_any_text_and_none_signs_nothing(server: HookServer, context: Context) -> None:
    async with webhook(server.url, secret="s3cret") as consumer:
        await result(consumer, make(), context)
    async with webhook(server.url) as consumer:
        await result(consumer, make(), context)
    signed, unsigned = server.sent
    assert Verifier(base64.b64encode(b"s3cret").decode()).verify(signed.body, dict(signed.headers))
    assert "webhook-signature" not in unsigned.headers
    assert unsigned.headers["webhook-id"] == signed.headers["webhook-id"]


async def test_headers_are_sent_and_are_in_no_text(
    server: HookServer, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [raw(400, b"what is Bearer CANARY-1? " + NEW.encode() + b" No such key: CANARY-1")]
    given = {"authorization": "Bearer CANARY-1", "X-Team": "infra"}
    async with webhook(server.url, secret=NEW, headers=given) as consumer:
        found = await result(consumer, make(), context)
        assert "CANARY" not in repr(consumer.parameters)
    assert server.sent[0].headers["Authorization"] == "Bearer CANARY-1"
    assert server.sent[0].headers["X-Team"] == "infra"
    assert found.detail == "the service answered 400: what is ***? *** No such key: ***"
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "outcome", "reason", "retry_after_s"),
    [
        pytest.param(raw(204, b""), "accepted", "ok", None, id="204"),
        pytest.param(raw(202, b"\xff\xfe\0"), "accepted", "ok", None, id="202 with no text"),
        pytest.param(raw(200, b"1" * 3_000_000), "accepted", "ok", None, id="200 with 3 MB"),
        pytest.param(cut(200), "accepted", "ok", None, id="200 that breaks off"),
        pytest.param(raw(429, b"", {"Retry-After": "17"}), "deferred", "rate_limited", 17.0, id="429"),
        pytest.param(raw(429, b"slow down"), "deferred", "rate_limited", None, id="429 that says nothing"),
        pytest.param(raw(429, b"", {"Retry-After": "soon"}), "deferred", "rate_limited", None, id="429 with nonsense"),
        pytest.param(raw(503, b"", {"Retry-After": "4"}), "deferred", "server_error", 4.0, id="503"),
        pytest.param(raw(500, b"", {"Retry-After": "4"}), "deferred", "server_error", None, id="500"),
        pytest.param(raw(502, b"<html>" * 20_000), "deferred", "server_error", None, id="502 with a page"),
        pytest.param(cut(500), "deferred", "server_error", None, id="500 that breaks off"),
        pytest.param(raw(400, b"no such field"), "refused", "invalid_content", None, id="400"),
        pytest.param(cut(400), "refused", "invalid_content", None, id="400 that breaks off"),
        pytest.param(raw(413, b""), "refused", "invalid_content", None, id="413"),
        pytest.param(raw(415, b""), "refused", "invalid_content", None, id="415"),
        pytest.param(raw(422, b""), "refused", "invalid_content", None, id="422"),
        pytest.param(raw(401, b""), "refused", "unauthorized", None, id="401"),
        pytest.param(raw(403, b""), "refused", "forbidden", None, id="403"),
        pytest.param(raw(404, b"default backend"), "deferred", "not_found", None, id="404"),
        pytest.param(raw(405, b""), "refused", "not_found", None, id="405"),
        pytest.param(raw(410, b""), "refused", "not_found", None, id="410"),
        pytest.param(raw(451, b""), "refused", "forbidden", None, id="451"),
        pytest.param(raw(407, b""), "deferred", "connection", None, id="407"),
        pytest.param(raw(408, b""), "deferred", "server_error", None, id="408"),
        pytest.param(raw(409, b""), "deferred", "server_error", None, id="409"),
        pytest.param(raw(418, b""), "deferred", "server_error", None, id="418"),
        pytest.param(raw(302, b"", {"Location": "http://127.0.0.1:1/"}), "deferred", "server_error", None, id="302"),
        pytest.param(raw(308, b"", {"Location": "/x"}), "deferred", "server_error", None, id="308"),
        pytest.param(hang_up, "unknown", "connection", None, id="hung up"),
    ],
)  # fmt: skip
async def test_each_answer_has_its_meaning(
    server: HookServer, context: Context, answer: Answer, outcome: Outcome, reason: Reason, retry_after_s: float | None
) -> None:
    server.answers = [answer]
    async with webhook(server.url) as consumer:
        found = await result(consumer, make(), context)
        assert (found.outcome, found.reason, found.retry_after_s) == (outcome, reason, retry_after_s)
        assert len(found.detail or "") < 700
        assert outcome == "accepted" or found.detail
        assert len(server.sent) == 1
        assert (await result(consumer, make(number=2), context)).outcome == "accepted"  # the session is not broken


async def test_without_a_connection_nothing_was_sent(server: HookServer, context: Context) -> None:
    async with webhook("http://127.0.0.1:1/hook?token=CANARY") as consumer:
        found = await result(consumer, make(), context)
    assert (found.outcome, found.reason) == ("deferred", "connection")
    assert "CANARY" not in str(found.detail)
    async with webhook(f"https://127.0.0.1:{server.port}/") as consumer:  # does not speak TLS
        found = await result(consumer, make(), context)
    assert (found.outcome, found.reason) == ("deferred", "connection")


async def test_what_is_not_answered_in_time_is_unknown(
    server: HookServer, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    server.answers = [stay_silent]
    async with webhook(server.url) as consumer:
        found = await result(consumer, make(), context)
    assert (found.outcome, found.reason) == ("unknown", "timeout")


async def test_addresses_of_the_operators_network_are_refused(server: HookServer, context: Context) -> None:
    async with webhook(server.url) as consumer:
        shut = replace(context, network=Network())
        found = await result(consumer, make(), shut)
        assert (found.outcome, found.reason) == ("refused", "forbidden")
        with pytest.raises(Permanent):
            await consumer.check(shut)
        await consumer.check(context)
    assert server.sent == []
    async with webhook("http://127.0.0.1:1/") as consumer:
        with pytest.raises(Retryable):
            await consumer.check(context)


async def test_it_goes_by_the_proxy_of_its_parameters(server: HookServer, context: Context) -> None:
    async with proxying("me:planted") as proxy:
        async with webhook(server.url, proxy=f"http://me:planted@{proxy.address}") as consumer:
            assert (await result(consumer, make(), context)).outcome == "accepted"
            await consumer.check(context)
        async with webhook(server.url, proxy=f"http://me:wrong-planted@{proxy.address}") as consumer:
            found = await result(consumer, make(), context)
    assert (found.outcome, found.reason) == ("deferred", "connection")
    assert "planted" not in str(found)
    assert len(server.sent) == 1


async def test_deliveries_at_once_have_results_of_their_own(server: HookServer, context: Context) -> None:
    server.answers = [raw(400, b""), raw(429, b"", {"Retry-After": "3"})]
    deliveries = [make(number=number) for number in range(20)] + [make(number=99, message=b'{"producer": 1}')]
    async with webhook(server.url, at_once=30) as consumer:
        assert consumer.batch() == 30
        results = await consumer.deliver(deliveries, context)
        assert sorted(found.reason for found in results) == [
            "invalid_content", "invalid_content", *["ok"] * 18, "rate_limited",
        ]  # fmt: skip
        before = len(server.connections)
        await consumer.deliver(deliveries[5:20], context)
        assert len(server.connections) == before  # they are used again
    assert results[-1].reason == "invalid_content"


async def test_a_fault_of_one_is_logged_without_secrets_and_costs_no_other(
    server: HookServer, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    async def rendered(delivery: Delivery) -> Rendered:
        if delivery.message_id == "1":
            raise RuntimeError("Bearer CANARY-1")
        return await content_of(delivery)

    async with webhook(server.url, at_once=2, headers={"Authorization": "Bearer CANARY-1"}) as consumer:
        odd, good = await consumer.deliver([make(number=1), make(number=2)], replace(context, rendered=rendered))
    assert (odd.outcome, good.outcome) == ("unknown", "accepted")
    assert "RuntimeError" in caplog.text
    assert "CANARY" not in caplog.text


async def test_a_check_goes_by_the_proxy_of_the_environment_as_requests_do(
    server: HookServer, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_proxies(monkeypatch)
    async with proxying() as proxy, webhook(server.url) as consumer:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        await consumer.check(context)
        assert len(proxy.asked) == 1
    assert server.sent == []


async def test_a_template_makes_the_body(server: HookServer, context: Context) -> None:
    renderer = Renderer()
    context = replace(context, render=Texts(renderer, Catalog(registry=Registry([]))).render)
    parameters: list[dict[str, Any]] = [
        {"body": '{"summary": {{ message.content | tojson }}, "to": {{ receiver | tojson }}}'},
        {"body": "{{ message.content }}!", "content_type": "text/plain; charset=utf-8"},
        {"body": '{"summary": {{ message.content }}}'},
        {"body": "{{ 'x' * 100000000 }}", "content_type": "text/plain"},
    ]
    found = []
    try:
        for given in parameters:
            async with webhook(server.url, secret=NEW, **given) as consumer:
                found.append(await result(consumer, make('say "hi"'), context))
    finally:
        await renderer.close()
    made, plain, broken, huge = server.sent
    assert made.json() == {"summary": 'say "hi"', "to": "al"}
    assert (plain.body, plain.headers["Content-Type"]) == (b'say "hi"!', "text/plain; charset=utf-8")
    for sent in (broken, huge):
        assert sent.json()["data"]["message"]["content"] == 'say "hi"'
        assert sent.headers["Content-Type"] == "application/json"
    assert "it makes no JSON" in str(found[2].detail)
    assert "the template of the body failed, so the usual one was sent" in str(found[3].detail)
    assert all(Verifier(NEW).verify(sent.body, dict(sent.headers)) is not None for sent in (made, broken))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://name:CANARY@example.com"}, "url"),
        ({"url": "https://example.com/\r\nX: y"}, "url"),
        ({"url": "https://exa mple.com/"}, "url"),
        ({"url": "example.com"}, "url"),
        ({"url": "https://example.com:0/"}, "url"),
        ({"url": "https://[::1/"}, "url"),
        ({"secret": "whsec_CANARY-not-base64"}, "secret"),
        ({"secret": ""}, "secret"),
        ({"secret_old": "whsec_"}, "secret_old"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"headers": {"webhook-ID": "x"}}, "headers"),
        ({"headers": {"X Y": "x"}}, "headers"),
        ({"headers": {"X": "a\r\nb"}}, "headers"),
        ({"headers": {"X": "CANARYя"}}, "headers"),
        ({"body": "{{ nobody }}"}, "body"),
        ({"body": "{% if %}"}, "body"),
        ({"content_type": "text"}, "content_type"),
        ({"content_type": "text/plain\r\nX: y"}, "content_type"),
        ({"at_once": 0}, "at_once"),
        ({"proxy": "proxy"}, "proxy"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookParameters.model_validate({"url": "https://example.com", **given})
    assert {str(error["loc"][0]) for error in refused.value.errors()} == {field}
    assert "CANARY" not in str([error["msg"] for error in refused.value.errors()])
