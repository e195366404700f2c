"""What each decision of the router is recorded as, and what a delivery says. On a real broker, in real processes."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from notifier.dead_letter import DeadLetter
from notifier.settings import Settings
from tests.rigs.kafka_tools import read_all, wait_for_records, wait_until
from tests.rigs.odd_times import GO_ZERO, OUT_OF_RANGE
from tests.rigs.router_rig import (
    publish,
    read_attempts,
    routers,
    through,
    write_messages,
)

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
    "filter/lenient": {"type": "faulty", "parameters": {"on_error": "pass"}},
    "filter/elsewhere": {"type": "from-elsewhere"},
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
    "configuration/lenient": through("file", producers=["faulty"], filters=["lenient"]),
    "configuration/gone": through("deleted", "file", producers=["faulty"], users=["bob"]),
    "producer/other": {"type": "push"},
    "configuration/elsewhere": through("file", producers=["other"], filters=["elsewhere"]),
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
    *(
        Case(
            name=f"{field_} {time}",
            record={"producer": "ci", "content": "done", field_: time},
            dead="invalid",
            error=f"must lie in the years 1970 to 9000 - at `$.{field_}`",
        )
        for time in OUT_OF_RANGE
        for field_ in ("not_before", "occurred_at", "expires_at")
    ),
    Case(
        name="a time that is absent, as Go writes it",
        record={"producer": "ci", "content": "ü", "not_before": GO_ZERO, "expires_at": GO_ZERO, "occurred_at": GO_ZERO},
        deliveries={("to-room", "room", "*")},
    ),
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
        name="a receiver without a name in the world of a fixed lane gets the message there",
        record={"producer": "ci", "receiver": "carol", "content": "x"},
        deliveries={("to-room", "room", "carol")},
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
        name="a filter that raises costs its configuration the message, and a consumer that is gone is recorded",
        record={"producer": "faulty", "content": "x"},
        deliveries={("lenient", "file", "*"), ("gone", "file", "*")},
        attempts={("consumer_deleted", "faulty/{id}/gone/deleted/*")},
        dead="filter_failed",
        error="the configuration faulty cannot judge it: the filter faulty failed: RuntimeError: out of order",
    ),
    Case(
        name="a filter whose type is not installed costs its configuration the message",
        record={"producer": "other", "content": "x"},
        dead="filter_unusable",
        error="the configuration elsewhere cannot judge it: the filter 'elsewhere' cannot be used: /type: there is no",
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
        dead = {letter.offset: letter for letter in (DeadLetter.decode(record.value) for record in buried)}
        wanted = sum(len(case.attempts) for case in CASES)
        await wait_until(lambda: read_attempts(settings, wanted))
    attempts = defaultdict(list)
    for attempt in await read_attempts(settings, wanted):
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


async def test_a_delivery_of_a_configuration_without_users_names_nobody(settings: Settings) -> None:
    await publish(settings, {"producer/ci": {"type": "push"}, "consumer/room": {"type": "room"},
                             "configuration/c": through("room", users=[])})  # fmt: skip
    await write_messages(settings, [{"producer": "ci", "content": "x"}])
    async with routers(settings):
        (record,) = await wait_for_records(settings, "deliveries.room", 1)
    said = json.loads(record.value)
    assert (said["recipients"], said["attempt"], said.get("recipient")) == ([], 1, None)


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
