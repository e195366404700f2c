"""Records that a careless client writes, one by one: nested too deeply, junk among definitions, a newer version."""

from functools import partial

import pytest

from notifier.catalog import Catalog
from notifier.errors import UnsupportedVersion
from notifier.kafka import kafka_producer
from notifier.settings import Settings
from streams.definitions import Definitions
from tests.rigs import delivery_rig
from tests.rigs.kafka_tools import produce, wait_for_records, wait_until
from tests.rigs.router_rig import REGISTRY, SIMPLE, definition, publish, routers

# --- roles ---


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
        assert reader.passed_over.count == len(JUNK)
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
    with pytest.raises(UnsupportedVersion, match="definitions/0/"):
        await reader.load()
    await reader.stop()
    await produce(settings, "definitions", [None], key="planet/x")  # its place is taken, so it says nothing any more
    async with kafka_producer(settings) as producer:  # without a header, as no transaction of the API's has it
        value = definition("user", "late", 9, {})
        await producer.send_and_wait(settings.topic_prefix + "definitions", value, key=b"user/late")
    reader = Definitions(settings, Catalog(registry=REGISTRY))
    assert set((await reader.load()).users) == {"late"}
    await reader.stop()
