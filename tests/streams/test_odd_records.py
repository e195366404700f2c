"""Records that a careless client writes, on every topic that a role reads: each costs itself, and the next one is worked on.

`ODD=long` writes many more of them; `ODD_SEED` repeats a run.
"""

import os
import random
from functools import partial

import pytest

from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.errors import UnsupportedVersion
from notifier.kafka import kafka_producer
from notifier.settings import Settings
from streams.definitions import Definitions
from tests.rigs import delivery_rig
from tests.rigs.kafka_tools import produce, read_all, wait_for_records, wait_until
from tests.rigs.raw_records import LATIN, batch, record, write_batch, write_odd_batches
from tests.rigs.router_rig import REGISTRY, SIMPLE, definition, publish, routers

COUNT = 400 if os.environ.get("ODD") == "long" else 12  # odd batches for each topic


@pytest.fixture
def seed() -> int:
    """Seen in the report of a failure."""
    return int(os.environ.get("ODD_SEED") or random.randrange(1_000_000))


GOOD = {
    "messages": b'{"producer":"ci","content":"odd","labels":{"a":"b"}}',
    "ticks": b'{"configuration":"odd","scheduled_at":"2026-11-23T09:00:00Z"}',
    "runs": b'{"configuration":"odd","scheduled_at":"2026-11-23T09:00:00Z","trigger":"cron","state":"running"}',
    "definitions": Definition(kind="user", name="odd", revision=1, spec={}).encode(),
    "deliveries.sink": delivery_rig.make("odd").encode(),
    "parked": delivery_rig.make("odd", why="retry").encode(),
    "attempts": b'{"delivery":"odd","outcome":"accepted","origin":{"topic":"t","partition":0,"offset":1}}',
}


async def write_odd(settings: Settings, seed: int, *topics: str) -> None:
    for topic in topics:
        good = GOOD[topic]
        assert await write_batch(settings, topic, batch(record(good, b"user/odd", LATIN), 1)) == 0
        assert await write_odd_batches(settings, topic, good, seed, COUNT) > 0


# --- roles ---


async def test_a_router_routes_what_follows(settings: Settings, seed: int) -> None:
    await publish(settings, SIMPLE)
    odd = b'{"producer":"ci","id":"odd","content":"x"}'
    assert await write_batch(settings, "messages", batch(record(odd, headers=LATIN), 1)) == 0
    await write_odd(settings, seed, "messages", "definitions")
    for number in (2, 3):  # and again after a restart
        await publish(settings, {f"configuration/c{number}": SIMPLE["configuration/c"]}, number)
        async with routers(settings) as (router,):
            await produce(settings, "messages", [{"producer": "ci", "id": f"m{number}", "content": "x"}], partition=0)
            await wait_until(
                partial(_is_on, settings, "deliveries.room", f"ci/m{number}/c{number}/room/*"), otherwise=router.output
            )
            assert router.process.poll() is None
    assert await _is_on(settings, "deliveries.room", "ci/odd/c/room/*")


async def _is_on(settings: Settings, topic: str, text: str) -> bool:
    return any(text in str(one.value) for one in await read_all(settings, topic))


async def test_what_a_router_cannot_unpack_is_a_dead_letter(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    deep = b'{"producer":"ci","content":"deep","x":' + b"[" * 1100 + b"]" * 1100 + b"}"
    await produce(settings, "messages", [deep] * 40, partition=0)
    async with routers(settings) as (router,):
        await wait_for_records(settings, "dead_letters", 40)
        errors = {letter.error for letter in await delivery_rig.dead_letters(settings)}
        assert errors == {"nested too deeply"}
        assert "Traceback" not in router.output()


# --- definitions ---


JUNK = [
    (b"user/zed", b"this is not json"),
    (b"nonsense", b"{}"),
    (b"nonsense/x", None),
    (b"\xff", b"{}"),
    (b"configuration/zzz", b'{"kind":"user","name":"zzz","revision":1,"spec":{}}'),
    (b"user/a", b'{"kind":"user","name":"b","revision":1,"spec":{}}'),
    (b"consumer/../x", b'{"kind":"consumer","name":"../x","revision":1,"spec":{"type":"room"}}'),
    (b"user/deep", b'{"kind":"user","name":"deep","revision":1,"spec":{"x":' + b"[" * 1100 + b"]" * 1100 + b"}}"),
    (b"user/large", b'{"kind":"user","name":"large","revision":9223372036854775808,"spec":{}}'),
]


async def test_junk_among_definitions_costs_itself(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    for key, value in JUNK:
        await produce(settings, "definitions", [value], key=key)
    spec = b'{"kind":"consumer","name":"wrong","revision":1,"spec":{"type":"room","parameters":[]}}'
    await produce(settings, "definitions", [spec], key="consumer/wrong")
    for revision in (2, 3):  # and again by another reader, from the start
        reader = Definitions(settings, Catalog(registry=REGISTRY))
        seen: list[Catalog] = []
        reader.on_change(_fail)  # a listener's fault costs itself, too
        reader.on_change(seen.append)
        catalog = await reader.load()
        assert (set(catalog.consumers), set(catalog.configurations), set(catalog.users)) == ({"room"}, {"c"}, set())
        assert set(catalog.problems) == {"consumer/wrong"}
        assert reader.passed_over == len(JUNK)
        await publish(settings, {f"user/u{revision}": {}}, revision)
        await wait_until(partial(_knows, reader, f"u{revision}"))
        assert seen[-1] is reader.catalog
        await publish(settings, {f"user/u{revision}": None}, revision)
        await reader.stop()


def _fail(catalog: Catalog) -> None:
    raise RuntimeError(f"cannot take over revision {catalog.revision}")


def _knows(reader: Definitions, user: str) -> bool:
    return user in reader.catalog.users


async def test_a_definition_of_a_newer_version_ends_the_following(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    value = b'{"v":2,"kind":"planet","name":"x","revision":1,"spec":{}}'
    await produce(settings, "definitions", [value], key="planet/x")
    reader = Definitions(settings, Catalog(registry=REGISTRY))
    with pytest.raises(UnsupportedVersion):
        await reader.load()
    await reader.stop()


async def test_odd_definitions_cost_themselves(settings: Settings, seed: int) -> None:
    await publish(settings, SIMPLE)
    await write_odd(settings, seed, "definitions")
    reader = Definitions(settings, Catalog(registry=REGISTRY))
    assert set((await reader.load()).configurations) == {"c"}
    async with kafka_producer(settings) as producer:  # without a header, as no transaction of the API's has it
        value = definition("user", "late", 9, {})
        await producer.send_and_wait(settings.topic_prefix + "definitions", value, key=b"user/late")
    await wait_until(partial(_knows, reader, "late"))
    await reader.stop()
