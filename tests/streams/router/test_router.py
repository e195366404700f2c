"""The router on a real broker, in real processes: what each decision is recorded as, and what becomes of messages when
definitions change, workers come, go and die, records cannot be read and topics are missing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiokafka import ConsumerRecord
from aiokafka.admin import NewPartitions

from notifier.dead_letter import DeadLetter
from notifier.kafka import ensure_topics, kafka_admin
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings
from notifier.topics import DEAD_LETTERS, DEFINITIONS, MESSAGES, PARKED, deliveries
from streams.broker.broker import EmbeddedBroker
from streams.broker.ports import free_port
from tests.rigs.kafka_tools import produce, read_all, wait_for_records, wait_until
from tests.rigs.repository import ROOT
from tests.rigs.router_rig import Audit, audit, definition, feed, publish, routers, through, write_messages

USERS: dict[str, dict[str, Any]] = {
    "user/alice": {"additional_info": {"chat": {"username": "al", "id": 7}, "github": {"username": "octocat"}}},
    "user/bob": {"additional_info": {"chat": {"username": "bobby"}, "github": {"username": "bob"}}},
    "user/carol": {"additional_info": {"github": {"username": "BOB"}}},
}

DEFINED: dict[str, dict[str, Any]] = {
    **USERS,
    "producer/ci": {"type": "push"},
    "producer/hub": {"type": "github"},
    "producer/quiet": {"type": "push"},
    "producer/late": {"type": "push"},
    "producer/many": {"type": "push"},
    "producer/faulty": {"type": "push"},
    "producer/odd": {"type": "nonsense"},
    "filter/no-wip": {"type": "skip_keywords", "parameters": {"skip_keywords": ["wip"]}},
    "filter/only-prod": {"type": "keep_keywords", "parameters": {"keep_keywords": ["prod"]}},
    "filter/exists": {"type": "receiver_exists"},
    "filter/faulty": {"type": "faulty"},
    "consumer/room": {"type": "room"},
    "consumer/file": {"type": "file"},
    "consumer/direct": {"type": "direct"},
    "consumer/broken": {"type": "broken"},
    "configuration/to-room": through("room", users=["alice", "bob"], filters=["no-wip"]),
    "configuration/to-people": through(
        "direct", producers=["hub"], users=["alice", "bob"], filters=["no-wip", "exists"]
    ),
    "configuration/to-room-of-hub": through("room", producers=["hub"], filters=["no-wip"]),
    "configuration/nobody": through("direct", producers=["late"]),
    "configuration/off": through("room", producers=["late"], enabled=False),
    "configuration/faulty": through("file", producers=["faulty"], filters=["faulty"]),
    "configuration/gone": through("deleted", "file", producers=["faulty"], users=["bob"]),
    "configuration/broken": through("broken", producers=["odd-one"]),
    **{
        f"configuration/many-{number}": through("room", producers=["many"], filters=["only-prod"])
        for number in range(7)
    },
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A record on `messages`, and what the router makes of it."""

    name: str
    record: Mapping[str, Any] | bytes | None  # {id} of a message is the case's name, unless it says otherwise
    deliveries: set[tuple[str, str, str]] = field(default_factory=set)  # (configuration, consumer, recipient or *)
    attempts: set[tuple[str, str]] = field(default_factory=set)  # (reason, delivery)
    dead: str | None = None  # reason of its dead letter
    error: str = ""  # a part of the dead letter's error, or of the attempt's detail


