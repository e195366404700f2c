"""GitHub: the producer against a stub of GitHub's API, through the real client, and the webhook over HTTP on a real broker."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
import httpx
import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.http.signature import sign
from control_api.migrate import upgrade
from control_api.registry import load_registry
from control_api.serve import listen, serve
from notifier import Context, JsonObject, Permanent, Retryable
from notifier.catalog import Catalog
from notifier.database import Database
from notifier.errors import DeliveryError, InputError
from notifier.message import check_message_object
from notifier.record import now
from notifier.sandbox import Level, Sandbox
from notifier.script import Script
from notifier.seal import load_seal
from notifier.settings import Settings, load_settings
from producers.github import GitHub, GitHubParameters, read_webhook
from producers.github import api as github_api
from producers.github.api import GitHubClient, Limits
from streams.runner.produced import read_items
from streams.runner.producing import Producing
from tests.rigs.kafka_tools import read_all, wait_until

REPOSITORY = "octo-org/hello.world"
PULLS = f"/repos/{REPOSITORY}/pulls"
TOKEN = "ghp_planted0123456789"
SECRET = "It's a Secret to Everybody"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GitHubStub:
    """GitHub's API on loopback. `pages` are what it has; `answer` takes over where a test wants something else."""

    def __init__(self) -> None:
        self.url = ""
        self.pages: list[list[JsonObject]] = [[]]
        self.links = True  # whether answers say that there is a next page
        self.remaining = 60
        self.answer: Handler | None = None
        self.asked: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.answer is not None:
            return await self.answer(request)
        if request.path == f"/repos/{REPOSITORY}":
            return web.json_response({"full_name": REPOSITORY})
        if request.path != PULLS:
            return web.json_response({"message": "Not Found"}, status=404)
        number = int(request.query.get("page", "1"))
        page = self.pages[number - 1] if number <= len(self.pages) else []
        body = json.dumps(page)
        headers = {"ETag": f'W/"{hash(body)}"', "X-RateLimit-Remaining": str(self.remaining)}
        headers |= {"X-RateLimit-Limit": "60", "X-RateLimit-Reset": str(int(now().timestamp()) + 600)}
        if self.links and number < len(self.pages):
            # Another host on purpose: a link says that there is more, and is no address to send a token to.
            headers["Link"] = f'<https://example.invalid/pulls?page={number + 1}>; rel="next", <x>; rel="last"'
        if request.headers.get("If-None-Match") == headers["ETag"]:
            headers.pop("Link", None)
            return web.Response(status=304, headers=headers)
        return web.Response(text=body, content_type="application/json", headers=headers)

    def pages_asked(self) -> list[str]:
        """The page of each request, in order."""
        return [request.query.get("page", "-") for request in self.asked]


@asynccontextmanager
async def stub_running() -> AsyncIterator[GitHubStub]:
    stub = GitHubStub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = listen("127.0.0.1", 0)
    await web.SockSite(runner, listener).start()
    stub.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


@pytest.fixture
async def stub() -> AsyncIterator[GitHubStub]:
    """A stub of the GitHub API."""
    async with stub_running() as running:
        yield running


def pull(number: int = 1, assignees: list[str] | None = None, **more: Any) -> JsonObject:
    """A pull request as GitHub writes it, as far as anybody here cares."""
    return {
        "number": number,
        "url": f"https://api.github.com/repos/{REPOSITORY}/pulls/{number}",
        "html_url": f"https://github.com/{REPOSITORY}/pull/{number}",
        "title": f"Change {number}",
        "user": {"login": "author", "id": 1},
        "updated_at": "2026-11-23T09:00:00Z",
        "labels": [{"name": "bug"}, {"name": "good first issue"}],
        "assignees": [{"login": login} for login in (["octocat"] if assignees is None else assignees)],
        "requested_reviewers": [{"login": "nobody-asked"}],
        **more,
    }


def producer(token: str | None = TOKEN) -> GitHub:
    """The producer."""
    return GitHub(GitHubParameters(repository=REPOSITORY, token=None if token is None else SecretStr(token)))


def context(stub: GitHubStub) -> Context:
    """A context whose GitHub is the stub, by way of the setting."""

    def no_script(name: str) -> Script:
        raise AssertionError(name)

    services = load_settings(env_file=None, github_api=stub.url).services
    sandbox = Sandbox(level=Level.none, explanation="no scripts here")
    return Context(name="reviews", sandbox=sandbox, script=no_script, services=services)


