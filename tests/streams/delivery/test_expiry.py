"""What has expired is not sent, wherever it waits."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from notifier.delivery import Delivery
from notifier.record import now
from notifier.settings import Settings
from streams.delivery.review import Ended
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
    define,
    define_sink,
    make,
    park,
    parked,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import wait_until
from tests.streams.delivery.test_review import reviewing, to

AT = now().replace(microsecond=0)
SINK = {"type": "sink", "parameters": {"path": "/tmp/sink"}}
ALL = {"users": ["alice"], "consumers": ["sink"]}


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


@pytest.mark.parametrize(
    ("changes", "delivery", "written_s", "expected_s"),
    [
        pytest.param({}, to(), -60, None, id="never"),
        pytest.param({}, to(expires_at=AT + timedelta(seconds=5)), -60, 5, id="as it was routed"),
        pytest.param({"consumer/sink": {**SINK, "retry": {"ttl_s": 10}}}, to(), -60, -50, id="the consumer"),
        pytest.param({"configuration/all": {**ALL, "ttl_s": 20}}, to(), -60, -40, id="the configuration"),
        pytest.param(
            {"consumer/sink": {**SINK, "retry": {"ttl_s": 10}}, "configuration/all": {**ALL, "ttl_s": 20}},
            to(expires_at=AT), -60, -50, id="the earliest",
        ),
        pytest.param(
            {"consumer/sink": {**SINK, "retry": {"ttl_s": 10}}},
            to(routed_at=AT - timedelta(seconds=3)), 0, 7, id="from when it was routed, not parked",
        ),
        pytest.param(
            {"consumer/sink": {**SINK, "retry": {"ttl_s": 3600}}}, to(), 10**9, None, id="a record of a clock that is ahead"
        ),
    ],
)  # fmt: skip
def test_the_earliest_of_all_that_say_so_counts(
    changes: Any, delivery: Delivery, written_s: int, expected_s: int | None
) -> None:
    review = reviewing(changes)
    written = _ms(AT + timedelta(seconds=written_s))
    expires_at = review.expiry(delivery, written)
    if written_s > 0:
        assert expires_at is not None
        assert now() < expires_at <= now() + timedelta(hours=1)
    else:
        assert expires_at == (None if expected_s is None else AT + timedelta(seconds=expected_s))
    found = review.of(delivery, waited=True, timestamp_ms=written)
    if expected_s is not None and expected_s < 0:
        assert isinstance(found, Ended)
        assert (found.reason, found.dead) == ("expired", False)
        assert "sink was not to deliver it after" in found.detail


async def test_what_expires_while_it_waits_is_not_sent(settings: Settings) -> None:
    settings = with_(settings, retry_schedule_s=(1.0,), lane_wait_s=60.0)
    path = await define_sink(settings, plan={"0": ["fail"]})
    await define(settings, "broken", {"type": "none"}, revision=2)
    soon, hour = now() + timedelta(seconds=3), now() + timedelta(hours=1)
    await send(
        settings,
        [
            make("0", expires_at=hour),
            make("1", number=1, expires_at=now()),  # behind it
            make("2", number=2, expires_at=hour),
            make("3", number=3, not_before=hour, expires_at=soon),  # delayed
        ],
    )
    for one in (
        make("4", number=4, why="held", not_before=hour, expires_at=soon),
        make("5", number=5, why="retry", not_before=hour, expires_at=soon, attempt=2),
        make("6", consumer="broken", number=6, why="retry", not_before=now(), expires_at=soon),
    ):
        await park(settings, one)
    async with working(settings):
        await wait_for_attempts(settings, 5, outcome="suppressed", reason="expired")
        await wait_for_attempts(settings, 1, outcome="accepted")
        await wait_until(lambda: _none_parked(settings))
        assert now() < hour
    found = await attempts(settings)
    assert sorted(a.message for a in found if a.reason == "expired") == [f"m-{n}-{n}" for n in (1, 3, 4, 5, 6)]
    assert [line["content"] for line in seen(path)] == ["0", "0", "2"]
    assert [letter.id for letter in await dead_letters(settings)] == [make("0").id]


async def test_a_lifetime_that_a_consumer_gets_later_counts_for_what_waits(settings: Settings) -> None:
    path = await define_sink(settings, plan={"0": ["fail"]}, spec={"retry": {"schedule_s": [600]}})
    await send(settings, [make("0")])
    parameters = {"path": str(path)}
    async with working(settings):
        await wait_for_attempts(settings, 1, outcome="deferred")
        await wait_until(lambda: _some_parked(settings))
        await define(settings, "sink", {"type": "sink", "parameters": parameters, "retry": {"ttl_s": 0.01}}, revision=2)
        await wait_for_attempts(settings, 1, outcome="suppressed", reason="expired")
    assert len(seen(path)) == 1
    assert await parked(settings) == {}


async def _some_parked(settings: Settings) -> bool:
    return bool(await parked(settings))


async def _none_parked(settings: Settings) -> bool:
    return not await parked(settings)
