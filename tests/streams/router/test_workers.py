"""What becomes of messages when definitions change, workers come, go and die, and records cannot be read."""

import asyncio
import json
import os
import signal
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from notifier.dead_letter import DeadLetter
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from notifier.topics import DEAD_LETTERS, DEFINITIONS, MESSAGES, deliveries
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.kafka_tools import produce, read_all, wait_for_records, wait_until
from tests.rigs.router_rig import (
    SIMPLE,
    all_heard,
    audit,
    definition,
    feed,
    publish,
    read_attempts,
    routers,
    through,
    write_messages,
)


async def test_each_message_is_judged_by_the_old_or_the_new_definitions_in_order(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    room = deliveries("room")
    async with audit(settings, room) as seen, routers(settings) as (router,), feed(settings, 200) as sent:
        await wait_until(lambda: len(seen.records) > 100)
        for revision in range(2, 7):
            filters = ["drop"] if revision % 2 == 0 else []
            await publish(
                settings,
                {
                    "filter/drop": {"type": "skip_keywords", "parameters": {"skip_keywords": ["m"]}},
                    "configuration/c": through("room", filters=filters),
                },
                revision,
            )
            await asyncio.sleep(0.3)
        await publish(settings, {"configuration/c": through("room")}, 7)
        await wait_until(lambda: any(value["configuration_version"] == 7 for value in seen.values()))
        last = len(sent)
        await wait_until(lambda: len(sent) >= last + 50)
        wanted = sent[: last + 50]

        async def all_recorded() -> bool:
            dropped = {attempt["message"] for attempt in await read_attempts(settings, 1)}
            return set(wanted) <= dropped | set(seen.message_ids())

        await wait_until(all_recorded)
        assert await router.end() == 0
    versions: dict[int, list[int]] = defaultdict(list)  # by partition, in the order of its offsets
    for value in seen.values():
        versions[int(value["message_id"][1:]) % MESSAGES.partitions].append(value["configuration_version"])
    assert all(found == sorted(found) for found in versions.values())
    assert {version for found in versions.values() for version in found} <= {1, 3, 5, 7}
    delivered = Counter(seen.message_ids())
    dropped = Counter(attempt["message"] for attempt in await read_attempts(settings, 1))
    assert not delivered.keys() & dropped.keys()
    assert max(delivered.values()) == 1


async def test_nothing_is_lost_when_a_router_is_killed(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    two = routers(settings, 2)
    async with audit(settings, deliveries("room")) as seen, two as (first, second), feed(settings, 200) as sent:
        await first.ready()
        await second.ready()
        await all_heard(seen, sent)
        first.kill()
        await all_heard(seen, sent)
        assert await second.end() == 0
    # What was repeated carries the same id.
    assert len({value["id"] for value in seen.values()}) == len(set(seen.message_ids()))


async def test_orderly_changes_double_nothing(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with audit(settings, deliveries("room")) as seen, feed(settings, 200) as sent, routers(settings) as (stays,):
        await stays.ready()
        await all_heard(seen, sent)
        for number in (signal.SIGTERM, signal.SIGINT):
            async with routers(settings) as (comes,):
                await comes.ready()
                await all_heard(seen, sent)
                assert await comes.end(number) == 0
                await all_heard(seen, sent)
        assert await stays.end() == 0
    ids = Counter(seen.message_ids())
    assert {name: count for name, count in ids.items() if count > 1} == {}


@pytest.mark.parametrize("repetition", range(3))
async def test_a_fresh_group_loses_nothing_while_messages_flow(settings: Settings, repetition: int) -> None:
    await publish(settings, SIMPLE)
    one, another = routers(settings), routers(settings)
    async with audit(settings, deliveries("room")) as seen, feed(settings, 300) as sent, one as (first,):
        await asyncio.sleep(0.4 * repetition)
        async with another as (second,):
            await first.ready()
            await second.ready()
            await all_heard(seen, sent)


async def test_unreadable_records_stall_nobody(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with audit(settings, deliveries("room")) as seen, routers(settings) as (router,):
        await router.ready()
        await produce(settings, "messages", [b"{broken"] * 300, partition=0)
        await write_messages(settings, [{"producer": "ci", "id": f"m{number}", "content": "x"} for number in range(5)])
        await wait_until(lambda: len(set(seen.message_ids())) == 5)
        await wait_for_records(settings, "dead_letters", 300)
    letters = [DeadLetter.decode(record.value) for record in await read_all(settings, "dead_letters")]
    assert sorted(letter.offset or 0 for letter in letters) == list(range(300))


async def test_a_busy_router_is_not_replaced(settings: Settings) -> None:
    """Each slice of 500 takes longer than a router may stand still, and the other partitions grow meanwhile."""
    slow = {**SIMPLE, "filter/slow": {"type": "slow"}, "configuration/c": through("room", filters=["slow"])}
    await publish(settings, slow)
    backlog = [json.dumps({"producer": "ci", "id": f"b{number}", "content": "x"}).encode() for number in range(1200)]
    await produce(settings, "messages", backlog, partition=0)
    started = routers(settings, command=("tests.rigs.router_rig", "30", "2"))
    async with audit(settings, deliveries("room")) as seen, feed(settings, 20) as sent, started as (router,):
        await all_heard(seen, sent, 150)
        await wait_until(lambda: {f"b{number}" for number in range(1200)} <= set(seen.message_ids()), 120)
        assert await router.end() == 0
        assert "stand still" not in router.output()


async def test_a_router_that_stands_still_ends(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with feed(settings, 50), routers(settings, command=("tests.rigs.router_rig", "30", "2", "hang")) as (router,):
        assert await router.ended() != 0
        assert "stand still while they grow" in router.output()


async def test_definitions_that_are_newer_end_the_router(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with routers(settings) as (router,):
        await router.ready()
        newer = definition("user", "zoe", 2, {}).replace(b"{", b'{"v":2,', 1)
        await produce(settings, DEFINITIONS.name, [newer], key="user/zoe")
        assert await router.ended() != 0
        assert "version 2 of Definition is not known here" in router.output()
    async with routers(settings) as (router,):
        assert await router.ended() != 0


async def test_nothing_is_judged_before_the_definitions_are_read(settings: Settings) -> None:
    many = {f"producer/p{number}": {"type": "push"} for number in range(2000)}
    await publish(settings, {**many, **SIMPLE})
    await write_messages(settings, [{"producer": "ci", "content": "x"}])
    async with routers(settings):
        await wait_for_records(settings, "deliveries.room", 1)
    assert await read_all(settings, DEAD_LETTERS.name) == []


@pytest.mark.slow
async def test_nothing_is_lost_when_the_broker_is_killed_and_comes_back(tmp_path: Path) -> None:
    own = load_settings(
        env_file=None, data_dir=tmp_path, kafka_port=free_port(), topic_prefix="t.", secret_key=generate_key()
    )
    broker = EmbeddedBroker(own)
    settings = own.model_copy(update={"kafka": broker.start(die_with_parent=True)})
    try:
        await publish(settings, SIMPLE)
        async with audit(settings, deliveries("room")) as seen, routers(settings) as (router,):
            async with feed(settings, 200) as sent:
                await router.ready()
                await all_heard(seen, sent)
                process = json.loads((tmp_path / "kafka" / "broker.json").read_text())
                os.kill(process["pid"], signal.SIGKILL)
                await asyncio.sleep(5)
                await asyncio.to_thread(lambda: broker.start(die_with_parent=True))
                await all_heard(seen, sent)
            assert await router.end() == 0
    finally:
        broker.stop()