CASES = [
    Case(
        name="one delivery in a fixed lane for everyone",
        record={"producer": "ci", "content": "done"},
        deliveries={("to-room", "room", "*")},
    ),
    Case(
        name="a receiver gets one delivery in each lane",
        record={"producer": "hub", "receiver": "octocat", "content": "review"},
        deliveries={("to-people", "direct", "alice"), ("to-room-of-hub", "room", "alice")},
    ),
    Case(
        name="upper and lower case of names do not matter",
        record={"producer": "hub", "receiver": "OctoCat", "content": "review"},
        deliveries={("to-people", "direct", "alice"), ("to-room-of-hub", "room", "alice")},
    ),
    Case(
        name="without receiver one delivery for each user, and none where there is no address",
        record={"producer": "hub", "content": "release"},
        deliveries={("to-people", "direct", "alice"), ("to-room-of-hub", "room", "*")},
        attempts={("no_address", "hub/{id}/to-people/direct/bob")},
    ),
    Case(
        name="a receiver without a name in the world of a fixed lane has no address",
        record={"producer": "ci", "receiver": "carol", "content": "x"},
        attempts={("no_address", "ci/{id}/to-room/room/carol")},
        error="carol has no name in the world 'chat'",
    ),
    Case(
        name="a user whom the producer's world calls by nothing is unknown",
        record={"producer": "hub", "receiver": "alice", "content": "x"},
        attempts={("unknown_receiver", "hub/{id}")},
        error="nobody is called 'alice' in the world 'github'",
    ),
    Case(
        name="two users with a name are ambiguous",
        record={"producer": "hub", "receiver": "bob", "content": "x"},
        attempts={("ambiguous_receiver", "hub/{id}")},
        error="bob, carol",
    ),
    Case(
        name="a message that one filter drops says so",
        record={"producer": "ci", "content": "wip: x"},
        attempts={("filtered", "ci/{id}/to-room")},
        error="to-room: no-wip",
    ),
    Case(
        name="a message that many filters drop names five",
        record={"producer": "many", "content": "test"},
        attempts={("filtered", "many/{id}")},
        error="many-0: only-prod, many-1: only-prod, many-2: only-prod, many-3: only-prod, many-4: only-prod and 2 more",
    ),
    Case(
        name="a message that no configuration considers says so",
        record={"producer": "quiet", "content": "x"},
        attempts={("filtered", "quiet/{id}")},
        error="no enabled configuration considers messages of the producer quiet",
    ),
    Case(
        name="a consumer of people in a configuration without users has nobody to write to",
        record={"producer": "late", "content": "x"},
        attempts={("no_address", "late/{id}/nobody/direct/*")},
    ),
    Case(
        name="a message for one configuration is considered by no other",
        record={"producer": "hub", "content": "x", "configuration": "to-room-of-hub"},
        deliveries={("to-room-of-hub", "room", "*")},
    ),
    Case(
        name="a message for a configuration that takes no such messages",
        record={"producer": "ci", "content": "x", "configuration": "to-people"},
        attempts={("filtered", "ci/{id}/to-people")},
        error="the configuration to-people does not consider messages of ci",
    ),
    Case(
        name="a message for a disabled configuration",
        record={"producer": "late", "content": "x", "configuration": "off"},
        attempts={("disabled", "late/{id}/off")},
    ),
    Case(
        name="a message for an unknown configuration",
        record={"producer": "ci", "content": "x", "configuration": "nowhere"},
        dead="unknown_configuration",
        error="there is no configuration 'nowhere'",
    ),
    Case(
        name="ids are percent-encoded",
        record={"producer": "late", "content": "x", "id": "a/b c%", "configuration": "off"},
        attempts={("disabled", "late/a%2Fb%20c%25/off")},
    ),
    Case(
        name="a filter that raises drops nothing, and a consumer that is gone is recorded",
        record={"producer": "faulty", "content": "x"},
        deliveries={("faulty", "file", "*"), ("gone", "file", "*")},
        attempts={("consumer_deleted", "faulty/{id}/gone/deleted/*")},
    ),
    Case(name="no JSON", record=b"{broken", dead="invalid", error="not JSON"),
    Case(name="not UTF-8", record=b'{"producer":"ci","content":"\xff"}', dead="invalid", error="not UTF-8"),
    Case(name="no value", record=None, dead="invalid", error="no value"),
    Case(name="nested too deeply", record=b"[" * 100_000, dead="invalid"),
    Case(name="a field is missing", record={"producer": "ci"}, dead="invalid", error="content"),
    Case(name="a later version", record={"v": 2, "producer": "ci", "text": "x"}, dead="unsupported_version"),
    Case(name="an unknown producer", record={"producer": "who", "content": "x"}, dead="unknown_producer"),
    Case(
        name="a producer whose definition is wrong",
        record={"producer": "odd", "content": "x"},
        dead="unknown_producer",
        error="cannot be used",
    ),
    Case(
        name="1.1 MB",
        record={"producer": "ci", "content": "x" * 1_100_000},
        dead="too_large",
        error="a message has at most 900000 bytes",
    ),
    Case(name="control signs", record=b'{"a": "' + b"\x01" * 390_000, dead="invalid"),
]


