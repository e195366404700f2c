"""A test is sent by a consumer through REST, GraphQL and the command line, by a real delivery worker."""

import json
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from filters.keywords import SkipKeywords
from notifier import ConsumerParameters, Context, Delivery, Permanent, Result
from notifier.registry import Registry
from notifier.seal import generate_key
from notifier.settings import load_settings
from notifier.user import User
from tests.rigs.api_rig import Api, Nowhere, Pulled, Pushed, served_in_a_thread
from tests.rigs.delivery_rig import working
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.roles import run


class Repeats(Nowhere):
    """Says what it was given."""

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        found = [(delivery.address, delivery.receiver, delivery.read_message().content) for delivery in deliveries]
        if found[0][2] == "no":
            raise Permanent("forbidden", "not you")
        return [Result(detail=json.dumps(one)) for one in found]


class SecretParameters(ConsumerParameters):
    """Parameters with a secret."""

    token: SecretStr


class ToPeople(Repeats):
    """The same for people."""

    type = "people"
    Parameters = SecretParameters  # type: ignore[assignment]  # its deliver asks for none of them

    def fixed_address(self) -> bool:
        return False

    def address(self, user: User) -> str | None:
        return next((str(one["id"]) for one in user.identities("people") if "id" in one), None)


REGISTRY = Registry([Pushed, Pulled, Repeats, ToPeople, SkipKeywords])
NAMES = "outcome reason detail state errors {field}"


@pytest.fixture(scope="module")
def api(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A running API that knows these consumers."""
    settings = load_settings(
        env_file=None,
        kafka=broker,
        topic_prefix=f"t{secrets.token_hex(4)}.",
        data_dir=tmp_path_factory.mktemp("api"),
        secret_key=generate_key(),
    )
    with served_in_a_thread(settings, registry=REGISTRY) as api:
        yield api


@pytest_asyncio.fixture
async def admin(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as asking:
        yield asking


async def sent(admin: httpx.AsyncClient, name: str, body: dict[str, Any] | None = None) -> Any:
    answer = await admin.post(f"/api/v1/consumers/{name}/test", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_answer_of_the_service_comes_back_by_any_of_the_three_ways(
    api: Api, admin: httpx.AsyncClient
) -> None:
    people = {"username": "alice", "additional_info": {"people": {"id": 7}}}
    for kind, document in (
        ("users", people),
        ("users", {"username": "bob"}),
        ("consumers", {"name": "other", "type": "nowhere"}),
        ("consumers", {"name": "people", "type": "people", "fallback": "other", "parameters": {"token": "canary"}}),
    ):
        answer = await admin.post(f"/api/v1/{kind}", json=document)
        assert answer.status_code == 201, answer.text
    async with working(api.settings, REGISTRY):
        first = await wait_until(lambda: _accepted(admin))
        assert json.loads(first["detail"]) == [None, None, "This is a test of the consumer chat."]
        assert first["delivery"].startswith("notifier/test%2F")
        assert first["started_at"] <= first["ended_at"]

        answer = await sent(admin, "people", {"user": "alice", "text": "Do you read me? 👋"})
        assert json.loads(answer["detail"]) == ["7", "alice", "Do you read me? 👋"]
        for asked in ({}, {"user": "bob"}, {"user": "nobody"}):
            refused = await admin.post("/api/v1/consumers/people/test", json=asked)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/user")

        # What fails is told, goes to no fallback and is no dead letter.
        answer = await sent(admin, "people", {"user": "alice", "text": "no"})
        assert (answer["state"], answer["outcome"], answer["reason"]) == ("tried", "refused", "forbidden")
        assert answer["detail"] == "not you"

        query = f'mutation {{sendTest(name: "people", user: "alice", text: "hello") {{{NAMES}}}}}'
        found = (await admin.post("/graphql", json={"query": query})).json()["data"]["sendTest"]
        assert (found["outcome"], json.loads(found["detail"])[2], found["errors"]) == ("accepted", "hello", [])
        query = f'mutation {{sendTest(name: "people") {{{NAMES}}}}}'
        found = (await admin.post("/graphql", json={"query": query})).json()["data"]["sendTest"]
        assert (found["outcome"], found["errors"][0]["field"]) == (None, "user")

        await admin.post("/api/v1/consumers/chat/pause", json={"reason": "moving"})
        await wait_until(lambda: _is_paused(admin))
        answer = await sent(admin, "chat")
        assert (answer["state"], answer["outcome"]) == ("waiting", None)
        assert "moving" in answer["detail"]
    assert await read_all(api.settings, "dead_letters") == []
    assert await read_all(api.settings, "deliveries.other") == []
    audit = (await admin.get("/api/v1/audit", params={"kind": "consumer", "name": "people"})).json()["items"]
    assert {one["action"] for one in audit} == {"create", "test"}


async def _accepted(admin: httpx.AsyncClient) -> Any:
    found = await sent(admin, "chat")
    return found if found["outcome"] == "accepted" else None


async def _is_paused(admin: httpx.AsyncClient) -> bool:
    items = (await admin.get("/api/v1/status")).json()["items"]
    return any(one["kind"] == "consumer" and one["state"] == "paused" for one in items)


async def test_what_is_refused(api: Api, admin: httpx.AsyncClient) -> None:
    assert (await admin.post("/api/v1/consumers/nobody/test")).status_code == 404
    bodies: list[Any] = [{"text": ""}, {"text": "x" * 10_001}, {"texts": "x"}, {"text": "a\0"}, {"user": ""}, []]
    for body in bodies:
        assert (await admin.post("/api/v1/consumers/chat/test", json=body)).status_code == 422
    status, _, err = await run(api.settings, "send-test", "nobody")
    assert (status, "nobody" in err) == (1, True)