@pytest.mark.predecessor("S-38", "S-41", "S-42", "S-43")
async def test_open_pull_requests_become_a_message_for_each_assignee(stub: GitHubStub) -> None:
    stub.pages = [[pull(42, ["octocat", "hubot"]), pull(43, [])]]
    produced = await producer().produce(context(stub))
    link = f"https://github.com/{REPOSITORY}/pull/42"
    assert [message["id"] for message in produced] == ["42-octocat", "42-hubot"]
    assert produced[0] == {
        "id": "42-octocat",
        "sender": "author",
        "receiver": "octocat",
        "title": "Change 42",
        "url": link,
        "content": f"Change 42 ({link})\nLabels: bug,good first issue",
        "occurred_at": "2026-11-23T09:00:00Z",
        "labels": {"repository": REPOSITORY, "number": "42", "draft": "false", "labels": "bug,good first issue"},
    }
    (request,) = stub.asked
    assert request.query == {"state": "open", "per_page": "100", "page": "1"}
    assert request.headers["Authorization"] == f"token {TOKEN}"
    assert request.headers["User-Agent"] == "notifier"
    items = read_items(produced, "reviews-to-chat/2026-11-23T09:00:00Z", "reviews", "reviews-to-chat")
    assert [item.error for item in items] == [None, None]


@pytest.mark.parametrize(
    ("more", "field", "expected"),
    [
        pytest.param(
            {"labels": []}, "content", f"Change 1 (https://github.com/{REPOSITORY}/pull/1)\nLabels: ", id="none"
        ),
        pytest.param({"user": None}, "sender", None, id="the author's account is gone"),
        pytest.param({"draft": True}, "labels", "true", id="a draft"),
        pytest.param({"title": "a \ud800 b"}, "title", "a ? b", id="a lone surrogate"),
        pytest.param({"updated_at": None}, "occurred_at", None, id="no time"),
        pytest.param({"user": {"login": "dependabot[bot]"}}, "sender", "dependabot[bot]", id="a bot"),
    ],
)
async def test_unusual_pull_requests(stub: GitHubStub, more: JsonObject, field: str, expected: str | None) -> None:
    stub.pages = [[pull(**more)]]
    (message,) = await producer().produce(context(stub))
    found = message["labels"]["draft"] if field == "labels" else message.get(field)
    assert found == expected
    check_message_object({"producer": "reviews", **message})


@pytest.mark.predecessor("S-40")
async def test_all_pages_are_read_and_a_pull_request_on_two_of_them_is_told_once(stub: GitHubStub) -> None:
    numbers = [*range(1, 101), *range(100, 200), *range(200, 230)]
    stub.pages = [[pull(number) for number in numbers[start : start + 100]] for start in (0, 100, 200)]
    produced = await producer().produce(context(stub))
    assert [message["id"] for message in produced] == [f"{number}-octocat" for number in range(1, 230)]
    assert stub.pages_asked() == ["1", "2", "3"]


async def test_a_short_page_that_names_a_next_one_is_not_the_end(stub: GitHubStub) -> None:
    stub.pages, asking = [[pull(1)], [], [pull(2)]], producer()
    for _ in range(2):
        assert [message["id"] for message in await asking.produce(context(stub))] == ["1-octocat", "2-octocat"]


async def test_what_has_not_changed_is_not_sent_again(stub: GitHubStub) -> None:
    asking = producer()
    stub.pages = [[pull(number) for number in range(100)], [pull(100)]]
    first = await asking.produce(context(stub))
    stub.asked.clear()
    assert await asking.produce(context(stub)) == first
    assert all("If-None-Match" in request.headers for request in stub.asked)
    stub.pages = [stub.pages[0], [pull(100, ["hubot"])]]
    changed = await asking.produce(context(stub))
    assert changed[:100] == first[:100]
    assert changed[100]["receiver"] == "hubot"
    stub.pages = [[pull(7)]]
    assert [message["id"] for message in await asking.produce(context(stub))] == ["7-octocat"]
    assert sorted(asking._pages) == [1]


async def test_a_full_page_that_did_not_change_is_asked_beyond(stub: GitHubStub) -> None:
    asking, stub.links = producer(), False
    stub.pages = [[pull(number) for number in range(100)]]
    await asking.produce(context(stub))
    stub.pages.append([pull(100)])
    assert len(await asking.produce(context(stub))) == 101