@pytest.mark.predecessor("S-11", "S-12", "S-14")
async def test_each_decision_is_recorded_as_the_table_says(settings: Settings) -> None:
    await publish(settings, DEFINED)
    ids = [f"case-{number}" for number in range(len(CASES))]
    records: list[bytes | Mapping[str, Any] | None] = []
    for number, case in enumerate(CASES):
        if isinstance(case.record, Mapping):
            ids[number] = case.record.get("id", ids[number])
        records.append({"id": ids[number], **case.record} if isinstance(case.record, Mapping) else case.record)
    await write_messages(settings, records, partition=3)
    async with routers(settings):
        buried = await wait_for_records(settings, "dead_letters", sum(case.dead is not None for case in CASES))
        dead = {letter.offset: letter for letter in map(dead_letter, buried)}
        wanted = sum(len(case.attempts) for case in CASES)
        await wait_until(lambda: attempts_of(settings, wanted))
    attempts = defaultdict(list)
    for attempt in await attempts_of(settings, wanted):
        attempts[attempt["origin"]["offset"]].append(attempt)
    found = defaultdict(set)
    for consumer in ("room", "file", "direct"):
        for delivery_record in await read_all(settings, f"deliveries.{consumer}"):
            delivery = json.loads(delivery_record.value)
            recipient = delivery["id"].rpartition("/")[2]
            found[delivery["message_id"]].add((delivery["configuration"], delivery["consumer"], recipient))
    for offset, case in enumerate(CASES):
        message_id = ids[offset]
        assert found[message_id] == case.deliveries, case.name
        expected = {(reason, delivery.format(id=message_id)) for reason, delivery in case.attempts}
        assert {(attempt["reason"], attempt["delivery"]) for attempt in attempts[offset]} == expected, case.name
        letter = dead.pop(offset, None)
        assert (letter.reason if letter else None) == case.dead, case.name
        said = letter.error if letter else "; ".join(attempt.get("detail", "") for attempt in attempts[offset])
        assert case.error in said, case.name
        if letter:
            place = (letter.stage, letter.topic, letter.partition, letter.offset)
            assert place == ("route", settings.topic_prefix + "messages", 3, offset), case.name
            if case.dead in ("unknown_producer", "unknown_configuration"):  # it could be read, so it is found by its id
                assert (letter.id, letter.message) == (ids[offset], ids[offset]), case.name
            kept = letter.value is not None or letter.value_base64 is not None
            assert kept is (records[offset] is not None), case.name
        assert all("number" in attempt for attempt in attempts[offset]), case.name
        for attempt in attempts[offset]:
            assert attempt["outcome"] == "suppressed", case.name
    assert dead == {}


def dead_letter(record: ConsumerRecord) -> DeadLetter:
    """What lies on `dead_letters`."""
    return DeadLetter.decode(record.value)


async def attempts_of(settings: Settings, count: int) -> list[dict[str, Any]]:
    """All attempts, without the counters; none while there are fewer than `count`."""
    found = [json.loads(record.value) for record in await read_all(settings, "attempts")]
    found = [attempt for attempt in found if "counters" not in attempt]
    return found if len(found) >= count else []


@pytest.mark.predecessor("S-25")
async def test_a_delivery_says_all_that_a_consumer_needs(settings: Settings) -> None:
    await publish(settings, {**USERS, "producer/hub": {"type": "github"}, "consumer/direct": {"type": "direct"},
                             "consumer/room": {"type": "room"},
                             "configuration/reviews": through("direct", "room", producers=["hub"])}, revision=41)  # fmt: skip
    raw = (
        b'{"producer": "hub",  "sender":"octocat", "receiver":"octocat","content":"r\xc3\xa9view",'
        b' "extra": {"kept": [1, 2]}, "not_before":"2030-01-01T00:00:00Z"}'
    )
    await write_messages(settings, [raw], partition=5)
    async with routers(settings):
        (direct,) = await wait_for_records(settings, "deliveries.direct", 1)
        (room,) = await wait_for_records(settings, "deliveries.room", 1)
    origin = (await read_all(settings, "messages"))[0]
    message_id = f"5-0-{origin.timestamp}"
    assert direct.key == b"7"
    assert raw in direct.value  # spliced in as it came
    said = json.loads(direct.value)
    assert said.pop("message")["extra"] == {"kept": [1, 2]}
    assert said == {
        "id": f"hub/{message_id}/reviews/direct/alice",
        "configuration": "reviews",
        "configuration_version": 41,
        "consumer": "direct",
        "lane": "7",
        "message_id": message_id,
        "recipient": "alice",
        "address": "7",
        "sender": "al",
        "receiver": "al",
        "attempt": 1,
        "not_before": "2030-01-01T00:00:00Z",
    }
    assert room.key == b"room"
    in_room = json.loads(room.value)
    assert (in_room["lane"], in_room["receiver"], in_room.get("address")) == ("room", "al", None)


