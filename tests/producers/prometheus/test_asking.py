"""Asking for alerts: a stub over real HTTP for what may go wrong, and Debian's Prometheus and Alertmanager as they are."""

import asyncio
import dataclasses
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from notifier import Permanent, Retryable
from notifier.cursor import MAX_STATE_BYTES
from notifier.errors import DeliveryError, InputError, InvalidRecord
from notifier.network import Network
from notifier.record import JsonObject, now, rfc3339
from notifier.registry import Registry
from producers.prometheus import Prometheus, api, prometheus
from producers.prometheus.alert import fingerprint_of
from tests.rigs.alerts import GO_ZERO, alert, free_port, process, program
from tests.rigs.kafka_tools import WAIT_S, wait_until
from tests.rigs.plugin_world import context_without_scripts

TOKEN, PASSWORD = "planted-token-7", "planted-password-7"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asking:
    """Runs of one producer: each sees the cursor of the one before."""

    def __init__(self, url: str | None, **parameters: Any) -> None:
        self.producer = Prometheus(Prometheus.Parameters.model_validate({"url": url, **parameters}))
        self.cursor: JsonObject | None = None
        self.notices: list[str] = []

    async def run(self) -> list[Any]:
        """What the producer gives."""
        kept: list[JsonObject] = []
        context = dataclasses.replace(
            context_without_scripts("alerts"), cursor=self.cursor, keep=kept.append, notice=self.notices.append
        )
        given = await self.producer.produce(context)
        (self.cursor,) = [json.loads(msgspec.json.encode(state)) for state in kept]
        return given


@asynccontextmanager
async def stub(answer: Handler, **options: Any) -> AsyncIterator[str]:
    """The address of a server that answers so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, **options).start()
    scheme = "https" if options else "http"
    try:
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def active(name: str = "DiskFull", **more: Any) -> JsonObject:
    """An alert as Alertmanager's API has it."""
    return {
        **alert(name),
        "endsAt": "2026-11-29T09:04:00Z",  # until when it fires without news
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
        "receivers": [{"name": "notifier"}],
        "fingerprint": name,
        **more,
    }


def answering(status: int, body: bytes | str = b"", **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=raw, headers={"Content-Type": "application/json"} | given)

    return answer


async def test_a_run_tells_what_began_and_what_ended_since_the_one_before() -> None:
    alerts: list[Any] = [active("A"), active("B")]
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return web.json_response(alerts)

    async with stub(answer) as url:
        asking = Asking(url + "/", receiver_label="owner", token=TOKEN)
        first = await asking.run()
        assert [message["title"] for message in first] == ["[FIRING] A", "[FIRING] B"]
        assert first[0]["id"] == "A-firing-2026-11-29T09:00:00Z"
        assert await asking.run() == []
        alerts[:] = [active("B"), active("C"), active("B", startsAt="2026-11-29T11:00:00Z")]
        before = asking.cursor
        news = await asking.run()
        assert [message["title"] for message in news] == ["[FIRING] C", "[RESOLVED] A"]
        assert news[1]["id"] == "A-resolved-2026-11-29T09:00:00Z"
        assert news[1]["fingerprint"] == first[0]["fingerprint"]
        assert news[1]["labels"] == {**first[0]["labels"], "status": "resolved"}
        assert (news[1]["receiver"], news[1]["severity"]) == ("alice", "critical")
        assert news[1]["content"] == "The disk of db1 is full"
        asking.cursor = before  # as after a runner that was killed
        assert [message["id"] for message in await asking.run()] == [message["id"] for message in news]
        alerts[:] = [active("B", startsAt="2026-11-29T11:00:00Z"), 7, None]
        again = await asking.run()
        assert [message["title"] for message in again[:2]] == ["[FIRING] B", "[RESOLVED] C"]
        assert [type(one) for one in again[2:]] == [InvalidRecord, InvalidRecord]
    assert {request.path for request in asked} == {"/api/v2/alerts"}
    assert {request.headers["Authorization"] for request in asked} == {f"Bearer {TOKEN}"}


async def test_what_matchers_choose_no_more_has_not_ended() -> None:
    alerts = [active("A"), active("B")]

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(alerts)

    async with stub(answer) as url:
        all_ = Asking(url)
        assert len(await all_.run()) == 2
        narrower = Asking(url, matchers=["alertname=B"])
        narrower.cursor = all_.cursor
        assert await narrower.run() == []
        del alerts[:]
        assert [message["title"] for message in await narrower.run()] == ["[RESOLVED] B"]


@pytest.mark.parametrize("cursor", [{}, {"alerts": None}, {"alerts": {"A": 7, "B": [], "C": [None, None, None]}}])
async def test_an_odd_cursor_stands_for_no_alerts(cursor: JsonObject) -> None:
    async with stub(answering(200, json.dumps([active("A"), active("C", startsAt=None)]))) as url:
        asking = Asking(url)
        asking.cursor = cursor
        titles = [message["title"] for message in await asking.run()]
    assert titles == ["[FIRING] A", *(["[FIRING] C"] if "C" not in (cursor.get("alerts") or {}) else [])]


