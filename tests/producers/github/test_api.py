"""GitHub's failures, rate limits and redirects, through the real client."""

import asyncio
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError
from notifier.network import Network
from notifier.record import now
from producers.github import api as github_api
from producers.github.api import GitHubClient, RateLimits
from tests.rigs.company_network import forget_proxies, proxying
from tests.rigs.github_stub import (
    PULLS,
    REPOSITORY,
    TOKEN,
    GitHubStub,
    Handler,
    answering,
    context,
    cut_off,
    hang_up,
    producer,
    pull,
    said,
    stay_silent,
    stub_running,
)
from tests.rigs.socks import socks


def _soon(seconds: int) -> str:
    return str(int(now().timestamp()) + seconds)


FAILURES = [
    pytest.param(answering(401, said("Bad credentials")), Permanent, "unauthorized", "401: Bad credentials", id="401"),
    pytest.param(answering(403, said("Resource not accessible")), Permanent, "forbidden", "not accessible", id="403"),
    pytest.param(answering(404, said("Not Found")), Permanent, "not_found", REPOSITORY, id="404"),
    pytest.param(answering(410, said("Gone")), Permanent, "not_found", "410: Gone", id="410"),
    pytest.param(answering(451, said("Blocked")), Permanent, "forbidden", "451: Blocked", id="451"),
    pytest.param(answering(409, said("Conflict")), Retryable, "server_error", "409: Conflict", id="409"),
    pytest.param(answering(422, said("Validation Failed")), Permanent, "invalid_content", "Validation", id="422"),
    pytest.param(answering(422, "null"), Permanent, "invalid_content", "422", id="422 without words"),
    pytest.param(answering(422, "<p>"), Permanent, "invalid_content", "422", id="422 not JSON"),
    pytest.param(answering(500, said("oops")), Retryable, "server_error", "500", id="500"),
    pytest.param(
        answering(502, "<html>", Content_Type="text/html"), Retryable, "server_error", "502", id="502 of a gateway"
    ),
    pytest.param(answering(503, '{"mess'), Retryable, "server_error", "503", id="503 cut off"),
    pytest.param(answering(520, "x"), Retryable, "server_error", "520", id="a status nobody knows"),
    pytest.param(answering(304), Permanent, "invalid_content", "304", id="304 that was not asked for"),
    pytest.param(answering(300), Permanent, "invalid_content", "300", id="300"),
    pytest.param(answering(401, said(f"token {TOKEN} is bad\n\nx")), Permanent, "unauthorized", r"\*\*\*", id="token"),
    pytest.param(answering(403, said("x" * 100_000)), Permanent, "forbidden", "xx…", id="a long message"),
    pytest.param(answering(403, '{"message": {"a": 1}}'), Permanent, "forbidden", "403", id="a message of no text"),
    pytest.param(answering(200, ""), Retryable, "server_error", "not a list", id="an empty body"),
    pytest.param(answering(200, '[{"number": 1, "ti'), Retryable, "server_error", "cut off", id="JSON cut off"),
    pytest.param(answering(200, "[" * 200_000), Retryable, "server_error", "cut off", id="deep nesting"),
    pytest.param(answering(200, b"\xff[]"), Retryable, "server_error", "cut off", id="not UTF-8"),
    pytest.param(answering(200, "{}"), Retryable, "server_error", "not a list", id="an object"),
    pytest.param(
        answering(200, "[]", Content_Type="text/x; charset=nope"), Retryable, "server_error", "cut off", id="x"
    ),
    pytest.param(
        answering(200, gzip.compress(b" " * 40_000_000, 1), Content_Encoding="gzip"),
        Permanent,
        "invalid_content",
        "more than 33554432 bytes",
        id="a bomb",
    ),
    pytest.param(cut_off, Retryable, "connection", "cannot be reached", id="cut off on the way"),
    pytest.param(hang_up, Retryable, "connection", "cannot be reached", id="hung up"),
]


@pytest.mark.predecessor("S-40", "S-43")
@pytest.mark.parametrize(("answer", "kind", "reason", "text"), FAILURES)
async def test_each_failure_says_what_it_is_in_one_line_without_the_token(
    stub: GitHubStub, answer: Handler, kind: type[DeliveryError], reason: str, text: str
) -> None:
    stub.answer = answer
    with pytest.raises(kind, match=text) as raised:
        await producer().produce(context(stub))
    assert raised.value.reason == reason
    assert TOKEN not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