@pytest.mark.predecessor("S-38")
async def test_without_a_token_none_is_sent(stub: GitHubStub) -> None:
    stub.pages = [[pull()]]
    assert len(await producer(None).produce(context(stub))) == 1
    assert "Authorization" not in stub.asked[0].headers


async def test_there_is_an_end_to_the_pages(stub: GitHubStub) -> None:
    stub.pages = [[] for _ in range(102)]
    with pytest.raises(Permanent, match="10000 open pull requests or more"):
        await producer().produce(context(stub))
    assert len(stub.asked) == 100


def answering(status: int, body: str | bytes = "", **headers: str) -> Handler:
    """A handler that answers so, whatever it is asked."""

    async def answer(request: web.Request) -> web.StreamResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=raw, headers={"Content-Type": "application/json"} | given)

    return answer


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'[{"number": 1, ')
    assert request.transport is not None
    request.transport.close()
    return response


async def _hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def said(message: str, **more: str) -> str:
    """A body as GitHub writes it with an error."""
    return json.dumps({"message": message, "documentation_url": "https://docs.github.com/rest", **more})


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
    pytest.param(answering(200, "[{}]"), Retryable, "server_error", "`number`", id="a missing field"),
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
    pytest.param(_cut_off, Retryable, "connection", "cannot be reached", id="cut off on the way"),
    pytest.param(_hang_up, Retryable, "connection", "cannot be reached", id="hung up"),
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


async def _stay_silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


EIGHT = [
    pytest.param(answering(401, said("Bad credentials")), Permanent, "unauthorized", None, id="401"),
    pytest.param(answering(403, said("Resource not accessible")), Permanent, "forbidden", None, id="403"),
    pytest.param(answering(404, said("Not Found")), Permanent, "not_found", None, id="404"),
    pytest.param(answering(409, said("Conflict")), Retryable, "server_error", None, id="409"),
    pytest.param(answering(429, said("slow down"), Retry_After="120"), Retryable, "rate_limited", 120, id="429"),
    pytest.param(answering(503, said("oops")), Retryable, "server_error", None, id="5xx"),
    pytest.param(_stay_silent, Retryable, "timeout", None, id="time-out"),
    pytest.param(_cut_off, Retryable, "connection", None, id="truncated body"),
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
            base_url=stub.url, token=TOKEN, limits=Limits(), subject="the repository", timeout=timeout
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


async def test_a_renamed_repository_is_found_and_another_server_is_sent_nothing(stub: GitHubStub) -> None:
    async def moved(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/repositories/"):
            return web.json_response([pull(5)])
        return web.Response(status=301, headers={"Location": f"/repositories/7/pulls?{request.query_string}"})

    stub.answer = moved
    assert [message["id"] for message in await producer().produce(context(stub))] == ["5-octocat"]
    async with stub_running() as other:
        stub.answer = answering(302, Location=f"{other.url}/repos")
        with pytest.raises(Permanent, match="another server"):
            await producer().produce(context(stub))
        assert other.asked == []
    stub.answer = answering(301, Location="/again")
    with pytest.raises(Permanent, match="in circles"):
        await producer().produce(context(stub))


@pytest.mark.predecessor("S-39")
async def test_the_check_reads_the_repository_with_the_token(stub: GitHubStub) -> None:
    await producer().check(context(stub))
    assert [request.path for request in stub.asked] == [f"/repos/{REPOSITORY}", PULLS]
    stub.answer = answering(401, said("Bad credentials"))
    with pytest.raises(Permanent, match="Bad credentials"):
        await producer().check(context(stub))
    stub.answer = answering(404, said("Not Found"))
    with pytest.raises(Permanent, match=REPOSITORY) as raised:
        await producer().check(context(stub))
    assert raised.value.reason == "not_found"


@pytest.mark.predecessor("S-38")
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        *(
            {"repository": name}
            for name in ("", "hello", "a/b/c", "/b", "a/", "../b", "a/..", "a b/c", "a/b?c", "a/b#")
        ),
        {"repository": "https://github.com/octocat/hello-world"},
        {"repository": "o/" + "x" * 200},
        {"repository": 5},
    ],
)
def test_what_is_no_repository_is_refused(parameters: JsonObject) -> None:
    with pytest.raises(ValidationError) as raised:
        GitHubParameters.model_validate(parameters)
    assert [error["loc"] for error in raised.value.errors()] == [("repository",)]