async def test_prometheus_is_found_by_itself_and_matchers_and_pending_alerts_count() -> None:
    listed = [
        {
            "labels": {"alertname": "Up", "job": "a"},
            "annotations": {},
            "state": "firing",
            "activeAt": "2026-11-29T09:00:00Z",
        },
        {"labels": {"alertname": "Up", "job": "b"}, "annotations": {}, "state": "firing", "activeAt": GO_ZERO},
        {"labels": {"alertname": "Up", "job": "a2"}, "annotations": {}, "state": "pending"},
    ]
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path != "/prefix/api/v1/alerts":
            return web.Response(status=404, text="404 page not found")
        return web.json_response({"status": "success", "data": {"alerts": listed}})

    async with stub(answer) as url:
        asking = Asking(f"{url}/prefix", matchers=["job=~a.*"], username="me", password=PASSWORD)
        (message,) = await asking.run()
        assert await asking.run() == []
    assert message["fingerprint"] == fingerprint_of({"alertname": "Up", "job": "a"})
    assert asked == ["/prefix/api/v2/alerts", *["/prefix/api/v1/alerts"] * 2]


FAILURES: list[tuple[str, Handler, type[DeliveryError], str]] = [
    ("unauthorized", answering(401, TOKEN), Permanent, "unauthorized"),
    ("forbidden", answering(403), Permanent, "forbidden"),
    ("not there", answering(404), Permanent, "not_found"),
    ("rate limit", answering(429, Retry_After="7"), Retryable, "rate_limited"),
    ("broken", answering(503), Retryable, "server_error"),
    ("redirected", answering(302, Location="http://127.0.0.1:1/"), Permanent, "invalid_content"),
    ("odd status", answering(204), Permanent, "invalid_content"),
    ("not JSON", answering(200, "<html>sign in</html>"), Retryable, "server_error"),
    ("cut", answering(200, '[{"labels":'), Retryable, "server_error"),
    ("no list", answering(200, '{"status":"error","error":"x"}'), Retryable, "server_error"),
    ("null", answering(200, "null"), Retryable, "server_error"),
    ("deep", answering(200, "[" * 100_000), Retryable, "server_error"),
    ("not packed", answering(200, "[]", Content_Encoding="gzip"), Retryable, "connection"),
]