@pytest.mark.predecessor("S-13")
async def test_an_unknown_sender_stays_plain_text_and_everyone_is_named(settings: Settings) -> None:
    await publish(settings, {**USERS, "producer/ci": {"type": "push"}, "consumer/room": {"type": "room"},
                             "configuration/c": through("room", users=["alice", "carol"])})  # fmt: skip
    await write_messages(settings, [{"producer": "ci", "sender": "a robot", "content": "x"}])
    async with routers(settings):
        (record,) = await wait_for_records(settings, "deliveries.room", 1)
    said = json.loads(record.value)
    assert (said["sender"], said["recipients"], said.get("recipient")) == ("a robot", ["alice", "carol"], None)


async def test_what_is_dropped_is_counted(settings: Settings) -> None:
    await publish(settings, DEFINED)
    await write_messages(
        settings, [{"producer": "ci", "content": "wip"}] * 5 + [{"producer": "many", "content": "test"}]
    )
    async with routers(settings):

        async def counts() -> Counter[tuple[str, str]]:
            found: Counter[tuple[str, str]] = Counter()
            for record in await read_all(settings, "attempts"):
                for counter in json.loads(record.value).get("counters", ()):
                    found[counter["configuration"], counter["reason"]] += counter["count"]
            return found

        # Each message is for two users of to-room.
        expected = {("to-room", "filtered"): 10, **{(f"many-{number}", "filtered"): 1 for number in range(7)}}

        async def counted() -> bool:
            return await counts() == expected

        await wait_until(counted)


SIMPLE: dict[str, dict[str, Any]] = {
    "producer/ci": {"type": "push"},
    "consumer/room": {"type": "room", "parameters": {"partitions": 1}},
    "configuration/c": through("room"),
}


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
            dropped = {attempt["message"] for attempt in await attempts_of(settings, 1)}
            return set(wanted) <= dropped | set(seen.message_ids())

        await wait_until(all_recorded)
        assert await router.end() == 0
    versions: dict[int, list[int]] = defaultdict(list)  # by partition, in the order of its offsets
    for value in seen.values():
        versions[int(value["message_id"][1:]) % MESSAGES.partitions].append(value["configuration_version"])
    assert all(found == sorted(found) for found in versions.values())
    assert {version for found in versions.values() for version in found} <= {1, 3, 5, 7}
    delivered = Counter(seen.message_ids())
    dropped = Counter(attempt["message"] for attempt in await attempts_of(settings, 1))
    assert not delivered.keys() & dropped.keys()
    assert max(delivered.values()) == 1


async def heard(seen: Audit, sent: list[str], settle: int = 100) -> None:
    """Waits until everything that is sent by now and some more has come out."""
    wanted = len(sent) + settle
    await wait_until(lambda: len(sent) >= wanted)
    expected = set(sent[:wanted])
    await wait_until(
        lambda: expected <= set(seen.message_ids()),
        60,
        lambda: f"lost: {sorted(expected - set(seen.message_ids()))[:20]}",
    )