EIGHT = [
    pytest.param(answering(401, said("Bad credentials")), Permanent, "unauthorized", None, id="401"),
    pytest.param(answering(403, said("Resource not accessible")), Permanent, "forbidden", None, id="403"),
    pytest.param(answering(404, said("Not Found")), Permanent, "not_found", None, id="404"),
    pytest.param(answering(409, said("Conflict")), Retryable, "server_error", None, id="409"),
    pytest.param(answering(429, said("slow down"), Retry_After="120"), Retryable, "rate_limited", 120, id="429"),
    pytest.param(answering(503, said("oops")), Retryable, "server_error", None, id="5xx"),
    pytest.param(stay_silent, Retryable, "timeout", None, id="time-out"),
    pytest.param(cut_off, Retryable, "connection", None, id="truncated body"),
]


@pytest.mark.parametrize("work", ["pull", "check"])
@pytest.mark.parametrize(("answer", "kind", "reason", "retry_after_s"), EIGHT)
async def test_the_pull_and_the_check_meet_the_same_failures(
    stub: GitHubStub,
    monkeypatch: pytest.MonkeyPatch,
    answer: Handler,
    kind: type[DeliveryError],
    reason: str,
    retry_after_s: float | None,
    work: str,
) -> None:
    enough = github_api.TIMEOUT
    if answer is stay_silent:
        monkeypatch.setattr(github_api, "TIMEOUT", aiohttp.ClientTimeout(total=0.3))
    stub.answer, asking = answer, producer()
    with pytest.raises(kind) as raised:
        await (asking.produce(context(stub)) if work == "pull" else asking.check(context(stub)))
    assert raised.value.reason == reason
    given = raised.value.retry_after_s if isinstance(raised.value, Retryable) else None
    assert given == (None if retry_after_s is None else pytest.approx(retry_after_s, abs=30))
    assert len(stub.asked) == 1
    assert TOKEN not in str(raised.value)
    if reason != "rate_limited":  # nothing of it is left behind
        monkeypatch.setattr(github_api, "TIMEOUT", enough)
        stub.answer, stub.pages = None, [[pull(1)]]
        assert len(await asking.produce(context(stub))) == 1


async def test_a_server_that_does_not_answer_is_given_up(stub: GitHubStub) -> None:
    ended = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await ended.wait()
        return web.Response()

    stub.answer = hang
    timeout = aiohttp.ClientTimeout(sock_read=0.2)
    try:
        async with GitHubClient(
            base_url=stub.url, token=TOKEN, limits=RateLimits(), subject="the repository", timeout=timeout
        ) as github:
            with pytest.raises(Retryable, match="did not answer in time for the repository") as raised:
                await github.get(PULLS)
    finally:
        ended.set()
    assert raised.value.reason == "timeout"


async def test_a_server_that_is_not_there_is_named_as_such() -> None:
    async with stub_running() as gone:
        pass
    with pytest.raises(Retryable, match="cannot be reached") as raised:
        await producer().produce(context(gone))
    assert raised.value.reason == "connection"


LIMITED = [
    pytest.param(429, {"Retry_After": "120"}, "slow down", 120, id="Retry-After"),
    pytest.param(403, {"Retry_After": "120"}, "You have exceeded a secondary rate limit", 120, id="secondary"),
    pytest.param(403, {}, "You have exceeded a secondary rate limit. Wait.", 60, id="secondary, without a time"),
    pytest.param(429, {}, "", 60, id="429 without a time"),
    pytest.param(403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "in 900"}, "API rate limit", 901, id="reset"),
    pytest.param(
        429, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "in 900"}, "API rate limit", 901, id="429 too"
    ),
    pytest.param(403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}, "", 60, id="reset is no number"),
    pytest.param(403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "9" * 30}, "", 60, id="reset is no time"),
    pytest.param(429, {"Retry_After": "9" * 30}, "", 60, id="a number too large"),
    pytest.param(429, {"Retry_After": "99999999"}, "", 86400, id="three years"),
    pytest.param(429, {"Retry_After": "a date"}, "", 300, id="a date"),
    pytest.param(429, {"Retry_After": "-5"}, "", 0, id="negative"),
]