@pytest.mark.parametrize(
    ("handler", "kind", "reason"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
async def test_a_failure_says_what_to_do_and_no_secret(
    handler: Handler, kind: type[DeliveryError], reason: str
) -> None:
    async with stub(handler) as url:
        asking = Asking(f"{url}/{PASSWORD}", token=TOKEN)
        for ask in (asking.run, lambda: asking.producer.check(context_without_scripts("alerts"))):
            with pytest.raises(kind) as failed:
                await ask()
            assert failed.value.reason == reason
            assert TOKEN not in str(failed.value)
            assert PASSWORD not in str(failed.value)
    if reason == "rate_limited":
        assert isinstance(failed.value, Retryable)
        assert failed.value.retry_after_s == 7


async def test_what_hangs_is_cut_or_is_too_large_fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(600)
        return web.Response()

    async def ends(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"[")
        assert request.transport is not None
        request.transport.close()
        return response

    monkeypatch.setattr(api, "MAX_BODY_BYTES", 10_000_000)
    for handler, reason, limit_s in ((hangs, "timeout", 0.5), (ends, "connection", 60.0)):
        monkeypatch.setattr(api, "REQUEST_S", limit_s)
        async with stub(handler) as url:
            with pytest.raises(Retryable) as failed:
                await Asking(url).run()
            assert failed.value.reason == reason
    monkeypatch.setattr(api, "REQUEST_S", 60.0)
    async with stub(answering(200, b" " * 10_000_001)) as url:
        with pytest.raises(Permanent, match="more than 10000000 bytes"):
            await Asking(url).run()
    with pytest.raises(Retryable) as failed:
        await Asking(f"http://127.0.0.1:{free_port()}").run()
    assert failed.value.reason == "connection"


async def test_addresses_of_ones_own_network_are_refused() -> None:
    context = dataclasses.replace(context_without_scripts("alerts"), network=Network())
    producer = Asking("http://169.254.169.254/").producer
    with pytest.raises(Permanent, match="NOTIFIER_ALLOWED_ADDRESSES"):
        await producer.check(context)


async def test_too_many_alerts_are_cut_and_none_of_them_seems_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MAX_ALERTS", 3)
    alerts = [active(name) for name in "BCDE"]

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(alerts)

    async with stub(answer) as url:
        asking = Asking(url)
        assert [message["title"][-1] for message in await asking.run()] == ["B", "C", "D"]
        assert asking.notices == ["4 alerts fire, and 3 of them are told of; narrow `matchers`"]
        alerts.insert(0, active("A"))
        assert await asking.run() == []


async def test_the_cursor_of_many_large_alerts_has_room() -> None:
    labels = {f"label{number}": "x" * 200 for number in range(10)} | {"alertname": "N", "owner": "alice"}
    alerts = [active(f"{number:016x}", labels=labels) for number in range(10_000)]
    async with stub(answering(200, json.dumps(alerts))) as url:
        asking = Asking(url, receiver_label="owner")
        assert len(await asking.run()) == 10_000
        assert len(json.dumps(asking.cursor)) < MAX_STATE_BYTES
        alerts[:] = alerts[:2_000]
    async with stub(answering(200, json.dumps(alerts))) as url:
        asking.producer = Asking(url, receiver_label="owner").producer
        ended = await asking.run()
    assert len(ended) == 8_000
    asking.cursor = None
    async with stub(answering(200, json.dumps(alerts))) as url:
        asking.producer = Asking(url, receiver_label="owner").producer
        await asking.run()
    async with stub(answering(200, "[]")) as url:
        asking.producer = Asking(url, receiver_label="owner").producer
        assert {message.get("receiver") for message in await asking.run()} == {"alice"}  # the little that is kept


async def test_an_authority_of_ones_own_is_trusted(tmp_path: Path) -> None:
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run([*made, *extra], check=True, capture_output=True)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(pem, key)
    async with stub(answering(200, "[]"), ssl_context=served) as url:
        assert await Asking(url, authority=pem.read_text()).run() == []
        with pytest.raises(Retryable, match="authority"):
            await Asking(url).run()


@pytest.mark.parametrize(
    "written",
    [
        {"url": "prometheus:9090"},
        {"url": "ftp://prometheus"},
        {"url": "http://me:secret@prometheus"},
        {"url": "http://prometheus/?token=x"},
        {"url": "http://prometheus\n"},
        {"username": "me"},
        {"password": PASSWORD},
        {"token": TOKEN, "username": "me", "password": PASSWORD},
        {"authority": "none"},
        {"matchers": ["team"]},
        {"per": "day"},
    ],
)
def test_parameters_that_cannot_be_are_refused(written: JsonObject) -> None:
    with pytest.raises(InputError) as refused:
        Registry([Prometheus]).check("producer", "prometheus", written)
    assert PASSWORD not in str(refused.value)


async def test_without_an_address_no_run_asks_it() -> None:
    producer = Asking(None).producer
    assert not producer.pull
    assert Asking("http://prometheus").producer.pull
    await producer.check(context_without_scripts("alerts"))


async def test_debians_alertmanager(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    url = f"http://127.0.0.1:{port}"
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={tmp_path}/am.yml",
        f"--storage.path={tmp_path}/data",
    ]
    options = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    labels = {"alertname": "DiskFull", "severity": "critical", "owner": "älice"}
    with process(*command, *options, log=tmp_path / "log"):
        async with aiohttp.ClientSession() as session:

            async def ready() -> bool:
                try:
                    async with session.get(f"{url}/-/ready") as response:
                        return response.status == 200
                except aiohttp.ClientError:
                    return False

            await wait_until(ready)

            async def post(ends: bool) -> None:
                times = {"startsAt": rfc3339(now() - timedelta(minutes=5))}
                times |= {"endsAt": rfc3339(now() - timedelta(seconds=1))} if ends else {}
                body = [{"labels": labels, "annotations": {"summary": "full"}, **times}]
                async with session.post(f"{url}/api/v2/alerts", json=body) as response:
                    assert response.status == 200

            await post(ends=False)
            asking = Asking(url, receiver_label="owner")
            given: list[Any] = []

            async def told() -> bool:
                given[:] = await asking.run()
                return bool(given)

            await wait_until(told)
            (message,) = given
            assert message["fingerprint"] == fingerprint_of(labels)
            assert (message["receiver"], message["content"]) == ("älice", "full")
            assert await asking.run() == []
            await post(ends=True)
            await wait_until(told)
            assert given[0]["labels"] == {**labels, "status": "resolved"}
            assert given[0]["fingerprint"] == message["fingerprint"]


async def test_debians_prometheus(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "rules.yml").write_text(
        "groups: [{name: g, interval: 1s, rules: [{alert: Always, expr: vector(1), labels: {severity: page},"
        " annotations: {summary: 'Value {{ $value }}'}}]}]\n"
    )
    (tmp_path / "prom.yml").write_text(f"global: {{evaluation_interval: 1s}}\nrule_files: [{tmp_path}/rules.yml]\n")
    command = [program("prometheus"), f"--config.file={tmp_path}/prom.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with process(*command, f"--web.listen-address=127.0.0.1:{port}", log=tmp_path / "log"):
        asking = Asking(f"http://127.0.0.1:{port}")
        given: list[Any] = []

        async def told() -> bool:
            try:
                given[:] = await asking.run()
            except Retryable:
                return False  # it starts
            return bool(given)

        async with asyncio.timeout(WAIT_S):
            await wait_until(told)
        (message,) = given
        assert (message["title"], message["content"], message["severity"]) == ("[FIRING] Always", "Value 1", "critical")
        assert await asking.run() == []
