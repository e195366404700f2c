"""Records out of range on the topics that delivery reads: dead letters, and the worker goes on, before and after a restart."""

from collections.abc import Iterator
from typing import Any

import msgspec

from notifier.attempt import Origin
from notifier.delivery import Delivery
from notifier.kafka import ensure_topics, kafka_producer
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, PARKED
from tests.rigs.delivery_rig import attempts, buried, dead_letters, define_sink, make, parked, saw, seen, send, working
from tests.rigs.history_rig import attempt
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.odd_times import OUT_OF_RANGE

NUMBERS = ("-5", "0", "4611686018427387904", str(2**70))


def _odd(good: Delivery) -> Iterator[bytes]:
    """The delivery with one value out of range."""
    data: dict[str, Any] = msgspec.json.decode(good.encode())
    for number in NUMBERS:
        yield msgspec.json.encode({**data, "attempt": msgspec.Raw(number.encode())})
    for number in ("-1", str(2**70)):
        yield msgspec.json.encode({**data, "spared": msgspec.Raw(number.encode())})
        yield msgspec.json.encode({**data, "configuration_version": msgspec.Raw(number.encode())})
    for time in OUT_OF_RANGE:
        yield msgspec.json.encode({**data, "not_before": time})
        yield msgspec.json.encode({**data, "redriven_at": time})
    for name in ("id", "message_id", "consumer", "configuration", "recipient"):
        yield msgspec.json.encode({**data, name: "x" * 600_000})


async def test_deliveries_out_of_range_are_dead_letters_and_delay_nothing(settings: Settings) -> None:
    path = await define_sink(settings)
    odd = list(_odd(make("odd")))
    await produce(settings, "deliveries.sink", odd, key="a")
    await send(settings, [make("0")])
    async with working(settings):
        await saw(path, 1)
        await wait_until(lambda: buried(settings, len(odd)))
    async with working(settings):  # a restart makes no dead letter a second time
        await send(settings, [make("1", number=1)])
        await saw(path, 2)
    letters = await dead_letters(settings)
    assert len(letters) == len(odd)
    assert {letter.reason for letter in letters} == {"invalid"}
    assert sorted(letter.offset or 0 for letter in letters) == list(range(len(odd)))
    assert [line["content"] for line in seen(path)] == ["0", "1"]


async def test_parked_records_out_of_range_are_dead_letters_once(settings: Settings) -> None:
    path = await define_sink(settings)
    await ensure_topics(settings, [PARKED, ATTEMPTS])
    good = make("0", why="retry", attempt=2)
    odd = [b"{", *_odd(make("odd", why="retry"))]
    async with kafka_producer(settings) as producer:
        for number, value in enumerate(odd):
            key = b"\xff%d" % number  # no text
            await producer.send(settings.topic_prefix + PARKED.name, value, key=key, partition=0)
        await producer.send(settings.topic_prefix + PARKED.name, good.encode(), key=good.id.encode(), partition=0)
        await producer.flush()
    async with working(settings):
        await saw(path, 1)
        await wait_until(lambda: buried(settings, len(odd)))
    async with working(settings):  # `parked` is read from its start again
        await send(settings, [make("1", number=1)])
        await saw(path, 2)
    letters = await dead_letters(settings)
    assert len(letters) == len(odd)
    assert {letter.reason for letter in letters} == {"invalid"}
    assert await _still_parked(settings) == set()


async def _still_parked(settings: Settings) -> set[bytes]:
    waiting: set[bytes] = set()
    for record in await read_all(settings, "parked"):
        if record.value is None:
            waiting.discard(record.key)
        else:
            waiting.add(record.key)
    return waiting


async def test_a_parked_delivery_that_fits_no_more_with_its_lane_is_given_up(settings: Settings) -> None:
    path = await define_sink(settings)
    message = msgspec.Raw(b'{"producer":"ci","receiver":"a","content":"' + b"x" * 500_000 + b'"}')
    large = msgspec.structs.replace(make("large", why="retry"), lane="l" * 300_000, message=message)
    await produce(settings, PARKED.name, [large.encode()], key="k")
    await produce(settings, PARKED.name, [make("0", why="retry").encode()], key=make("0").id)
    async with working(settings):
        await saw(path, 1)
        await wait_until(lambda: buried(settings, 1))
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.delivery) == ("too_large", large.id)
    assert await parked(settings) == {}


async def test_attempts_out_of_range_are_passed_over_by_the_ledger(settings: Settings) -> None:
    path = await define_sink(settings)
    topic = f"{settings.topic_prefix}deliveries.sink"
    good = attempt("0", origin=Origin(topic=topic, partition=0, offset=0), delivery=make("0").id).encode()
    data: dict[str, Any] = msgspec.json.decode(good)
    odd = [msgspec.json.encode({**data, "number": msgspec.Raw(number.encode())}) for number in NUMBERS]
    odd += [msgspec.json.encode({**data, name: time}) for time in OUT_OF_RANGE for name in ("not_before", "ended_at")]
    odd += [msgspec.json.encode({**data, "delivery": "x" * 600_000}), b"\xff", b"[]"]
    odd += [
        msgspec.json.encode(
            {**data, "origin": {"topic": topic, "partition": msgspec.Raw(number.encode()), "offset": 0}}
        )
        for number in ("-1", str(2**70))
    ]
    await produce(settings, "attempts", odd, partition=0)
    for number in range(2):
        await send(settings, [make(str(number), number=number)])
        async with working(settings):
            await saw(path, number + 1)


async def test_more_spared_tries_than_were_made_do_not_make_retries_endless(settings: Settings) -> None:
    settings = settings.model_copy(update={"retry_schedule_s": (0.1,), "lane_wait_s": 60.0})
    await define_sink(settings, plan={"0": ["fail"]})
    await send(settings, [make("0", spared=2**31 - 1), make("1", number=1, attempt=2**31 - 1)])
    async with working(settings):
        await wait_until(lambda: buried(settings, 1))
    (letter,) = await dead_letters(settings)
    assert (letter.reason, letter.attempts) == ("exhausted", 2)
    assert max(one.number for one in await attempts(settings)) == 2**31 - 1
