"""Consumers and producers are paused and go on by REST, GraphQL and the command line, and a delivery worker obeys."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import httpx
import pytest
import pytest_asyncio

from filters.keywords import SkipKeywords
from notifier import Context, Delivery, Result
from notifier.registry import Registry
from notifier.settings import Settings
from notifier.status import PAUSE, Status
from tests.rigs.api_rig import Api, Nowhere, Pulled, Pushed
from tests.rigs.delivery_rig import make, working
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.roles import run


@pytest_asyncio.fixture
async def admin(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as asking:
        yield asking


async def ask(admin: httpx.AsyncClient, query: str) -> Any:
    return (await admin.post("/graphql", json={"query": query})).json()


async def paused(admin: httpx.AsyncClient) -> dict[str, Any]:
    """The consumers that are paused or disabled, by name, as REST shows them; GraphQL shows the same."""
    items = (await admin.get("/api/v1/status")).json()["items"]
    return {one["name"]: one for one in items if one["kind"] == "consumer"}


async def is_paused(admin: httpx.AsyncClient, *names: str) -> dict[str, Any] | None:
    found = await paused(admin)
    return found if tuple(sorted(found)) == names else None


async def goes_on(admin: httpx.AsyncClient) -> bool:
    return not await paused(admin)


class Taker(Nowhere):
    """Takes down what it is given."""

    taken: ClassVar[list[str]] = []

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        self.taken.extend(delivery.read_message().content for delivery in deliveries)
        return [Result()] * len(deliveries)


WORKER = Registry([Pushed, Pulled, Taker, SkipKeywords])


async def deliver(settings: Settings, *numbers: int) -> None:
    made = [make(str(number), consumer="chat", lane="a", number=number) for number in numbers]
    await produce(settings, "deliveries.chat", [one.encode() for one in made], key="chat")


async def took(count: int) -> list[str]:
    await wait_until(lambda: len(Taker.taken) >= count, otherwise=lambda: str(Taker.taken))
    return Taker.taken


async def test_a_worker_obeys_what_people_say_by_any_of_the_three_ways(api: Api, admin: httpx.AsyncClient) -> None:
    for kind, document in (
        ("users", {"username": "a"}),
        ("configurations", {"name": "all", "consumers": ["chat"], "users": ["a"]}),
    ):
        assert (await admin.post(f"/api/v1/{kind}", json=document)).status_code == 201
    answer = await admin.post("/api/v1/consumers/chat/pause", json={"reason": "moving"})
    assert answer.status_code == 200
    first = answer.json()
    assert (first["kind"], first["name"], first["state"]) == ("consumer", "chat", "paused")
    assert (first["reason"], first["detail"]) == ("paused", "moving")
    await wait_until(lambda: is_paused(admin, "chat"))
    again = (await admin.post("/api/v1/consumers/chat/pause")).json()  # harmless, and needs no body
    assert (again["since"], again["by"], again["detail"]) == (first["since"], first["by"], "moving")
    await deliver(api.settings, 0, 1)
    async with working(api.settings, WORKER):
        found = await wait_until(lambda: _on_record(api.settings))
        assert (found.state, found.by, found.detail) == ("paused", first["by"], "moving")
        data = (await ask(admin, "{statuses {items {kind name state reason by since}}}"))["data"]["statuses"]["items"]
        assert {"chat", "paused"} < set(next(one for one in data if one["kind"] == "consumer").values())
        problem = (await admin.get("/api/v1/consumers/chat")).json()["problem"]
        assert problem == f"paused, by {first['by']}: moving"
        status, out, _ = await run(api.settings, "status")
        assert (status, "the consumer chat is paused, by" in out, "`notifier resume chat`" in out) == (
            0,
            True,
            True,
        )
        status, out, _ = await run(api.settings, "check", "roles", "operators")
        assert (status, "paused: chat" in out, "nobody is told" in out) == (0, True, True)
        assert Taker.taken == []
        await wait_until(lambda: _waits(admin, 2))

        answer = await admin.post("/api/v1/consumers/chat/resume")
        assert (answer.status_code, answer.json()["state"]) == (200, "resumed")
        assert await took(2) == ["0", "1"]
        await wait_until(lambda: goes_on(admin))

        query = 'mutation {pauseConsumer(name: "chat", reason: " by graph ") {status {state detail} errors {field}}}'
        data = (await ask(admin, query))["data"]["pauseConsumer"]
        assert data == {"status": {"state": "paused", "detail": "by graph"}, "errors": []}
        await wait_until(lambda: _on_record(api.settings))
        await deliver(api.settings, 2)
        status, out, _ = await run(api.settings, "resume", "chat")
        assert (status, out.strip()) == (0, "the consumer chat goes on")
        assert await took(3) == ["0", "1", "2"]

        status, out, _ = await run(api.settings, "pause", "chat", "--reason", "by hand")
        assert (status, "paused by cli: by hand" in out) == (0, True)
        await wait_until(lambda: _on_record(api.settings))
        await deliver(api.settings, 3)
        data = (await ask(admin, 'mutation {resumeConsumer(name: "chat") {status {state by}}}'))["data"]
        assert data["resumeConsumer"]["status"]["state"] == "resumed"
        assert await took(4) == ["0", "1", "2", "3"]
    audit = (await admin.get("/api/v1/audit", params={"kind": "consumer", "name": "chat"})).json()["items"]
    assert [one["action"] for one in audit] == ["resume", "pause", "resume", "pause", "resume", "pause", "create"]
    assert [one["actor"] for one in audit[:3]] == [audit[0]["actor"], "cli", "cli"]
    assert audit[1]["changes"] == [{"op": "add", "pointer": "", "before": None, "after": {"reason": "by hand"}}]


async def _waits(admin: httpx.AsyncClient, count: int) -> bool:
    data = (await ask(admin, "{statuses {items {kind waiting}}}"))["data"]["statuses"]["items"]
    (chat,) = (one["waiting"] for one in data if one["kind"] == "consumer")
    return bool((await paused(admin))["chat"]["waiting"] == chat == count)


async def _on_record(settings: Settings) -> Status | None:
    """What a worker says of the consumer, where that is that it is paused."""
    records = [record for record in await read_all(settings, "status") if record.key == b"consumer/chat"]
    newest = Status.decode(records[-1].value) if records and records[-1].value else None
    return newest if newest is not None and newest.state == "paused" else None


async def test_a_pause_that_nobody_asked_for_ends_by_hand_too(api: Api, admin: httpx.AsyncClient) -> None:
    document = {"name": "down", "type": "nowhere"}
    assert (await admin.post("/api/v1/consumers", json=document)).status_code == 201
    said = Status.decode(
        b'{"kind": "consumer", "name": "down", "state": "paused", "at": "2026-11-29T10:00:00Z", "reason": "connection",'
        b' "since": "2026-11-29T09:00:00Z", "detail": "no route", "not_before": "2026-11-29T10:01:00Z"}'
    )
    await produce(api.settings, "status", [said.encode()], key="consumer/down")
    found = await wait_until(lambda: is_paused(admin, "down"))
    assert found["down"]["since"] == "2026-11-29T09:00:00Z"
    problem = (await admin.get("/api/v1/consumers/down")).json()["problem"]
    assert problem == "paused, since its service seems to be down: no route"
    for _ in range(2):  # what is not paused may be resumed
        assert (await admin.post("/api/v1/consumers/down/resume")).status_code == 200
        await wait_until(lambda: goes_on(admin))
    # What nobody could have written changes nothing.
    odd = Status(kind=PAUSE, name="other", state="paused", at=said.at)
    await produce(api.settings, "status", [odd.encode(), b"{}", b"[]"], key=f"{PAUSE}/down")
    assert await paused(admin) == {}


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_what_is_refused(api: Api, admin: httpx.AsyncClient, action: str) -> None:
    assert (await admin.post(f"/api/v1/consumers/nobody/{action}")).status_code == 404
    assert (await admin.post(f"/api/v1/consumers/NO NAME/{action}")).status_code == 404
    found = await ask(admin, f'mutation {{{action}Consumer(name: "nobody") {{status {{name}}}}}}')
    assert found["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    status, _, err = await run(api.settings, action, "nobody")
    assert (status, "nobody" in err) == (1, True)
    if action == "pause":
        bodies: list[Any] = [{"reason": ""}, {"reason": "x" * 501}, {"reasons": "x"}, {"reason": "a\0"}, []]
        for body in bodies:
            assert (await admin.post("/api/v1/consumers/nobody/pause", json=body)).status_code == 422
        data = (await ask(admin, 'mutation {pauseConsumer(name: "x", reason: "") {status {name} errors {field}}}'))[
            "data"
        ]
        assert data["pauseConsumer"] == {"status": None, "errors": [{"field": "reason"}]}


async def is_paused_producer(admin: httpx.AsyncClient) -> dict[str, Any] | None:
    items = (await admin.get("/api/v1/status")).json()["items"]
    return next((one for one in items if one["kind"] == "producer"), None)


async def producer_goes_on(admin: httpx.AsyncClient) -> bool:
    return await is_paused_producer(admin) is None


async def test_a_producer_is_paused_by_any_of_the_three_ways(api: Api, admin: httpx.AsyncClient) -> None:
    """That the runners obey is in tests/streams/runner/test_pauses.py. A consumer of the same name is another matter."""
    assert (await admin.post("/api/v1/consumers", json={"name": "reviews", "type": "nowhere"})).status_code == 201
    answer = await admin.post("/api/v1/producers/reviews/pause", json={"reason": "too many"})
    assert answer.status_code == 200, answer.text
    first = answer.json()
    assert (first["kind"], first["state"], first["detail"]) == ("producer", "paused", "too many")
    found = await wait_until(lambda: is_paused_producer(admin))
    assert (found["name"], found["by"], found["since"]) == ("reviews", first["by"], first["since"])
    assert await paused(admin) == {}
    assert (await admin.get("/api/v1/producers/reviews")).json()["problem"] == f"paused, by {first['by']}: too many"
    status, out, _ = await run(api.settings, "status")
    assert (status, "the producer reviews is paused" in out) == (0, True)
    assert "`notifier resume producer reviews`" in out
    assert (await admin.post("/api/v1/producers/reviews/resume")).json()["state"] == "resumed"
    await wait_until(lambda: producer_goes_on(admin))

    data = (await ask(admin, 'mutation {pauseProducer(name: "reviews") {status {kind state}}}'))["data"]
    assert data["pauseProducer"]["status"] == {"kind": "producer", "state": "paused"}
    await wait_until(lambda: is_paused_producer(admin))
    status, out, err = await run(api.settings, "resume", "producer", "reviews")
    assert (status, out.strip()) == (0, "the producer reviews goes on"), err
    await wait_until(lambda: producer_goes_on(admin))

    status, out, err = await run(api.settings, "pause", "producer", "reviews", "--reason", "by hand")
    assert (status, "`notifier resume producer reviews` has it go on" in out) == (0, True), err
    await wait_until(lambda: is_paused_producer(admin))
    data = (await ask(admin, 'mutation {resumeProducer(name: "reviews") {status {state}}}'))["data"]
    assert data["resumeProducer"]["status"]["state"] == "resumed"
    await wait_until(lambda: producer_goes_on(admin))
    audit = (await admin.get("/api/v1/audit", params={"kind": "producer", "name": "reviews"})).json()["items"]
    assert [one["action"] for one in audit][:6] == ["resume", "pause"] * 3


async def test_a_producer_without_a_source_cannot_be_paused(api: Api, admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/api/v1/producers/ci/pause")
    assert (answer.status_code, "nothing to pause" in answer.json()["detail"]) == (409, True)
    assert (await admin.post("/api/v1/producers/nobody/pause")).status_code == 404
    found = await ask(admin, 'mutation {pauseProducer(name: "ci") {status {name}}}')
    assert found["errors"][0]["extensions"]["status"] == 409
    status, _, err = await run(api.settings, "pause", "a", "b")
    assert (status, "producer NAME" in err) == (2, True)
