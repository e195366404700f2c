"""GitHub's API on loopback, and the producer that asks it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from notifier import Context, JsonObject
from notifier.record import now
from notifier.settings import load_settings
from producers.github import GitHub, GitHubParameters
from tests.rigs.plugin_world import context_without_scripts

REPOSITORY = "octo-org/hello.world"
PULLS = f"/repos/{REPOSITORY}/pulls"
TOKEN = "ghp_planted0123456789"

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
            return web.json_response({"id": 7, "full_name": REPOSITORY})
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
    """A stub of GitHub's API while the block runs."""
    stub = GitHubStub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


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


def producer(token: str | None = TOKEN, **parameters: Any) -> GitHub:
    """The producer."""
    secret = None if token is None else SecretStr(token)
    of = {} if "organization" in parameters else {"repository": REPOSITORY}
    return GitHub(GitHubParameters.model_validate({**of, "token": secret, **parameters}))


def context(stub: GitHubStub, **more: Any) -> Context:
    """A context whose GitHub is the stub, by way of the setting."""
    made = context_without_scripts("reviews", **load_settings(env_file=None, github_api=stub.url).services)
    return replace(made, **more)


def answering(status: int, body: str | bytes = "", **headers: str) -> Handler:
    """A handler that answers so, whatever it is asked."""

    async def answer(request: web.Request) -> web.StreamResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body.encode() if isinstance(body, str) else body
        return web.Response(status=status, body=raw, headers={"Content-Type": "application/json"} | given)

    return answer


def serving(answers: dict[str, Any], page: int = 100) -> Handler:
    """A handler that answers lists page by page with ETags, other things as they are, and 404 for what is not there."""

    async def answer(request: web.Request) -> web.StreamResponse:
        found = answers.get(request.path)
        if callable(found):
            response = await found(request)
            assert isinstance(response, web.StreamResponse)
            return response
        if found is None:
            return web.json_response({"message": "Not Found"}, status=404)
        headers = {}
        if isinstance(found, list):
            begin = (int(request.query.get("page", "1")) - 1) * page
            if begin + page < len(found):
                headers["Link"] = '<https://example.invalid/>; rel="next"'
            found = found[begin : begin + page]
        body = json.dumps(found)
        headers["ETag"] = f'"{hash(body)}"'
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(text=body, content_type="application/json", headers=headers)

    return answer


async def cut_off(request: web.Request) -> web.StreamResponse:
    """The beginning of an answer, and then the connection ends."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'[{"number": 1, ')
    assert request.transport is not None
    request.transport.close()
    return response


async def hang_up(request: web.Request) -> web.StreamResponse:
    """No answer at all: the connection ends."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def said(message: str, **more: str) -> str:
    """A body as GitHub writes it with an error."""
    return json.dumps({"message": message, "documentation_url": "https://docs.github.com/rest", **more})


async def stay_silent(request: web.Request) -> web.StreamResponse:
    """No answer, and the connection stays."""
    await asyncio.sleep(60)
    return web.Response()


def told(
    action: str, *, of: JsonObject | None = None, repository: str = REPOSITORY, id_: int = 8, **more: Any
) -> JsonObject:
    """The payload of a `pull_request` event."""
    return {
        "action": action,
        "number": 1,
        "pull_request": pull(1, ["octocat", "hubot"]) if of is None else of,
        "repository": {"id": id_, "full_name": repository, "html_url": f"https://github.com/{repository}"},
        "sender": {"login": "actor"},
        **more,
    }
