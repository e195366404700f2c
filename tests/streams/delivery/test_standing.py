"""Deliveries of consumers that are broken or deleted, on a real broker."""

import pytest

from notifier.kafka import ensure_topics, kafka_admin
from notifier.settings import Settings
from notifier.topics import deliveries
from tests.rigs.delivery_rig import (
    buried,
    dead_letters,
    define,
    define_sink,
    make,
    parked,
    saw,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import wait_until


async def test_a_consumer_that_cannot_be_used_has_its_deliveries_parked(settings: Settings) -> None:
    await ensure_topics(settings, [deliveries("sink")])
    await define(settings, "sink", {"type": "not-installed", "parameters": {}})
    await send(settings, [make("0"), make("1", number=1)])
    async with working(settings):
        found = await wait_for_attempts(settings, 2, outcome="deferred", reason="paused")
        assert "not-installed" in (found[0].detail or "")
        assert {d.attempt for d in (await parked(settings)).values()} == {1}
        path = await define_sink(settings)
        await saw(path, 2)
        await wait_for_attempts(settings, 2, outcome="accepted")
    assert await dead_letters(settings) == []


@pytest.mark.slow
async def test_a_deleted_consumer_leaves_dead_letters_and_its_topic_goes(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(0.5, 600.0), lane_wait_s=0.0)
    path = await define_sink(settings, plan={"0": ["fail"]})
    await send(settings, [make("0")])
    topic = f"{settings.topic_prefix}deliveries.sink"

    async def dropped() -> bool:
        async with kafka_admin(settings) as admin:
            return topic not in await admin.list_topics()

    async with working(settings):
        await saw(
            path, 2
        )  # released from the parking once, so that a transaction's mark ends the topic; then parked again
        await wait_for_attempts(settings, 2, outcome="deferred")
        await define(settings, "sink", None, revision=2)
        await send(settings, [make("1", number=1), make("2", number=2)])
        await wait_until(lambda: buried(settings, 3))  # the one that is parked for ten minutes too
        await wait_until(dropped)
    letters = await dead_letters(settings)
    assert {(letter.reason, letter.delivery) for letter in letters} == {
        ("consumer_deleted", make(str(n), number=n).id) for n in range(3)
    }
    assert len(seen(path)) == 2


async def test_parked_deliveries_of_a_deleted_consumer_become_dead_letters(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(8.0,), lane_wait_s=0.0)  # longer than a busy machine needs to stop it
    await define_sink(settings, plan={"0": ["fail"]})
    await send(settings, [make("0")])
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
    await define(settings, "sink", None, revision=2)
    async with working(settings):
        await wait_until(lambda: buried(settings, 1))
        assert await parked(settings) == {}
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.topic, letter.attempts) == ("consumer_deleted", settings.topic_prefix + "parked", 1)
