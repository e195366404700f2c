"""A dry run over a real topic: as many deliveries as a real router makes, within its span, and whatever the topic is like."""

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from control_api.dry_run.comparison import Comparison
from control_api.dry_run.engine import dry_run
from control_api.dry_run.reading import Span
from control_api.dry_run.world import compare
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.kafka import ensure_topics, kafka_admin, kafka_producer
from notifier.record import now
from notifier.settings import Settings
from notifier.topics import MESSAGES
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.routed import REGISTRY
from tests.rigs.router_rig import publish, routers, through

PEOPLE = [f"u{number}" for number in range(20)]
SPECS: dict[str, dict[str, Any]] = {
    **{f"user/{name}": {"additional_info": {"chat": {"id": name}} if int(name[1:]) % 3 else {}} for name in PEOPLE},
    "producer/p0": {"type": "push"},
    "producer/p1": {"type": "push"},
    "filter/no-wip": {"type": "skip_keywords", "parameters": {"skip_keywords": ["wip"]}},
    "filter/bad": {"type": "severity", "parameters": {"at_least": "error"}},
    "filter/faulty": {"type": "faulty"},
    "filter/exists": {"type": "receiver_exists"},
    "consumer/room": {"type": "room", "parameters": {"partitions": 1}},
    "consumer/direct": {"type": "direct", "parameters": {"partitions": 1}},
}
NOW = through("room", producers=["p0"], filters=["no-wip"], users=PEOPLE[:5])
DRAFT = through("room", "direct", producers=["p0", "p1"], filters=["exists", "bad"], users=PEOPLE)
DAY = timedelta(days=1)


def comparison(now_: dict[str, Any] | None, draft: dict[str, Any] | None) -> Comparison:
    """Of configurations named `c` beside `SPECS`."""
    specs = SPECS if now_ is None else {**SPECS, "configuration/c": now_}
    found = [(*key.split("/"), spec) for key, spec in specs.items()]
    definitions = [Definition(kind=kind, name=name, revision=1, spec=spec) for kind, name, spec in found]  # type: ignore[arg-type]
    catalog = Catalog(registry=REGISTRY).with_changes((one.kind, one.name, one) for one in definitions)
    return compare(catalog, "c", draft)


async def run(settings: Settings, compared: Comparison, span: Span | None = None) -> Comparison:
    """Runs it to its end."""
    async for _ in dry_run(settings, compared, span or Span(since=now() - DAY, until=now() + DAY)):
        pass
    assert compared.report.progress == 1
    return compared


def messages(count: int) -> list[bytes | None]:
    """Messages of all sorts, and some records that are none."""
    chance = random.Random(7)
    found: list[bytes | None] = [
        None,
        b"",
        b"{",
        b'{"producer":"p0","content":7}',
        b'{"producer":"p0","content":"x","v":9}',
    ]
    for number in range(count):
        message = {
            "producer": chance.choice(["p0", "p0", "p1", "else"]),
            "id": f"m{number}",
            "content": chance.choice(["done", "wip: half"]),
            "severity": chance.choice(["info", "error"]),
        }
        if number % 50:
            message["receiver"] = chance.choice([*PEOPLE, "stranger"])
        if number % 40 == 0:
            message["configuration"] = chance.choice(["c", "other"])
        found.append(json.dumps(message).encode())
    return found


async def test_it_counts_what_a_real_router_delivers_with_the_same_draft(settings: Settings) -> None:
    values = messages(3000)
    for partition in range(3):
        await produce(settings, "messages", values[partition::3], key="k", partition=partition)
    compared = await run(settings, comparison(NOW, DRAFT))
    report = compared.report
    assert (report.messages, report.unreadable) == (len(values), 5)
    assert report.added > 100 < report.dropped

    await publish(settings, {**SPECS, "configuration/c": DRAFT})
    made: Counter[str] = Counter()

    async def all_made() -> bool:
        for consumer in ("room", "direct"):
            made[consumer] = len(await read_all(settings, f"deliveries.{consumer}"))
        return made.total() >= report.would_deliver

    async with routers(settings) as (router,):
        await wait_until(all_made, otherwise=lambda: f"{made}, {report}\n{router.output()}")
        await router.end()  # in order, with all that it has begun
    await all_made()
    assert made.total() == report.would_deliver

    again = (await run(settings, comparison(DRAFT, None))).report
    assert (again.delivers_now, again.would_deliver) == (report.would_deliver, report.would_deliver)
    assert (again.added, again.dropped) == (0, 0)


async def test_the_span_has_its_beginning_and_not_its_end(settings: Settings) -> None:
    await ensure_topics(settings, [MESSAGES])
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    async with kafka_producer(settings) as producer:
        for minute in (0, 1, 2, 3, 1, 2, 60):  # the clocks of clients are not the broker's
            at = round((noon + timedelta(minutes=minute)).timestamp() * 1000)
            value = json.dumps({"producer": "p0", "content": str(minute)}).encode()
            await producer.send_and_wait(
                settings.topic_prefix + "messages", value, partition=minute % 2, timestamp_ms=at
            )
    draft = through("room", producers=["p0"])
    # A record behind one that is as new as the end is not looked for: the second of minute 1, behind minute 3.
    for first, end, count in ((1, 3, 3), (0, 1, 1), (3, 60, 1), (60, 61, 1), (4, 60, 0), (61, 99, 0), (-9, 0, 0)):
        span = Span(since=noon + timedelta(minutes=first), until=noon + timedelta(minutes=end))
        report = (await run(settings, comparison(None, draft), span)).report
        assert (report.messages, report.would_deliver) == (count, count), (first, end)


async def test_a_topic_that_is_not_there_or_is_empty_gives_nothing(settings: Settings) -> None:
    for _ in range(2):  # it is made by the first
        report = (await run(settings, comparison(None, NOW))).report
        assert (report.messages, report.would_deliver) == (0, 0)


async def test_what_is_gone_is_passed_over_and_what_is_not_committed_is_not_read(settings: Settings) -> None:
    value = json.dumps({"producer": "p0", "content": "x"}).encode()
    await produce(settings, "messages", [value] * 10, partition=0)
    name = settings.topic_prefix + "messages"
    async with kafka_admin(settings) as admin:
        await admin.delete_records({TopicPartition(name, 0): RecordsToDelete(before_offset=6)})
    aborted = kafka_producer(settings, transactional_id=f"{settings.topic_prefix}x")
    async with aborted:
        await aborted.begin_transaction()
        await aborted.send_and_wait(name, value, partition=0)
        await aborted.abort_transaction()
        async with aborted.transaction():
            await aborted.send_and_wait(name, value, partition=1)
    compared = comparison(None, through("room", producers=["p0"]))
    assert (await run(settings, compared)).report.would_deliver == 5