@pytest.mark.parametrize(("status", "headers", "message", "wait_s"), LIMITED)
async def test_rate_limits_are_obeyed(
    stub: GitHubStub, status: int, headers: dict[str, str], message: str, wait_s: int
) -> None:
    given = {name: _soon(900) if value == "in 900" else value for name, value in headers.items()}
    if given.get("Retry_After") == "a date":
        given["Retry_After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    stub.answer, asking = answering(status, said(message), **given), producer()
    with pytest.raises(Retryable, match=r"may be asked again at 20.*Z") as raised:
        await asking.produce(context(stub))
    assert raised.value.reason == "rate_limited"
    assert raised.value.retry_after_s is not None
    assert wait_s - 30 < raised.value.retry_after_s <= wait_s + 1
    if wait_s:
        with pytest.raises(Retryable, match=r"may be asked again at 20.*Z"):
            await asking.produce(context(stub))
        assert len(stub.asked) == 1, "nothing is asked while it is limited"


async def test_the_last_request_of_the_hour_is_used_and_no_other(stub: GitHubStub) -> None:
    asking, stub.remaining = producer(), 0
    stub.pages = [[pull(1)]]
    assert len(await asking.produce(context(stub))) == 1
    with pytest.raises(Retryable, match="rate limit is used up"):
        await asking.produce(context(stub))
    assert len(stub.asked) == 1


async def test_a_renamed_repository_is_found_and_another_server_is_sent_nothing(
    stub: GitHubStub, caplog: pytest.LogCaptureFixture
) -> None:
    async def moved(request: web.Request) -> web.StreamResponse:
        if request.path == "/repositories/7":
            return web.json_response({"id": 7, "full_name": "octo-org/new"})
        if request.path.startswith("/repositories/"):
            return web.json_response([pull(5)])
        below = "/pulls?" + request.query_string if request.path == PULLS else ""
        return web.Response(status=301, headers={"Location": f"/repositories/7{below}"})

    stub.answer, asking = moved, producer()
    for _ in range(2):
        assert [message["id"] for message in await asking.produce(context(stub))] == ["5-octocat"]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    new = f"The repository {REPOSITORY} of the producer reviews is octo-org/new now; write that as its `repository`."
    assert told == [new], "once"
    async with stub_running() as other:
        stub.answer = answering(302, Location=f"{other.url}/repos")
        with pytest.raises(Permanent, match="another server"):
            await producer().produce(context(stub))
        assert other.asked == []
    stub.answer = answering(301, Location="/again")
    with pytest.raises(Permanent, match="in circles"):
        await producer().produce(context(stub))


async def test_github_is_asked_by_way_of_a_proxy(stub: GitHubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_proxies(monkeypatch)
    stub.pages = [[pull(1)]]
    async with proxying() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        assert len(await producer().produce(context(stub))) == 1
    assert len(proxy.asked) == 1
    monkeypatch.setenv("HTTP_PROXY", "socks5://me:planted@127.0.0.1:1080")
    with pytest.raises(Retryable, match="HTTP_PROXY or ALL_PROXY cannot be used") as raised:
        await producer().produce(context(stub))
    assert "planted" not in str(raised.value)


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_github_is_asked_by_the_proxy_of_the_producer(
    stub: GitHubStub, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    forget_proxies(monkeypatch)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # nobody is there
    stub.pages = [[pull(1)]]
    async with (proxying if kind == "http" else socks)("me:planted") as proxy:
        asked = producer(proxy=SecretStr(f"{kind}://me:planted@{proxy.address}"))
        assert len(await asked.produce(context(stub))) == 1
        assert len(proxy.asked) == 1
        wrong = producer(proxy=SecretStr(f"{kind}://me:wrong-planted@{proxy.address}"))
        with pytest.raises(Retryable, match="the proxy gives no connection") as raised:
            await wrong.produce(context(stub))
    assert "planted" not in str(raised.value)
    with pytest.raises(Permanent, match="does not lead to a public address"):  # the proxy is a person's
        await asked.produce(replace(context(stub), network=Network()))
