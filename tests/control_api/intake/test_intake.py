"""The intake while the broker hangs, dies, comes back or was never there."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from control_api.access import tokens
from control_api.intake.writer import AWAY, UNKNOWN
from notifier.record import JsonObject
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.api_rig import GOOD, client, define, is_ready, running
from tests.rigs.kafka_tools import WAIT_S, read_all, wait_until
from tests.rigs.problems import problem


@contextmanager
def own_broker(folder: Path) -> Iterator[tuple[EmbeddedBroker, Settings]]:
    """A broker of this test alone, to be maltreated."""
    port = free_port()  # kept, so that clients find the broker again after a restart
    settings = load_settings(env_file=None, data_dir=folder, kafka_port=port, secret_key=generate_key())
    broker = EmbeddedBroker(settings)
    address = broker.start(die_with_parent=True)
    try:
        yield broker, settings.model_copy(update={"kafka": address})
    finally:
        broker.stop()


def java_of(settings: Settings) -> psutil.Process:
    """The broker's process."""
    state = json.loads((settings.data_dir / "kafka" / "broker.json").read_text())
    return psutil.Process(state["pid"])


@pytest.mark.slow
async def test_a_broker_that_is_away_or_hangs_gets_503_and_nothing_half_written(tmp_path: Path) -> None:
    with own_broker(tmp_path) as (broker, settings):
        await define(settings)
        token = await tokens.create_token(settings, name="t", scopes=["admin"])
        accepted: set[str] = set()
        refused: set[str] = set()
        unknown: set[str] = set()
        single: list[str] = []  # accepted, of requests of one message
        count = 0

        async def push(asking: httpx.AsyncClient) -> httpx.Response:
            nonlocal count
            count += 1
            receivers = [f"user{number}" for number in range(30)]  # over all partitions
            body = [{**GOOD, "id": f"{count}-{name}", "receiver": name} for name in receivers]
            number = str(count)
            answer = await asking.post("/api/v1/messages", json=body)
            if answer.status_code == 202:
                accepted.add(number)
            else:
                (unknown if problem(answer, 503)["detail"] == UNKNOWN else refused).add(number)
            return answer

        async def push_one(asking: httpx.AsyncClient) -> tuple[str, httpx.Response]:
            nonlocal count
            count += 1
            return f"one-{count}", await asking.post("/api/v1/messages", json={**GOOD, "id": f"one-{count}"})

        async def accepts() -> bool:
            return (await push(asking)).status_code == 202

        async def accepts_one(asking: httpx.AsyncClient) -> bool:
            id_, answer = await push_one(asking)
            if answer.status_code == 202:
                single.append(id_)
            return answer.status_code == 202

        async with running(settings) as url, client(url, token) as asking:
            await wait_until(accepts)
            await wait_until(lambda: accepts_one(asking))

            java = java_of(settings)
            java.suspend()
            try:
                hanging, ones = await asyncio.gather(
                    asyncio.gather(*(push(asking) for _ in range(5))),
                    asyncio.gather(*(push_one(asking) for _ in range(5))),
                )
            finally:
                java.resume()
            for answer in hanging:
                assert problem(answer, 503)["detail"]
                assert answer.headers["retry-after"]
            for _, answer in ones:  # some are with the broker, which may write them when it goes on
                assert problem(answer, 503)["detail"] in (AWAY, UNKNOWN)
            await wait_until(accepts)
            assert await wait_until(lambda: accepts_one(asking))

            java_of(settings).kill()
            java.wait(WAIT_S)
            await push(asking)
            key = {"Idempotency-Key": "once"}
            problem(await asking.post("/api/v1/messages", json=[GOOD, GOOD], headers=key), 503)
            problem(await asking.post("/api/v1/configurations/to-chat/run"), 503)
            # What needs no broker goes on.
            assert (await asking.get("/api/v1/attempts")).status_code == 200
            assert (await asking.get("/health/live")).status_code == 200
            ready = await wait_until(lambda: _not_ready(asking))
            assert ready["broker"]["ready"] is False
            assert ready["database"]["ready"] is True

            await asyncio.to_thread(broker.start, die_with_parent=True)
            await wait_until(accepts)
            await wait_until(lambda: is_ready(asking))
            repeated = await asking.post("/api/v1/messages", json=[GOOD, GOOD], headers=key)
            assert repeated.status_code == 202

        ids = [orjson.loads(record.value)["id"] for record in await read_all(settings, "messages")]
        numbers = [id_.split("-")[0] for id_ in ids if "-user" in id_]
        for number in accepted:
            assert numbers.count(number) == 30
        assert len(refused) >= 2
        for number in refused:
            assert numbers.count(number) == 0
        for number in unknown:  # the gap that `control_api.intake.transactions` names: whole or not at all
            assert numbers.count(number) in (0, 30)
        assert [ids.count(id_) for id_ in single] == [1, 1]
        for id_, answer in ones:
            assert ids.count(id_) in ((0, 1) if answer.json()["detail"] == UNKNOWN else (0,))
        for one in repeated.json()["messages"]:
            assert ids.count(one["id"]) == 1


async def _not_ready(asking: httpx.AsyncClient) -> JsonObject | None:
    answer = await asking.get("/health/ready")
    parts: JsonObject = answer.json()["parts"]
    return parts if answer.status_code == 503 and not parts["broker"]["ready"] else None


async def test_without_a_broker_the_api_lives_and_says_so(tmp_path: Path) -> None:
    settings = load_settings(env_file=None, kafka="127.0.0.1:1", data_dir=tmp_path, secret_key=generate_key())
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["admin"])
    async with running(settings) as url, client(url, token) as asking:
        assert (await asking.get("/health/live")).status_code == 200
        parts = (await asking.get("/health/ready")).json()["parts"]
        assert [name for name in parts if parts[name]["ready"]][:1] == ["database"]
        assert not parts["broker"]["ready"]
        key = {"Idempotency-Key": "k"}
        problem(await asking.post("/api/v1/messages", json=GOOD, headers=key), 503)
        problem(await asking.post("/api/v1/messages", json={**GOOD, "content": "y"}, headers=key), 422)
        problem(await asking.post("/api/v1/messages", json={**GOOD, "producer": "no"}), 422)
        assert (await asking.get("/api/v1/tokens")).status_code == 200
        started = await asking.post("/api/v1/tokens", json={"name": "x", "scopes": ["read"]})
        assert started.status_code == 201