@pytest.mark.parametrize("token", ["", "two words", "planted\nHost: x", "plantéd", "planted\x00"])
def test_what_is_no_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValidationError) as raised:
        GitHubParameters.model_validate({"repository": REPOSITORY, "token": token})
    (error,) = raised.value.errors(include_input=False)
    assert error["loc"] == ("token",)
    assert "plant" not in str(error)


def test_a_sealed_token_is_still_a_token_to_who_cannot_open_it(settings: Settings) -> None:
    sealed = load_seal(settings).close(TOKEN, "producer/reviews/token")
    assert GitHubParameters.model_validate({"repository": REPOSITORY, "token": sealed}).token is not None
    assert TOKEN not in repr(GitHubParameters(repository=REPOSITORY, token=SecretStr(TOKEN)))


async def test_the_runner_asks_it_and_masks_what_it_says(stub: GitHubStub) -> None:
    catalog = Catalog(registry=load_registry(), producers={"reviews": producer()})
    producing = Producing(context(stub).sandbox, catalog, context(stub).services)
    stub.pages = [[pull(1)]]
    produced, error = await producing.ask("reviews")
    assert (len(produced), error) == (1, None)
    stub.answer = answering(401, said(f"Bad credentials: {TOKEN}"))
    assert await producing.ask("reviews") == (
        [],
        "GitHub answered 401: Bad credentials: ***; write a `token` that is valid",
    )
    await producing.close()


# ---------------------------------------------------------------------------------------------------------- webhooks


def told(action: str, *, of: JsonObject | None = None, repository: str = REPOSITORY, **more: Any) -> JsonObject:
    """The payload of a `pull_request` event."""
    return {
        "action": action,
        "number": 1,
        "pull_request": pull(1, ["octocat", "hubot"]) if of is None else of,
        "repository": {"full_name": repository, "html_url": f"https://github.com/{repository}"},
        "sender": {"login": "actor"},
        **more,
    }


EVENTS = [
    pytest.param("ping", {"zen": "Keep it logically awesome."}, [], id="ping"),
    pytest.param("pull_request", told("opened"), ["d1-octocat", "d1-hubot"], id="opened"),
    pytest.param("pull_request", told("opened", of=pull(1)), ["d1"], id="opened, one assignee"),
    pytest.param("pull_request", told("opened", of=pull(1, [])), [], id="opened, nobody assigned"),
    pytest.param("pull_request", told("reopened"), ["d1-octocat", "d1-hubot"], id="reopened"),
    pytest.param("pull_request", told("ready_for_review"), ["d1-octocat", "d1-hubot"], id="ready"),
    pytest.param("pull_request", told("closed"), ["d1-octocat", "d1-hubot"], id="closed"),
    pytest.param("pull_request", told("assigned", assignee={"login": "hubot"}), ["d1"], id="assigned"),
    pytest.param("pull_request", told("review_requested", requested_reviewer={"login": "r"}), ["d1"], id="review"),
    pytest.param("pull_request", told("review_requested", requested_team={"name": "t"}), [], id="review by a team"),
    pytest.param("pull_request", told("labeled"), [], id="labeled"),
    pytest.param("pull_request", told("opened", repository="octo-org/other"), [], id="another repository"),
    pytest.param("pull_request", told("opened", of=pull(1), repository=REPOSITORY.upper()), ["d1"], id="other case"),
    pytest.param("release", {"action": "published"}, ["d1"], id="another event"),
    pytest.param("star", {}, ["d1"], id="an event with nothing in it"),
]


@pytest.mark.parametrize(("event", "payload", "ids"), EVENTS)
def test_events_become_messages(event: str, payload: JsonObject, ids: list[str]) -> None:
    messages = read_webhook(event, "d1", payload, REPOSITORY)
    assert [message["id"] for message in messages] == ids
    assert messages == read_webhook(event, "d1", payload, REPOSITORY), "sent again, it is the same"
    for message in messages:
        check_message_object({"producer": "reviews", **message})


def test_a_pull_request_that_was_opened_reads_as_when_asked_for() -> None:
    (message,) = read_webhook("pull_request", "d1", told("opened", of=pull(1)))
    link = f"https://github.com/{REPOSITORY}/pull/1"
    assert message["content"] == f"Change 1 ({link})\nLabels: bug,good first issue"
    assert (message["sender"], message["receiver"], message["title"]) == ("author", "octocat", "Change 1")
    assert message["labels"] == {
        "repository": REPOSITORY,
        "number": "1",
        "draft": "false",
        "labels": "bug,good first issue",
        "event": "pull_request",
        "action": "opened",
        "actor": "actor",
    }


