"""Guard: security headers, limits of time, size and number, and errors that nobody foresaw."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from control_api.app import create_app
from control_api.http import held
from control_api.http.body import read_body
from control_api.http.guard import MAX_REQUESTS
from control_api.http.limits import MAX_BODY_BYTES, MAX_HOOK_BYTES, MAX_MESSAGES_BYTES, MAX_SIGN_IN_BYTES
from notifier.settings import Settings
from tests.rigs.api_rig import REGISTRY, Api
from tests.rigs.kafka_tools import wait_until
from tests.rigs.problems import problem


async def test_answers_carry_the_headers_that_browsers_need(api: Api) -> None:
    async with api.client() as admin:
        for path in ("/health/live", "/api/v1/plugins", "/nowhere"):
            headers = (await admin.get(path, headers={"X-Request-Id": "mine-1"})).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert headers["x-request-id"] == "mine-1"
            assert "server" not in headers
        forged = (await admin.get("/health/live", headers={"X-Request-Id": "a b"})).headers
        assert re.fullmatch("[0-9a-f]{32}", forged["x-request-id"])


def _with_bad_routes(settings: Settings, limit_s: float = 30) -> FastAPI:
    app = create_app(settings, registry=REGISTRY, request_limit_s=limit_s)

    @app.get("/fails")
    async def fails() -> None:
        raise ZeroDivisionError("the secret of the house")

    @app.get("/hangs")
    async def hangs() -> None:
        await asyncio.Event().wait()

    @app.post("/reads")
    async def reads(request: Request) -> Response:
        return Response(str(len(await request.body())))

    return app


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    transport = httpx.ASGITransport(_with_bad_routes(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
        answer = await asking.get("/fails", headers={"X-Request-Id": "lost-1"})
    problem(answer, 500)
    assert "house" not in answer.text
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert logged[0].__dict__["request_id"] == "lost-1"


async def test_a_request_that_takes_too_long_is_ended(settings: Settings) -> None:
    transport = httpx.ASGITransport(_with_bad_routes(settings, limit_s=0.2))

    async def forever() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
        answer = await asking.get("/hangs")
        problem(answer, 503)
        assert answer.headers["retry-after"]
        problem(await asking.post("/reads", content=forever()), 408)


async def test_more_requests_than_can_be_served_are_told_to_come_again(settings: Settings) -> None:
    app = _with_bad_routes(settings, limit_s=0.5)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as asking:
        waiting = [asyncio.create_task(asking.get("/hangs")) for _ in range(MAX_REQUESTS)]
        await asyncio.sleep(0)
        answer = await wait_until(lambda: _refused(asking))
        assert answer.headers["retry-after"]
        assert (await asking.get("/health/live")).status_code == 200
        for ended in await asyncio.gather(*waiting):
            problem(ended, 503)


async def _refused(asking: httpx.AsyncClient) -> httpx.Response | None:
    answer = await asking.get("/reads")
    return answer if answer.status_code == 503 else None


async def _chunks(count: int, size: int = 65_536) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/api/v1/messages", MAX_MESSAGES_BYTES),
        ("/api/v1/tokens", MAX_BODY_BYTES),
        ("/hooks/json/ci", MAX_HOOK_BYTES),
    ],
)
async def test_a_body_is_counted_while_it_is_read(api: Api, path: str, limit: int) -> None:
    headers = {"Content-Type": "application/json"}
    async with api.client() as admin:
        problem(await admin.post(path, content=b"x" * (limit + 1), headers=headers), 413)
        problem(await admin.post(path, content=_chunks(limit // 65_536 + 1), headers=headers), 413)
        problem(await admin.post(path, content=_chunks(limit // 65_536), headers=headers), 400)  # all of it blank


async def test_bodies_count_unpacked_until_their_request_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD_BYTES", 1_000_000)
    app = create_app(settings, registry=REGISTRY)
    here, go_on = asyncio.Event(), asyncio.Event()

    @app.post("/unpacks")
    async def unpacks(request: Request) -> Response:
        _, body = await read_body(request, "text/plain")
        here.set()
        await go_on.wait()
        return Response(str(len(body)))

    packed = gzip.compress(b"x" * 600_000)
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as asking:
        for _ in range(2):
            first = asyncio.create_task(asking.post("/unpacks", content=packed, headers=headers))
            await here.wait()
            problem(await asking.post("/unpacks", content=packed, headers=headers), 503)
            go_on.set()
            assert (await first).text == "600000"
            here.clear()
            go_on.clear()


async def test_who_is_not_signed_in_may_send_little(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    async with api.client() as asking:
        nested = b"[" + b"[]," * (MAX_SIGN_IN_BYTES // 3) + b"[]]"
        problem(await asking.post("/console/login", content=nested, headers=headers), 413)
        problem(await asking.post("/console/login", content=nested[:100], headers=headers), 400)
        wrong = b'{"name":"a","password":"' + b"b" * 8000 + b'"}'
        problem(await asking.post("/console/login", content=wrong, headers=headers), 401)


@pytest.mark.parametrize("path", ["/api/v1/users", "/hooks/json/ci", "/graphql"])
async def test_a_body_of_very_many_values_is_refused(api: Api, path: str) -> None:
    async with api.client() as admin:
        many = b"[" + b"1," * 300_000 + b"1]"
        answer = await admin.post(path, content=many, headers={"Content-Type": "application/json"})
        assert "values" in problem(answer, 413)["detail"]
        text = b'{"name":"' + b",[{" * 100_000 + b'"}'  # signs within a text are no values
        assert (await admin.post(path, content=text, headers={"Content-Type": "application/json"})).status_code != 413
