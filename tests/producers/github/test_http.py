"""GitHub and the control API, on a real broker: webhooks are taken in, and a token is tried before it is saved."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import pytest

from control_api.access import tokens
from control_api.access.actor import COMMAND_LINE
from control_api.app import create_app
from control_api.definitions.services import Services
from control_api.http.signature import sign
from control_api.migrate import upgrade
from control_api.registry import load_registry
from control_api.serve import listen, serve
from notifier.database import Database
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.github_stub import (
    REPOSITORY,
    TOKEN,
    GitHubStub,
    answering,
    pull,
    said,
    told,
)
from tests.rigs.kafka_tools import read_all, wait_until

SECRET = "It's a Secret to Everybody"


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
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:

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


async def test_webhooks_over_http(settings: Settings, stub: GitHubStub) -> None:
    token = await tokens.create_token(settings, name="pushes", scopes=["push"])
    reader = await tokens.create_token(settings, name="reads", scopes=["read"])
    bearer = {"Authorization": f"Bearer {token}"}
    async with api(settings.model_copy(update={"github_api": stub.url})) as client:
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
            await hook(client, payload=told("opened", of=pull(1), repository="octo-org/new", id_=7), delivery="d6"),
        ]
        assert [answer.status_code for answer in answers] == [202] * 7, [answer.text for answer in answers]
        counts = [(answer.json()["accepted"], [m["id"] for m in answer.json()["messages"]]) for answer in answers]
        assert counts == [(0, []), (0, []), (1, ["d2"]), (1, ["d3"]), (1, ["d4"]), (1, ["d5"]), (1, ["d6"])]
        assert "octo-org/other" in answers[1].json()["detail"]
        assert "detail" not in answers[6].json()
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
        ("reviews", "d6", b"octocat"),
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