@pytest.mark.parametrize(
    ("payload", "title"),
    [
        (told("review_requested", requested_reviewer={"login": "r"}), "Review requested"),
        (told("closed", of=pull(1, merged=True)), "Merged"),
        (told("closed", of=pull(1, merged=False)), "Closed"),
    ],
)
def test_the_title_says_what_the_text_does_not(payload: JsonObject, title: str) -> None:
    assert [message["title"] for message in read_webhook("pull_request", "d1", payload)] == [title]


@pytest.mark.parametrize(
    ("event", "payload", "content"),
    [
        pytest.param(
            "release",
            told("published", release={"name": "1.0", "html_url": "https://github.com/r"}),
            f"release published in {REPOSITORY} by actor: 1.0 (https://github.com/r)",
            id="release",
        ),
        pytest.param(
            "push",
            {"compare": "https://github.com/c", "head_commit": {"message": "Fix it\n\nlong"}},
            "push: Fix it (https://github.com/c)",
            id="push",
        ),
        pytest.param("public", {"action": 5, "sender": [], "repository": "x", "issue": "no"}, "public", id="nonsense"),
        pytest.param("issues", {"issue": {"title": "x" * 9999}}, "issues: " + "x" * 300, id="a long title"),
    ],
)
def test_other_events_are_told_to_everyone_in_short(event: str, payload: JsonObject, content: str) -> None:
    payload = {name: part for name, part in payload.items() if name != "pull_request"}
    (message,) = read_webhook(event, "d1", payload)
    assert message["content"] == content
    assert "receiver" not in message
    assert message["labels"]["event"] == event


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param(told("opened", of={}), "/pull_request", id="an empty pull request"),
        pytest.param(told("opened", of=pull(1) | {"assignees": [{}]}), "/pull_request/assignees/0", id="no login"),
        pytest.param(told("opened", of=pull(1, title=5)), "/pull_request/title", id="a title that is a number"),
    ],
)
def test_what_is_no_pull_request_is_refused_by_its_place(payload: JsonObject, pointer: str) -> None:
    with pytest.raises(InputError) as raised:
        read_webhook("pull_request", "d1", payload)
    assert [error.pointer for error in raised.value.errors] == [pointer]


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The API with a producer of each type that hooks may name, and one that they may not; and a client for it."""
    await upgrade(settings)
    database = Database(settings)
    try:
        services = Services(database, load_registry(), load_seal(settings))
        secret = {"webhook_secret": SECRET}
        for written in (
            {"name": "reviews", "type": "github", "parameters": {"repository": REPOSITORY, **secret}},
            {"name": "pushed", "type": "push", "parameters": secret},
            {"name": "open", "type": "push"},
        ):
            await services.create(COMMAND_LINE, "producer", written)
        await services.create(COMMAND_LINE, "script", {"name": "it", "executor": "bash", "content": "true"})
        await services.create(
            COMMAND_LINE, "producer", {"name": "script", "type": "script", "parameters": {"script": "it"}}
        )
    finally:
        await database.close()
    listener = listen("127.0.0.1", 0)
    server = serve(create_app(settings), listener)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        await wait_until(lambda: server.started or task.done())
        assert server.started, task
        async with httpx.AsyncClient(base_url=url, timeout=40) as client:

            async def ready() -> bool:
                return (await client.get("/health/ready")).status_code == 200

            await wait_until(ready)
            yield client
    finally:
        server.should_exit = True
        await task
        listener.close()


async def hook(
    client: httpx.AsyncClient,
    producer: str = "reviews",
    payload: object = None,
    *,
    event: str = "pull_request",
    delivery: str = "d1",
    secret: str | None = SECRET,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Sends a webhook as GitHub does."""
    raw = json.dumps(told("opened") if payload is None else payload).encode() if body is None else body
    sent = {"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": delivery}
    if secret is not None:
        sent["X-Hub-Signature-256"] = sign(secret, raw)
    return await client.post(f"/hooks/github/{producer}", content=raw, headers={**sent, **(headers or {})})