async def test_nothing_is_lost_when_a_router_is_killed(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    two = routers(settings, 2)
    async with audit(settings, deliveries("room")) as seen, two as (first, second), feed(settings, 200) as sent:
        await first.ready()
        await second.ready()
        await heard(seen, sent)
        first.kill()
        await heard(seen, sent)
        assert await second.end() == 0
    # What was repeated carries the same id.
    assert len({value["id"] for value in seen.values()}) == len(set(seen.message_ids()))


async def test_orderly_changes_double_nothing(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with audit(settings, deliveries("room")) as seen, feed(settings, 200) as sent, routers(settings) as (stays,):
        await stays.ready()
        await heard(seen, sent)
        for number in (signal.SIGTERM, signal.SIGINT):
            async with routers(settings) as (comes,):
                await comes.ready()
                await heard(seen, sent)
                assert await comes.end(number) == 0
                await heard(seen, sent)
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
            await heard(seen, sent)


async def test_unreadable_records_stall_nobody(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with audit(settings, deliveries("room")) as seen, routers(settings) as (router,):
        await router.ready()
        await produce(settings, "messages", [b"{broken"] * 300, partition=0)
        await write_messages(settings, [{"producer": "ci", "id": f"m{number}", "content": "x"} for number in range(5)])
        await wait_until(lambda: len(set(seen.message_ids())) == 5)
        await wait_for_records(settings, "dead_letters", 300)
    letters = [dead_letter(record) for record in await read_all(settings, "dead_letters")]
    assert sorted(letter.offset or 0 for letter in letters) == list(range(300))


async def delete_topic(settings: Settings, name: str) -> None:
    async with kafka_admin(settings) as admin:
        await admin.delete_topics([settings.topic_prefix + name])

        async def gone() -> bool:
            return settings.topic_prefix + name not in await admin.list_topics()

        await wait_until(gone)


async def test_a_topic_that_is_missing_for_a_moment_gets_its_deliveries(settings: Settings) -> None:
    await publish(settings, SIMPLE)
    async with routers(settings) as (router,):
        await write_messages(settings, [{"producer": "ci", "id": "before", "content": "x"}])
        await wait_for_records(settings, "deliveries.room", 1)
        await delete_topic(settings, "deliveries.room")
        await write_messages(settings, [{"producer": "ci", "id": f"m{number}", "content": "x"} for number in range(20)])
        await wait_until(lambda: "retrying" in router.output() or "is missing" in router.output())
        await ensure_topics(settings, [deliveries("room")])
        records = await wait_for_records(settings, "deliveries.room", 20)
        assert list(dict.fromkeys(json.loads(record.value)["message_id"] for record in records)) == [
            f"m{number}" for number in range(20)
        ]
        assert await router.end() == 0
    assert await read_all(settings, PARKED.name) == []


async def test_a_missing_topic_parks_its_deliveries_and_stops_nothing_else(settings: Settings) -> None:
    await publish(settings, {**SIMPLE, "consumer/file": {"type": "file"},
                             "configuration/d": through("file")})  # fmt: skip
    await delete_topic(settings, "deliveries.room")
    async with routers(settings, command=["tests.rigs.router_rig", "2"]):
        await write_messages(settings, [{"producer": "ci", "id": f"m{number}", "content": "x"} for number in range(3)])
        await wait_for_records(settings, "deliveries.file", 3)
        parked = await wait_for_records(settings, PARKED.name, 3)
        # From now on nobody waits for it.
        await write_messages(settings, [{"producer": "ci", "id": "later", "content": "x"}], partition=1)
        parked = await wait_for_records(settings, PARKED.name, 4)
        await wait_for_records(settings, "deliveries.file", 4)
        await ensure_topics(settings, [deliveries("room")])
        await write_messages(settings, [{"producer": "ci", "id": "back", "content": "x"}], partition=1)
        (record,) = await wait_for_records(settings, "deliveries.room", 1)
        assert json.loads(record.value)["message_id"] == "back"
    for record in parked:
        said = json.loads(record.value)
        assert record.key is not None
        assert (said["id"], said["why"], said.get("attempt", 1)) == (record.key.decode(), "retry", 1)
        assert "not_before" in said


async def test_a_topic_that_got_more_partitions_is_written_to_in_all(settings: Settings) -> None:
    await publish(settings, {"producer/hub": {"type": "push"}, "consumer/direct": {"type": "direct"},
                             **{f"user/u{number}": {"additional_info": {"chat": {"id": number}}} for number in range(20)},
                             "configuration/c": through("direct", producers=["hub"])})  # fmt: skip
    async with kafka_admin(settings) as admin:
        await admin.create_partitions({settings.topic_prefix + "deliveries.direct": NewPartitions(total_count=4)})
    messages = [{"producer": "hub", "receiver": f"u{number}", "content": "x"} for number in range(20)]
    await write_messages(settings, messages)
    async with routers(settings):
        records = await wait_for_records(settings, "deliveries.direct", 20)
    assert len({record.partition for record in records}) > 1
    # As every other writer with the same key: the default partitioner of aiokafka and of Kafka's own client.
    other = (await produce(settings, "deliveries.direct", [b"{}"], key="7"))[0]
    assert {record.partition for record in records if record.key == b"7"} == {other.partition}


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


async def test_the_faust_command_runs_both_agents_and_opens_no_port(settings: Settings) -> None:
    await publish(settings, {"producer/ci": {"type": "push"}})
    await write_messages(settings, [b"broken"])
    await produce(settings, "ticks", [b"broken"])
    async with routers(settings, command=["faust", "-A", "streams.app", "worker", "-l", "info"]) as (worker,):
        letters = [dead_letter(record) for record in await wait_for_records(settings, "dead_letters", 2)]
        assert {letter.stage for letter in letters} == {"route", "run"}
        connections = psutil.Process(worker.process.pid).net_connections()
        assert [connection for connection in connections if connection.status == psutil.CONN_LISTEN] == []
        assert await worker.end() == 0


async def test_importing_the_app_does_nothing() -> None:
    code = "import threading, streams.app as it; assert 'app' not in vars(it) and len(threading.enumerate()) == 1"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


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
                await heard(seen, sent)
                process = json.loads((tmp_path / "kafka" / "broker.json").read_text())
                os.kill(process["pid"], signal.SIGKILL)
                await asyncio.sleep(5)
                await asyncio.to_thread(lambda: broker.start(die_with_parent=True))
                await heard(seen, sent)
            assert await router.end() == 0
    finally:
        broker.stop()