async def test_webhooks_over_http(settings: Settings) -> None:
    token = await tokens.create_token(settings, name="pushes", scopes=["push"])
    reader = await tokens.create_token(settings, name="reads", scopes=["read"])
    bearer = {"Authorization": f"Bearer {token}"}
    async with api(settings) as client:
        # what is taken
        answer = await hook(client, delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958")
        assert answer.status_code == 202, answer.text
        ids = [f"72d3162e-cc78-11e3-81ab-4c9367dc0958-{login}" for login in ("octocat", "hubot")]
        assert answer.json() == {"accepted": 2, "messages": [{"id": id_} for id_ in ids]}
        one = told("assigned", assignee={"login": "hubot"})
        answers = [
            await hook(client, payload={"zen": "Speak like a human."}, event="ping"),
            await hook(client, payload=told("opened", repository="octo-org/other")),
            await hook(client, "pushed", told("opened", repository="octo-org/other", of=pull(1)), delivery="d2"),
            await hook(client, "open", one, delivery="d3", secret=None, headers=bearer),
            await hook(
                client,
                body=urlencode({"payload": json.dumps(one)}).encode(),
                delivery="d4",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            ),
            await hook(client, payload={"action": "published"}, event="release", delivery="d5"),
        ]
        assert [answer.status_code for answer in answers] == [202] * 6, [answer.text for answer in answers]
        counts = [(answer.json()["accepted"], [m["id"] for m in answer.json()["messages"]]) for answer in answers]
        assert counts == [(0, []), (0, []), (1, ["d2"]), (1, ["d3"]), (1, ["d4"]), (1, ["d5"])]
        # what is not
        big = {"Content-Type": "text/plain"}
        refused = {
            "no signature": (401, await hook(client, secret=None)),
            "another secret": (401, await hook(client, secret="wrong")),
            "a wrong signature with a token": (401, await hook(client, secret="wrong", headers=bearer)),
            "a producer without a secret": (401, await hook(client, "open")),
            "no such producer, signed": (401, await hook(client, "nobody")),
            "no such producer, with a token": (404, await hook(client, "nobody", secret=None, headers=bearer)),
            "a token that may only read": (
                403,
                await hook(client, secret=None, headers={"Authorization": f"Bearer {reader}"}),
            ),
            "another type": (422, await hook(client, "script", secret=None, headers=bearer)),
            "no event": (400, await hook(client, event="")),
            "no delivery": (400, await hook(client, delivery="")),
            "a delivery that is none": (400, await hook(client, delivery="a b/c")),
            "not JSON": (400, await hook(client, body=b"{")),
            "no body": (400, await hook(client, body=b"")),
            "no payload": (
                400,
                await hook(client, body=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}),
            ),
            "an array": (422, await hook(client, payload=[])),
            "no pull request": (422, await hook(client, payload={"action": "opened"})),
            "another content": (415, await hook(client, headers=big)),
        }
        wrong = {case: answer.text for case, (status, answer) in refused.items() if answer.status_code != status}
        assert wrong == {}
        assert all(answer.headers["content-type"] == "application/problem+json" for _, answer in refused.values())
        assert all(SECRET not in answer.text for _, answer in refused.values())
    records = await read_all(settings, "messages")
    values = [json.loads(record.value or b"") for record in records]
    found = {(value["producer"], value["id"], record.key) for record, value in zip(records, values, strict=True)}
    assert found == {
        ("reviews", ids[0], b"octocat"),
        ("reviews", ids[1], b"hubot"),
        ("pushed", "d2", b"octocat"),
        ("open", "d3", b"hubot"),
        ("reviews", "d4", b"hubot"),
        ("reviews", "d5", None),
    }


@pytest.mark.predecessor("S-39", "S-60")
async def test_a_token_is_tried_before_it_is_saved_where_that_is_asked_for(
    stub: GitHubStub, settings: Settings
) -> None:
    token = await tokens.create_token(settings, name="writes", scopes=["write", "read"])
    written = {"name": "more", "type": "github", "parameters": {"repository": REPOSITORY, "token": TOKEN}}
    headers = {"Authorization": f"Bearer {token}"}
    async with api(settings.model_copy(update={"github_api": stub.url})) as client:
        stub.answer = answering(401, said("Bad credentials"))
        refused = await client.post("/api/v1/producers?verify=true", json=written, headers=headers)
        assert refused.status_code == 422, refused.text
        assert refused.json()["errors"][0]["pointer"] == "/parameters/token"
        assert "Bad credentials" in refused.text
        assert TOKEN not in refused.text
        stub.answer = None
        saved = await client.post("/api/v1/producers?verify=true", json=written, headers=headers)
        assert saved.status_code == 201, saved.text
        assert TOKEN not in saved.text
