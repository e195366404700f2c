"""The kernel: records, definitions, the catalog, the registry, who is who, working time, sealing and settings."""

import logging
import os
import stat
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from notifier import registry as registry_module
from notifier.attempt import Attempt, Counter, Counters, Origin
from notifier.catalog import Catalog
from notifier.dead_letter import LETTER_BYTES, DeadLetter, Source
from notifier.definition import (
    MAX_SCRIPT_BYTES,
    MAX_SPEC_BYTES,
    SPECS,
    ConfigurationSpec,
    Definition,
    UserSpec,
    check_name,
    definition_key,
    read_spec,
)
from notifier.delivery import Delivery, delivery_id
from notifier.errors import InputError, InvalidRecord, NotifierError, SecretError, SettingsError, UnsupportedVersion
from notifier.identity import Ambiguous, Directory
from notifier.message import Message, check_message_object, topic_id
from notifier.outcome import Kind
from notifier.plugin import (
    Candidate,
    ConsumerParameters,
    Filter,
    FilterParameters,
    Parameters,
    Producer,
    WorldParameters,
    nested_secrets,
    secret_fields,
)
from notifier.plugin import Consumer as ConsumerPlugin
from notifier.record import Record, kafka_time, now, rfc3339
from notifier.registry import Registry, close_secrets, open_secrets
from notifier.run import ProducerRun, Run
from notifier.seal import Seal, generate_key, is_sealed, key_file, load_seal
from notifier.settings import PREFIX, Settings, load_settings, unknown_variables, variable
from notifier.tick import Tick
from notifier.topics import LARGE_BYTES
from notifier.user import User
from notifier.working_time import DAYS, WorkingTime

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # a Monday


def table(*rows: tuple[Any, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Runs a test once for each row; the row's first column is its name."""
    return pytest.mark.parametrize("row", [row[1:] for row in rows], ids=[row[0] for row in rows])


# Records

RECORDS: tuple[Record, ...] = (
    Message(producer="ci", content="build failed"),
    Message(
        producer="ci",
        content="build failed\n«ü»",
        id="7",
        sender="octocat",
        receiver="alice",
        title="CI",
        url="https://ci.example/7",
        severity="error",
        labels={"team": "infra"},
        occurred_at=AT,
        not_before=AT + timedelta(hours=1),
        configuration="c",
    ),
    Tick(configuration="c", scheduled_at=AT, trigger="manual"),
    Run(
        configuration="c",
        scheduled_at=AT,
        state="failed",
        owner="runner-1",
        lease_until=AT,
        producers=(ProducerRun(producer="reviews", state="failed", messages=2, error="no answer", started_at=AT),),
    ),
    Delivery(
        id="ci/7/c/chat/alice",
        configuration="c",
        configuration_version=3,
        consumer="chat",
        lane="chat",
        message=msgspec.Raw(b'{"producer":"ci","content":"x","extra":[1.50]}'),
        message_id="7",
        recipient="alice",
        recipients=("alice", "bob"),
        why="retry",
        not_before=AT,
    ),
    Attempt(
        delivery="ci/7/c/chat/alice",
        producer="ci",
        message="7",
        outcome="deferred",
        reason="timeout",
        started_at=AT,
        ended_at=AT,
        number=2,
        origin=Origin(topic="deliveries.chat", partition=0, offset=5),
    ),
    Counters(worker="w", at=AT, counters=(Counter(configuration="c", reason="filtered", count=9),)),
    DeadLetter(id="messages/0/5", stage="route", reason="invalid", error="not JSON", topic="messages", at=AT),
    Definition(kind="user", name="alice", revision=4, spec={"on_leave": True}),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_reads_what_it_writes(record: Record) -> None:
    data = record.encode()
    again = type(record).decode(data)
    assert again.encode() == data
    if not isinstance(record, Delivery):  # a Raw is equal to nothing but itself
        assert again == record


def test_a_record_leaves_out_what_is_as_always() -> None:
    assert Message(producer="ci", content="x").encode() == b'{"producer":"ci","content":"x"}'
    assert Tick(configuration="c", scheduled_at=AT).encode() == (
        b'{"configuration":"c","scheduled_at":"2026-11-23T09:00:00Z"}'
    )


def test_a_delivery_keeps_the_bytes_of_its_message() -> None:
    raw = b'{"producer":"ci", "content":"x", "amount":1.50, "deep":{"a":[]}}'
    delivery = Delivery(
        id="i",
        configuration="c",
        configuration_version=1,
        consumer="k",
        lane="l",
        message=msgspec.Raw(raw),
        message_id="1",
    )
    again = Delivery.decode(delivery.encode())
    assert bytes(again.message) == raw
    assert again.read_message().content == "x"


START = b'{"producer":"ci","content":"x"'
DEEP = 100_000


@table(
    ("nothing", b"", "not JSON: "),
    ("not JSON", b"hello", "not JSON: "),
    ("an array", b"[]", "Expected `object`, got `array`"),
    ("null", b"null", "Expected `object`, got `null`"),
    ("more behind it", START + b"} x", "not JSON: "),
    ("a byte order mark", b"\xef\xbb\xbf" + START + b"}", "not JSON: "),
    ("NaN in a field nobody knows", START + b',"extra":NaN}', "not JSON: "),
    ("Infinity in a field nobody knows", START + b',"extra":-Infinity}', "not JSON: "),
    ("a lone surrogate", rb'{"producer":"ci","content":"\ud800 x"}', "not JSON: "),
    ("a lone surrogate in a field nobody knows", START + rb',"extra":"\ud800"}', "not JSON: "),
    ("a lone surrogate as the name of a field", START + rb',"\udc00":1}', "not JSON: "),
    ("not UTF-8 in a field nobody knows", START + b',"extra":"\xff"}', "not UTF-8 at byte 40"),
    ("a surrogate as UTF-8", START + b',"extra":"\xed\xa0\x80"}', "not UTF-8 at byte 40"),
    ("lists within lists", START + b',"extra":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested too deeply"),
    ("objects within objects", START + b',"extra":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", "nested too deeply"),
    ("lists without end", b'{"v":2,"producer":5,"extra":' + b"[" * DEEP, "Expected `str`, got `int` - at `$.producer`"),
    ("a control character", b'{"producer":"ci","content":"\x01"}', "not JSON: "),
    ("no content", b'{"producer":"ci"}', "Object missing required field `content`"),
    ("a number for a text", b'{"producer":"ci","content":5}', "Expected `str`, got `int` - at `$.content`"),
    ("null for a text", b'{"producer":"ci","content":null}', "Expected `str`, got `null` - at `$.content`"),
    ("an empty producer", b'{"producer":"","content":"x"}', "Expected `str` of length >= 1 - at `$.producer`"),
    ("a long id", START + b',"id":"' + b"i" * 513 + b'"}', "Expected `str` of length <= 512 - at `$.id`"),
    ("another severity", START + b',"severity":"bad"}', "Invalid enum value 'bad' - at `$.severity`"),
    ("a number for a label", START + b',"labels":{"a":1}}', "Expected `str`, got `int` - at `$.labels[...]`"),
    ("a time without zone", START + b',"occurred_at":"2026-01-01T00:00:00"}', "Expected `datetime` with a timezone"),
    ("a time as a number", START + b',"occurred_at":1767225600}', "Expected `datetime | null`, got `int`"),
    ("a version as a text", START + b',"v":"2"}', "Expected `int`, got `str` - at `$.v`"),
    ("a version with a fraction", START + b',"v":1.0}', "Expected `int`, got `float` - at `$.v`"),
)
def test_decoding_is_strict(row: tuple[bytes, str]) -> None:
    data, text = row
    with pytest.raises(InvalidRecord) as caught:
        Message.decode(data)
    assert str(caught.value).startswith(text)
    assert caught.value.data == data
    assert caught.value.reason == "invalid"


@pytest.mark.parametrize("rest", [b'"content":"x"}', b'"content":5}', b'"nothing":"that fits"}'])
def test_a_newer_version_is_told_from_what_does_not_fit(rest: bytes) -> None:
    data = b'{"v":2,"producer":"ci",' + rest
    with pytest.raises(UnsupportedVersion, match="version 2 of Message is not known here") as caught:
        Message.decode(data)
    assert caught.value.data == data
    assert caught.value.reason == "unsupported_version"


def test_of_a_field_that_is_there_twice_the_last_counts() -> None:
    # As in Python, ECMAScript and PostgreSQL's jsonb, so whoever reads the spliced bytes behind us sees the same.
    assert Message.decode(b'{"producer":"ci","content":"first","content":"last"}').content == "last"


def test_unknown_fields_of_the_same_version_are_passed_over() -> None:
    message = Message.decode(START + b',"v":1,"severity":null,"extra":{"a":[1e999,null]}}')
    assert message == Message(producer="ci", content="x")


def test_a_message_object_is_checked_and_kept_as_it_is() -> None:
    value = {"producer": "ci", "content": "x", "extra": {"a": [1, None]}}
    assert check_message_object(value) is value


class _Endless(dict[str, Any]):
    """Holds itself."""


def _endless() -> dict[str, Any]:
    value = _Endless(producer="ci", content="x")
    value["extra"] = [value]
    return value


@pytest.mark.predecessor("S-31", "S-34")
@table(
    ("a list", [], InvalidRecord, "a message is a JSON object"),
    ("a number for a text", {"producer": "ci", "content": 5}, InvalidRecord, "$.content"),
    ("a lone surrogate", {"producer": "ci", "content": "\ud800"}, InvalidRecord, "lone surrogate"),
    ("one that is passed on", {"producer": "ci", "content": "x", "e": "\ud800"}, InvalidRecord, "passed on"),
    ("what is not JSON", {"producer": "ci", "content": "x", "e": {1, object()}}, InvalidRecord, "passed on"),
    ("what holds itself", _endless(), InvalidRecord, "passed on"),
    ("a newer version", {"v": 2, "producer": "ci", "content": "x"}, UnsupportedVersion, "version 2"),
)
def test_a_message_object_that_cannot_be_a_record_is_refused(row: tuple[object, type[NotifierError], str]) -> None:
    value, error, text = row
    with pytest.raises(error) as caught:
        check_message_object(value)
    assert text in str(caught.value)


def test_a_message_without_id_gets_one_from_where_it_lies() -> None:
    assert topic_id(3, 17, 1_764_000_000_000) == "3-17-1764000000000"


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001 - added below
def test_equal_times_are_written_equally(naive: datetime, minutes: int) -> None:
    there = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = rfc3339(there)
    assert text == rfc3339(there.astimezone(UTC))
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == there


def test_a_time_needs_a_zone_and_a_year() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        rfc3339(AT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="not a time in UTC"):
        rfc3339(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
    assert rfc3339(now()).endswith("Z")


def test_the_same_tick_has_the_same_id_however_it_is_written() -> None:
    berlin = b'{"configuration":"c","scheduled_at":"2026-11-23T10:00:00+01:00"}'
    assert Tick.decode(berlin).id == Tick(configuration="c", scheduled_at=AT).id == "c/2026-11-23T09:00:00Z"


def test_a_tick_that_can_have_no_id_is_invalid() -> None:
    with pytest.raises(InvalidRecord, match="not a time in UTC"):
        Tick.decode(b'{"configuration":"c","scheduled_at":"0001-01-01T00:00:00+14:00"}')


parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["*", "/", "a/b", "%2F", "a%2Fb"]
)


@pytest.mark.predecessor("S-32")
@given(
    st.tuples(parts, parts, parts, parts, parts | st.none()), st.tuples(parts, parts, parts, parts, parts | st.none())
)
def test_delivery_ids_are_equal_only_for_equal_parts(
    one: tuple[str, str, str, str, str | None], two: tuple[str, str, str, str, str | None]
) -> None:
    assert (delivery_id(*one) == delivery_id(*two)) is (one == two)
    *first, recipient = delivery_id(*one).split("/")
    assert [unquote(part) for part in first] == list(one[:4])
    assert recipient == "*" if one[4] is None else unquote(recipient) == one[4]


def _dead(value: bytes | None, key: bytes | None = b"alice", error: str = "no") -> DeadLetter:
    return DeadLetter.of_record(
        Source("messages", 1, 2, round(AT.timestamp() * 1000), key, value), stage="route", reason="invalid", error=error
    )


@table(
    ("a text", b'{"a":"\xc3\xbc"}', True),
    ("not UTF-8", b"\xff\xfe", False),
    ("what JSON would make six times as long", b"\x00" * 900_000, False),
    ("many quotation marks", b'"' * 900_000, True),
    ("more than a message may have", b"x" * 3_900_000, True),
    ("that, and not UTF-8", b"\xff" * 2_900_000, False),
)
def test_a_dead_letter_keeps_the_record(row: tuple[bytes, bool]) -> None:
    value, as_text = row
    letter = DeadLetter.decode(_dead(value).encode())
    kept = letter.value.encode() if letter.value is not None else b64decode(letter.value_base64 or "")
    assert kept == value
    assert (letter.value is not None) is as_text
    assert letter.id == "messages/1/2"
    assert letter.key == "alice"


def test_a_dead_letter_fits_into_a_record_whatever_the_record_was() -> None:
    for value in (b"x" * 4_000_000, b"x" * 3_932_158, b'"' * 1_048_576, b"\x01" * 1_048_576, b"\xff" * 2_949_120):
        letter = _dead(value, key=b"k" * 1_000_000, error="\x01" * 1_000_000)
        assert len(letter.encode()) < LETTER_BYTES < LARGE_BYTES
        assert letter.key is None
        assert (letter.topic, letter.partition, letter.offset) == ("messages", 1, 2)
    tombstone = _dead(None, key=None)
    assert (tombstone.key, tombstone.value, tombstone.value_base64) == (None, None, None)


def test_a_dead_letter_with_a_huge_id_is_kept_without_what_does_not_fit() -> None:
    letter = DeadLetter(
        id="i" * 900_000,
        stage="run",
        reason="invalid",
        error="no",
        topic="messages",
        at=AT,
        key="k" * 9000,
        value='"' * 1_900_000,
    )
    kept = DeadLetter.decode(letter.encode())
    assert len(letter.encode()) < LETTER_BYTES
    assert (kept.id, kept.key, kept.value) == (letter.id, None, None)


@table(
    ("none", None, None),
    ("no time", -1, None),
    ("beyond the calendar", 2**63 - 1, None),
    ("a time", 1500, "1970-01-01T00:00:01.500000Z"),
)
def test_the_time_of_a_kafka_record_is_one_of_the_calendar_or_none(row: tuple[int | None, str | None]) -> None:
    written, expected = row
    time = kafka_time(written)
    assert (None if time is None else rfc3339(time)) == expected


# Definitions

OFFICE = {"start": "09:00", "end": "18:00", "days": ["mon", "fri"], "timezone": "Europe/Berlin"}
SPECS_AS_WRITTEN: list[tuple[Kind, dict[str, Any]]] = [
    (
        "user",
        {
            "on_leave": True,
            "working_time": OFFICE,
            "additional_info": {"github": {"username": "octocat"}, "telegram": [{"id": 1}, {"id": 2}]},
        },
    ),
    ("script", {"executor": "python", "content": "print([])"}),
    ("producer", {"type": "push", "parameters": {"anything": ["is", {"checked": "elsewhere"}]}}),
    ("filter", {"type": "skip_keywords", "parameters": {"skip_keywords": ["draft"]}}),
    ("consumer", {"title": "Chat", "type": "telegram"}),
    (
        "configuration",
        {
            "title": "Reviews",
            "users": ["alice", "Bob.Smith@example.org"],
            "producers": ["ci"],
            "filters": ["no-drafts"],
            "consumers": ["chat"],
            "schedule": {"cron": "*/10 9-18 * * mon-fri", "timezone": "Europe/Moscow", "missed": "all"},
            "template": "{{ message.title }}",
            "enabled": False,
        },
    ),
]


@pytest.mark.predecessor("S-61")
@pytest.mark.parametrize(("kind", "spec"), SPECS_AS_WRITTEN, ids=[kind for kind, _ in SPECS_AS_WRITTEN])
def test_a_spec_is_written_as_it_was_read(kind: Kind, spec: dict[str, Any]) -> None:
    assert read_spec(kind, spec).model_dump(mode="json", exclude_unset=True) == spec
    with pytest.raises(InputError, match=r"^/surprise: is not a field here$"):
        read_spec(kind, {**spec, "surprise": 1})


@pytest.mark.predecessor("S-61")
@table(
    ("not an object", "user", [1], "/: must be an object"),
    (
        "a clock as YAML reads 18:00",
        "user",
        {"working_time": {**OFFICE, "end": 1080}},
        "/working_time/end: must be a time",
    ),
    (
        "a clock with a zone",
        "user",
        {"working_time": {**OFFICE, "start": "09:00Z"}},
        "/working_time/start: must be a time",
    ),
    (
        "a clock after midnight",
        "user",
        {"working_time": {**OFFICE, "end": "24:00"}},
        "/working_time/end: must be a time",
    ),
    ("half a window", "user", {"working_time": {"start": "09:00"}}, "/working_time/end: is required"),
    ("no days", "user", {"working_time": {**OFFICE, "days": []}}, "/working_time/days: needs at least one day"),
    ("another day", "user", {"working_time": {**OFFICE, "days": ["mo"]}}, "/working_time/days/0: must be 'mon', "),
    ("another zone", "user", {"working_time": {**OFFICE, "timezone": "Berlin"}}, "'Berlin' is not a time zone; write"),
    ("a file for a zone", "user", {"working_time": {**OFFICE, "timezone": "../UTC"}}, "'../UTC' is not a time zone"),
    (
        "a world that is a text",
        "user",
        {"additional_info": {"github": "octocat"}},
        "/additional_info: the world 'github'",
    ),
    ("a date in a world", "user", {"additional_info": {"hr": {"since": AT}}}, "/additional_info: cannot be written as"),
    (
        "NaN in a world",
        "user",
        {"additional_info": {"hr": {"n": float("nan")}}},
        "/additional_info: cannot be written as",
    ),
    (
        "a key that is null",
        "user",
        {"additional_info": {"hr": {None: 1}}},
        "/additional_info: cannot be written as JSON",
    ),
    (
        "a lone surrogate",
        "user",
        {"additional_info": {"x": {"a": "\ud800"}}},
        "/additional_info: cannot be written as JSON",
    ),
    ("an empty script", "script", {"content": ""}, "/content: must have at least 1 character"),
    ("a large script", "script", {"content": "ü" * (MAX_SCRIPT_BYTES // 2 + 1)}, "/content: is larger than 256 KiB"),
    ("a program file", "script", {"content": "a\0b"}, "/content: holds a NUL character"),
    ("another executor", "script", {"content": "x", "executor": "perl"}, "/executor: must be 'python' or 'bash'"),
    ("no type", "consumer", {}, "/type: is required"),
    (
        "a wrong name",
        "configuration",
        {"producers": ["ok", "Not-ok"]},
        "/producers/1: must be 1 to 63 lower-case letters",
    ),
    ("a wrong username", "configuration", {"users": ["a b"]}, "/users/0: must be 1 to 150 letters"),
    ("a name with a line end", "configuration", {"users": ["alice\n"]}, "/users/0: must be 1 to 150 letters"),
    ("a name twice", "configuration", {"filters": ["b", "a", "b"]}, "/filters: b is named twice"),
    ("two names twice", "configuration", {"users": ["b", "a", "b", "a"]}, "/users: a, b are named twice"),
    ("names as one text", "configuration", {"users": "alice"}, "/users: must be a list"),
    (
        "cron of four fields",
        "configuration",
        {"schedule": {"cron": "* * * *"}},
        "five fields, or six with seconds first;",
    ),
    ("cron that is none", "configuration", {"schedule": {"cron": "61 * * * *"}}, "is not a cron expression"),
    ("a nickname", "configuration", {"schedule": {"cron": "@reboot"}}, "/schedule/cron: '@reboot' is not a nickname"),
    ("a date that never comes", "configuration", {"schedule": {"cron": "0 0 30 2 *"}}, "is a date that never comes"),
    ("a time by chance", "configuration", {"schedule": {"cron": "R(0-5) 0 * * *"}}, "leaves a field to chance"),
    ("an hour by chance", "configuration", {"schedule": {"cron": "0 r * * *"}}, "leaves a field to chance"),
    ("cron without end", "configuration", {"schedule": {"cron": ",".join(["1"] * 999) + " * * * *"}}, "is longer than"),
    (
        "another missed",
        "configuration",
        {"schedule": {"cron": "@daily", "missed": "some"}},
        "/schedule/missed: must be",
    ),
    ("too much", "user", {"additional_info": {"x": {"a": "b" * MAX_SPEC_BYTES}}}, "/: is too large: 7000"),
)
def test_a_wrong_spec_is_refused_with_the_name_of_the_field(row: tuple[Kind, Any, str]) -> None:
    kind, spec, text = row
    with pytest.raises(InputError) as caught:
        read_spec(kind, spec)
    (error,) = caught.value.errors
    assert text in str(error)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    "cron", ["@hourly", "0 9 * * *", "30 0 9 * * mon", "0 9 1 mar *", "0 9 * apr thu,fri", "0 0 29 2 *", "0 0 L * *"]
)
def test_a_cron_expression_is_taken(cron: str) -> None:
    spec = read_spec("configuration", {"schedule": {"cron": cron}})
    assert isinstance(spec, ConfigurationSpec)
    assert spec.schedule is not None
    assert spec.schedule.cron == cron


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read_spec("configuration", {"users": ["a b"], "schedule": {"cron": "x", "when": 1}, "a/b~c": 1})
    assert [error.pointer for error in caught.value.errors] == [
        "/users/0",
        "/schedule/cron",
        "/schedule/when",
        "/a~1b~0c",
    ]


def test_what_holds_itself_is_refused() -> None:
    world: dict[str, Any] = {}
    world["x"] = {"again": world}
    with pytest.raises(InputError, match="cannot be written as JSON"):
        read_spec("user", {"additional_info": world})


@pytest.mark.predecessor("S-1")
@table(
    ("letters and digits", "configuration", "reviews-2-chat", True),
    ("one letter", "consumer", "a", True),
    ("the longest", "filter", "a" * 63, True),
    ("too long", "filter", "a" * 64, False),
    ("upper case", "filter", "A", False),
    ("a hyphen in front", "filter", "-a", False),
    ("a hyphen at the end", "filter", "a-", False),
    ("a dot", "consumer", "a.b", False),
    ("nothing", "script", "", False),
    ("a line end", "script", "a\n", False),
    ("not a text", "script", 5, False),
    ("a user's signs", "user", "Alice.O-Neil+x_1@example.org", True),
    ("a user's script", "user", "алиса", True),
    ("a user's longest", "user", "a" * 150, True),
    ("a user's too long", "user", "a" * 151, False),
    ("a user's slash", "user", "a/b", False),
    ("a user's line end", "user", "alice\n", False),
)
def test_check_name(row: tuple[Kind, object, bool]) -> None:
    kind, name, right = row
    if right:
        assert check_name(kind, name) == name
        return
    with pytest.raises(InputError) as caught:
        check_name(kind, name)
    assert caught.value.errors[0].pointer == ("/username" if kind == "user" else "/name")


def test_the_schemas_tell_a_form_what_names_look_like() -> None:
    schema = ConfigurationSpec.model_json_schema()["properties"]
    assert schema["producers"]["items"]["pattern"].startswith("^[a-z0-9]")
    assert schema["users"]["items"]["maxLength"] == 150
    assert UserSpec.model_json_schema()["$defs"]["WorkingTimeSpec"]["properties"]["start"]["type"] == "string"


# Plugins, the registry and the catalog


class ChatParameters(ConsumerParameters):
    """Parameters with secrets in several forms."""

    token: SecretStr
    spare: list[SecretStr] | None = None
    headers: dict[str, SecretStr] | None = None
    chat: str = "team"


class Chat(ConsumerPlugin[ChatParameters]):
    """A chat.

    Second paragraph.
    """

    type = "chat"
    Parameters = ChatParameters


class Push(Producer[WorldParameters]):
    """Takes what comes."""

    type = "push"
    pull = False
    Parameters = WorldParameters


class Nothing(Filter[FilterParameters]):
    """Drops everything."""

    type = "nothing"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        return False


class Clumsy(Filter[FilterParameters]):
    """Cannot be made."""

    type = "clumsy"
    Parameters = FilterParameters

    def __init__(self, parameters: FilterParameters) -> None:
        raise KeyError("oops")


class Inner(BaseModel):
    """A model with a secret in it."""

    password: SecretStr


class HidingParameters(Parameters):
    """A secret where it would not be sealed."""

    login: dict[str, list[Inner] | None] = {}  # noqa: RUF012 - Pydantic copies it


class Hiding(Filter[FilterParameters]):
    """Hides a secret."""

    type = "hiding"
    Parameters = HidingParameters


REGISTRY = Registry((Chat, Push, Nothing, Clumsy))


@pytest.mark.predecessor("S-56")
def test_a_plugin_is_found_by_its_type() -> None:
    assert REGISTRY.get("consumer", "chat") is Chat
    assert REGISTRY.types("filter") == ["clumsy", "nothing"]
    assert set(REGISTRY) == {Chat, Push, Nothing, Clumsy}
    assert Chat.describe() == "A chat."


@pytest.mark.predecessor("S-56")
def test_an_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"/type: there is no filter type 'chat' \(known: clumsy, nothing\)"):
        REGISTRY.get("filter", "chat")
    with pytest.raises(InputError, match=r"\(known: none\)"):
        Registry().get("filter", "nothing")


@pytest.mark.predecessor("S-56")
def test_two_plugins_of_one_type_are_refused() -> None:
    class Other(Nothing):
        """Another of the same type."""

    with pytest.raises(NotifierError, match="two plugins are the filter type 'nothing'"):
        REGISTRY.with_plugins(Other)
    assert set(REGISTRY.with_plugins(Nothing)) == set(REGISTRY)


def test_secrets_are_found_wherever_they_can_be_sealed() -> None:
    assert secret_fields(ChatParameters) == {"token", "spare", "headers"}
    assert nested_secrets(ChatParameters) == frozenset()
    assert nested_secrets(HidingParameters) == {"login"}
    with pytest.raises(NotifierError, match="has secrets inside of login"):
        Registry([Hiding])


class _Announced:
    """Stands in a test module, where entry points look for what installed packages announce."""

    Good = Nothing
    NotAPlugin = dict
    WrongKind = Push
    Hidden = Hiding
    Taken: Any = None


def test_installed_plugins_that_cannot_be_used_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Taken(Nothing):
        """Has the type of another."""

    _Announced.Taken = Taken
    values = [
        "_Announced.Good",
        "_Announced.Taken",
        "_Announced.NotAPlugin",
        "_Announced.WrongKind",
        "_Announced.Hidden",
    ]
    points = [EntryPoint("x", f"{__name__}:{value}", "notifier.filters") for value in values]
    points += [EntryPoint("x", value, "notifier.filters") for value in ("no.such.module:X", f"{__name__}:NoSuchClass")]

    def announced(*, group: str) -> list[EntryPoint]:
        return points if group == "notifier.filters" else []

    monkeypatch.setattr(registry_module, "entry_points", announced)
    with caplog.at_level(logging.ERROR):
        assert set(Registry([Push]).with_installed()) == {Push, Nothing}
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 6
    assert "two plugins are the filter type 'nothing'" in texts[0]
    assert "it is not a class derived from Filter" in texts[1]
    assert "it is not a class derived from Filter" in texts[2]
    assert "has secrets inside of login" in texts[3]
    assert "No module named 'no'" in texts[4]
    assert "NoSuchClass" in texts[5]


@pytest.mark.predecessor("S-58")
def test_parameters_are_checked_and_each_field_named() -> None:
    assert REGISTRY.check("filter", "nothing", {"negate": True}) == FilterParameters(negate=True)
    with pytest.raises(InputError) as caught:
        REGISTRY.check("consumer", "chat", {"partitions": 0, "headers": {"a/b": 5}, "rooms": 1})
    assert [str(error) for error in caught.value.errors] == [
        "/parameters/partitions: must be greater than or equal to 1",
        "/parameters/token: is required",
        "/parameters/headers/a~1b: must be text",
        "/parameters/rooms: is not a field here",
    ]


def test_secrets_are_sealed_where_they_lie_and_opened_where_the_plugin_runs() -> None:
    seal = Seal(generate_key())
    written = {"token": "t0ken", "spare": ["a", "b"], "headers": {"X-Key": "k"}, "chat": "team"}
    closed = {**written, **close_secrets(seal, "consumer", "c", written, secret_fields(ChatParameters))}
    assert closed["chat"] == "team"
    assert is_sealed(closed["token"])
    assert all(map(is_sealed, [*closed["spare"], *closed["headers"].values()]))
    assert open_secrets(seal, "consumer", "c", closed, secret_fields(ChatParameters)) == {
        "token": "t0ken",
        "spare": ["a", "b"],
        "headers": {"X-Key": "k"},
    }
    assert close_secrets(seal, "consumer", "c", closed, secret_fields(ChatParameters))["token"] == closed["token"]
    opened = REGISTRY.build("consumer", "c", "chat", closed, seal)
    assert opened.parameters.token.get_secret_value() == "t0ken"
    assert "t0ken" not in repr(opened.parameters)
    unopened = REGISTRY.build("consumer", "c", "chat", closed, None)
    assert unopened.parameters.token.get_secret_value() == closed["token"]
    with pytest.raises(SecretError, match="changed or moved"):
        REGISTRY.build("consumer", "another", "chat", closed, seal)


def _definition(kind: Kind, name: str, revision: int, spec: dict[str, Any]) -> tuple[Kind, str, Definition]:
    # By way of the wire, as the catalog gets them.
    data = Definition(kind=kind, name=name, revision=revision, spec=spec).encode()
    return kind, name, Definition.decode(data)


def test_a_catalog_holds_what_is_defined() -> None:
    seal = Seal(generate_key())
    catalog = Catalog(registry=REGISTRY, seal=seal).with_changes(
        [
            _definition("user", "alice", 1, {"working_time": OFFICE, "additional_info": {"github": {"username": "o"}}}),
            _definition("script", "s", 2, {"content": "df"}),
            _definition("producer", "ci", 2, {"type": "push"}),
            _definition("filter", "f", 3, {"type": "nothing"}),
            _definition(
                "consumer",
                "chat",
                3,
                {"type": "chat", "parameters": {"token": seal.close("t0ken", "consumer/chat/token")}},
            ),
            _definition("configuration", "b", 4, {"producers": ["ci"], "users": ["alice"]}),
            _definition("configuration", "a", 5, {"producers": ["ci", "other"]}),
            _definition("configuration", "off", 5, {"producers": ["ci"], "enabled": False}),
        ]
    )
    assert catalog.revision == 5
    assert not catalog.problems
    assert catalog.directory.resolve("github", "O") == catalog.users["alice"]
    working_time = catalog.users["alice"].working_time
    assert working_time == WorkingTime(
        start=time(9), end=time(18), days=frozenset({"mon", "fri"}), timezone="Europe/Berlin"
    )
    assert (catalog.script("s").executor, catalog.script("s").content) == ("bash", "df")
    assert isinstance(catalog.producers["ci"], Push)
    assert isinstance(catalog.filters["f"], Nothing)
    assert catalog.consumers["chat"].parameters.token.get_secret_value() == "t0ken"
    assert [c.name for c in catalog.by_producer["ci"]] == ["a", "b"]
    assert [c.version for c in catalog.by_producer["other"]] == [5]
    assert catalog.configurations["b"].users == {"alice"}
    assert "t0ken" not in repr(catalog)
    with pytest.raises(NotifierError, match=r"there is no script 'x' \(known: s\)"):
        catalog.script("x")


def test_a_change_makes_a_new_catalog_that_shares_what_did_not_change() -> None:
    first = Catalog(registry=REGISTRY).with_changes(
        [_definition("filter", "f", 1, {"type": "nothing"}), _definition("filter", "g", 1, {"type": "nothing"})]
    )
    directory = first.directory
    second = first.with_changes(
        [_definition("filter", "f", 2, {"type": "nothing", "parameters": {"negate": True}}), ("filter", "g", None)]
    )
    assert second.filters["f"].parameters.negate
    assert set(second.filters) == {"f"}
    assert not first.filters["f"].parameters.negate
    assert set(first.filters) == {"f", "g"}
    assert second.directory is directory
    third = second.with_changes([_definition("user", "alice", 3, {})])
    assert third.filters["f"] is second.filters["f"]
    assert third.directory.resolve("default", "alice") is third.users["alice"]
    assert directory.resolve("default", "alice") is None


def test_fields_of_a_newer_writer_are_passed_over_at_any_depth() -> None:
    catalog = Catalog(registry=REGISTRY).with_changes(
        [
            _definition("user", "alice", 1, {"working_time": {**OFFICE, "lunch": "12:00"}, "colour": "red"}),
            _definition("filter", "f", 1, {"type": "nothing", "parameters": {"later": 1, "negate": True}, "when": {}}),
            _definition("configuration", "c", 1, {"schedule": {"cron": "@daily", "jitter_s": 5}, "silenced": True}),
        ]
    )
    assert not catalog.problems
    assert catalog.users["alice"].working_time is not None
    assert catalog.filters["f"].parameters.negate
    assert catalog.configurations["c"].spec.schedule is not None


def test_a_definition_that_cannot_be_used_is_a_problem_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    seal = Seal(generate_key())
    elsewhere = Seal(generate_key()).close("t", "consumer/moved/token")
    working = _definition("filter", "changed", 1, {"type": "nothing"})
    catalog = Catalog(registry=REGISTRY, seal=seal).with_changes([working])
    with caplog.at_level(logging.ERROR):
        catalog = catalog.with_changes(
            [
                _definition("user", "alice", 2, {"working_time": {"start": "9", "end": "18:00"}}),
                _definition("filter", "changed", 2, {"type": "gone"}),
                _definition("filter", "clumsy", 2, {"type": "clumsy"}),
                _definition("consumer", "moved", 2, {"type": "chat", "parameters": {"token": elsewhere}}),
                _definition("consumer", "open", 2, {"type": "chat", "parameters": {"token": "in clear"}}),
                _definition("consumer", "bare", 2, {"type": "chat"}),
                _definition("configuration", "fine", 2, {}),
            ]
        )
    assert set(catalog.configurations) == {"fine"}
    assert not catalog.users
    assert not catalog.filters
    assert not catalog.consumers
    assert catalog.problems.keys() == {
        "user/alice",
        "filter/changed",
        "filter/clumsy",
        "consumer/moved",
        "consumer/open",
        "consumer/bare",
    }
    assert catalog.problems["user/alice"].startswith("/working_time/start: must be a time of day")
    assert catalog.problems["filter/changed"].startswith("/type: there is no filter type 'gone'")
    assert catalog.problems["filter/clumsy"] == "/parameters: the plugin failed: KeyError: 'oops'"
    assert "which is not here" in catalog.problems["consumer/moved"]
    assert catalog.problems["consumer/open"] == "the secret of consumer/open/token is not sealed"
    assert catalog.problems["consumer/bare"] == "/parameters/token: is required"
    assert all("\n" not in problem for problem in catalog.problems.values())
    assert "in clear" not in caplog.text
    mended = catalog.with_changes([working, ("filter", "clumsy", None)])
    assert set(mended.filters) == {"changed"}
    assert not {"filter/changed", "filter/clumsy"} & mended.problems.keys()


def test_definition_keys() -> None:
    assert [definition_key(kind, "n") for kind in SPECS] == [f"{kind}/n" for kind in SPECS]


# Who is who


def _user(username: str, **worlds: Any) -> User:
    return User(username=username, additional_info=worlds)


@pytest.mark.predecessor("S-10", "S-11")
@table(
    ("by username in the world", "github", "octocat", "alice"),
    ("whatever the case", "github", "OctoCAT", "alice"),
    ("by id, as text", "telegram", "42", "alice"),
    ("one of several identities", "github", "second", "bob"),
    ("nobody", "github", "alice", None),
    ("a world nobody has", "vk", "alice", None),
    ("by username where there is no default world", "default", "BOB", "bob"),
    ("by the name in the default world", "default", "Chief", "carol"),
    ("not by username where there is a default world", "default", "carol", None),
    ("not the username in another world", "email", "bob", None),
    ("beyond ASCII", "default", "STRASSE", "straße"),
    ("not a value that is no name", "odd", "True", None),
    ("not a list", "odd", "['x']", None),
    ("not nothing", "odd", "", None),
)
def test_a_name_is_resolved_to_a_user(row: tuple[str, str, str | None]) -> None:
    world, name, username = row
    directory = Directory(
        [
            _user("alice", github={"username": "octocat"}, telegram={"username": "al", "id": 42}),
            _user("bob", github=[{"username": "first"}, {"username": "second"}], odd={"username": ["x"], "id": True}),
            _user("carol", default={"username": "chief"}, odd={"username": "", "id": None}),
            _user("straße"),
        ]
    )
    found = directory.resolve(world, name)
    assert (found.username if isinstance(found, User) else found) == username


@pytest.mark.predecessor("S-12")
def test_a_name_that_two_users_have_is_ambiguous() -> None:
    directory = Directory([_user("b", x={"username": "Same"}), _user("a", x={"id": "same"}), _user("Same")])
    assert directory.resolve("x", "SAME") == Ambiguous(("a", "b"))
    assert directory.resolve("default", "same") == directory.users["Same"]
    both = Directory([_user("alice"), _user("bob", default={"username": "Alice"})])
    assert both.resolve("default", "alice") == Ambiguous(("alice", "bob"))


def test_a_user_who_has_a_name_twice_is_one_user() -> None:
    user = _user("alice", x=[{"username": "a"}, {"username": "A", "id": "a"}])
    assert Directory([user]).resolve("x", "a") is user


@pytest.mark.predecessor("S-10", "S-14")
def test_a_consumer_takes_the_first_name_of_its_world() -> None:
    user = _user("alice", x=[{"id": 7}, {"username": "second"}])
    assert user.name_in("x") == "7"
    assert user.name_in("y") is None
    assert user.name_in("default") == "alice"
    assert Chat(ChatParameters(token=SecretStr("t"), world="x")).address(user) == "7"
    assert Push(WorldParameters(world="x")).world_of() == "x"
    assert Push(WorldParameters()).world_of() == "default"


# Working time


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


BERLIN_NIGHT = WorkingTime(start=time(2, 30), end=time(3, 30), timezone="Europe/Berlin")
NIGHT = WorkingTime(start=time(23), end=time(8))
FRIDAY_NIGHT = WorkingTime(start=time(22), end=time(6), days=frozenset({"fri"}), timezone="Europe/Berlin")


@pytest.mark.predecessor("S-18", "S-19", "S-20", "S-21")
@table(
    ("at its start", WorkingTime(start=time(9), end=time(18)), "2026-11-23T09:00:00Z", True),
    ("just before its end", WorkingTime(start=time(9), end=time(18)), "2026-11-23T17:59:59.999999Z", True),
    ("at its end", WorkingTime(start=time(9), end=time(18)), "2026-11-23T18:00:00Z", False),
    (
        "on the clock of the zone",
        WorkingTime(start=time(9), end=time(18), timezone="Asia/Tokyo"),
        "2026-11-23T00:00:00Z",
        True,
    ),
    ("to midnight", WorkingTime(start=time(9), end=time(0)), "2026-11-23T23:59:59Z", True),
    ("not after midnight", WorkingTime(start=time(9), end=time(0)), "2026-11-24T00:00:00Z", False),
    ("all day", WorkingTime(start=time(9), end=time(9), days=frozenset({"mon"})), "2026-11-23T00:00:00Z", True),
    (
        "all day, not the next",
        WorkingTime(start=time(9), end=time(9), days=frozenset({"mon"})),
        "2026-11-24T00:00:00Z",
        False,
    ),
    ("overnight, before its start", NIGHT, "2026-11-23T22:59:59Z", False),
    ("overnight, at its start", NIGHT, "2026-11-23T23:00:00Z", True),
    ("overnight, at midnight", NIGHT, "2026-11-24T00:00:00Z", True),
    ("overnight, just before its end", NIGHT, "2026-11-24T07:59:59Z", True),
    ("overnight, at its end", NIGHT, "2026-11-24T08:00:00Z", False),
    ("Friday evening", FRIDAY_NIGHT, "2026-11-27T22:00:00+01:00", True),
    ("on into Saturday", FRIDAY_NIGHT, "2026-11-28T05:59:00+01:00", True),
    ("not Friday morning", FRIDAY_NIGHT, "2026-11-27T05:59:00+01:00", False),
    ("not Saturday evening", FRIDAY_NIGHT, "2026-11-28T22:00:00+01:00", False),
    ("before the clock goes forward", BERLIN_NIGHT, "2026-03-29T00:59:59Z", False),
    ("in the half that is left of it", BERLIN_NIGHT, "2026-03-29T01:00:00Z", True),
    ("at its end after the clock went forward", BERLIN_NIGHT, "2026-03-29T01:30:00Z", False),
    ("the first half hour before the clock goes back", BERLIN_NIGHT, "2026-10-25T00:30:00Z", True),
    ("2:00 once more", BERLIN_NIGHT, "2026-10-25T01:00:00Z", False),
    ("2:30 once more", BERLIN_NIGHT, "2026-10-25T01:30:00Z", True),
    ("at its end after the clock went back", BERLIN_NIGHT, "2026-10-25T02:30:00Z", False),
)
def test_working_time(row: tuple[WorkingTime, str, bool]) -> None:
    working_time, at, inside = row
    assert working_time.contains(_at(at)) is inside


clocks = st.times().map(lambda value: value.replace(microsecond=0))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"])
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - it is added


@pytest.mark.predecessor("S-19")
@given(clocks, clocks, zones, moments)
def test_the_night_is_what_the_day_leaves(start: time, end: time, zone: str, at: datetime) -> None:
    day = WorkingTime(start=start, end=end, timezone=zone)
    night = WorkingTime(start=end, end=start, timezone=zone)
    if start == end:
        assert day.contains(at)
    else:
        assert day.contains(at) is not night.contains(at)


@pytest.mark.predecessor("S-21")
@given(clocks, clocks, st.frozensets(st.sampled_from(DAYS), min_size=1), zones, moments)
def test_a_window_belongs_to_the_day_it_starts_on(start: time, end: time, days: Any, zone: str, at: datetime) -> None:
    working_time = WorkingTime(start=start, end=end, days=days, timezone=zone)
    local = working_time.local(at).replace(tzinfo=None)
    expected = False
    for days_ago in (0, 1):
        date = local.date() - timedelta(days=days_ago)
        if DAYS[date.weekday()] not in days:
            continue
        if start == end:
            expected |= days_ago == 0
        else:
            first = datetime.combine(date, start)
            last = datetime.combine(date + timedelta(days=start > end), end)
            expected |= first <= local < last
    assert working_time.contains(at) is expected


def test_a_moment_without_zone_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        FRIDAY_NIGHT.contains(AT.replace(tzinfo=None))


@pytest.mark.predecessor("S-2", "S-3", "S-17")
def test_nobody_works_on_leave() -> None:
    assert User(username="a").works_at(AT)
    assert not User(username="a", on_leave=True).works_at(AT)
    assert not User(username="a", working_time=FRIDAY_NIGHT).works_at(AT)


def test_working_time_in_words() -> None:
    assert str(FRIDAY_NIGHT) == "22:00 to 06:00 on fri, Europe/Berlin"
    assert str(WorkingTime(start=time(0), end=time(0))) == "all day every day, UTC"


# Sealing


def test_a_sealed_secret_opens_only_in_its_place() -> None:
    seal = Seal(generate_key())
    sealed = seal.close("pass wörd", "consumer/chat/token")
    assert is_sealed(sealed)
    assert "pass" not in sealed
    assert seal.open(sealed, "consumer/chat/token") == "pass wörd"
    assert seal.close("pass wörd", "consumer/chat/token") != sealed
    with pytest.raises(SecretError, match="the secret of consumer/other/token was changed or moved"):
        seal.open(sealed, "consumer/other/token")


def test_a_sealed_secret_that_was_changed_does_not_open() -> None:
    seal = Seal(generate_key())
    sealed = seal.close("password", "p")
    for position in range(sealed.rindex(":") + 1, len(sealed) - 2):
        other = "A" if sealed[position] != "A" else "B"
        with pytest.raises(SecretError, match="changed or moved"):
            seal.open(sealed[:position] + other + sealed[position + 1 :], "p")
    for shorter in (sealed[:-4], sealed[: sealed.rindex(":") + 5], sealed + "ü"):
        with pytest.raises(SecretError, match="changed or moved"):
            seal.open(shorter, "p")


@pytest.mark.parametrize("text", ["", "password", "sealed:", "sealed:12345678:", "open:12345678:abcd"])
def test_what_is_not_sealed_does_not_open(text: str) -> None:
    with pytest.raises(SecretError, match="is not sealed"):
        Seal(generate_key()).open(text, "p")


def test_keys_can_be_rotated() -> None:
    old_key, new_key = generate_key(), generate_key()
    old = Seal(old_key)
    sealed = old.close("password", "p")
    rotated = Seal(new_key, old_key)
    assert rotated.open(sealed, "p") == "password"
    assert not rotated.is_current(sealed)
    again = rotated.close("password", "p")
    assert rotated.is_current(again)
    assert Seal(new_key).open(again, "p") == "password"
    with pytest.raises(
        SecretError, match=f"sealed with the key {old.key_id}, which is not here: set NOTIFIER_SECRET_KEY"
    ):
        Seal(new_key).open(sealed, "p")
    assert Seal(new_key, new_key).is_current(again)


def test_a_seal_shows_the_key_id_only() -> None:
    key = generate_key()
    seal = Seal(key)
    assert repr(seal) == f"Seal(key_id='{seal.key_id}')"
    assert key not in repr(seal)
    assert Seal(key.rstrip("=")).key_id == seal.key_id


@pytest.mark.parametrize("key", ["", "short", "ü" * 43, "A" * 43 + "=AAAA", "A" * 42 + "\n\nA"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY must be 32 bytes"):
        Seal(key)
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY_OLD must be 32 bytes") as caught:
        Seal(generate_key(), key or "x")
    assert not key or key not in str(caught.value)


# Settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No setting from outside, and an empty folder to stand in."""
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_the_key_is_made_once_where_everything_is_embedded(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "var")
    first = load_seal(settings)
    assert load_seal(settings).key_id == first.key_id
    assert stat.S_IMODE(key_file(settings).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secret.key"]
    # It then does with a server's database too.
    served = load_settings(data_dir=tmp_path / "var", kafka="kafka:9092", database_url="postgresql+asyncpg://db/n")
    assert load_seal(served).key_id == first.key_id
    given_ = load_settings(data_dir=tmp_path / "var", secret_key=generate_key())
    assert load_seal(given_).key_id != first.key_id


@pytest.mark.parametrize("overrides", [{"kafka": "kafka:9092"}, {"database_url": "postgresql+asyncpg://db/n"}])
def test_no_key_is_made_where_others_would_need_it_too(
    overrides: dict[str, Any], environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SecretError, match="NOTIFIER_SECRET_KEY must be set"):
        load_seal(load_settings(data_dir=tmp_path, **overrides))
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_made_beside_a_database_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_seal(load_settings(data_dir=tmp_path, database_url="sqlite:///n.sqlite3"))


@pytest.mark.parametrize("content", [b"", b"half a k", b"\xff\xfe"])
def test_a_broken_key_file_is_named(content: bytes, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    key_file(settings).write_bytes(content)
    with pytest.raises(SecretError, match=r"secret\.key"):
        load_seal(settings)
    assert key_file(settings).read_bytes() == content


def test_without_any_variable_everything_is_embedded(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.embedded_broker
    assert settings.embedded_database
    assert not settings.server_database
    assert settings.data_dir == Path("var")
    assert settings.retry_schedule_s == (5, 30, 300, 1800, 7200, 18000, 36000)


@table(
    ("a port", "NOTIFIER_HTTP_PORT", "9000", "http_port", 9000),
    ("an empty variable", "NOTIFIER_HTTP_PORT", "", "http_port", 8000),
    ("lower case", "notifier_http_port", "9000", "http_port", 9000),
    ("a list of seconds", "NOTIFIER_RETRY_SCHEDULE_S", "1, 2.5,30", "retry_schedule_s", (1.0, 2.5, 30.0)),
    ("one number of seconds", "NOTIFIER_RETRY_SCHEDULE_S", "7", "retry_schedule_s", (7.0,)),
    ("a base URL with a slash", "NOTIFIER_TELEGRAM_API", "http://127.0.0.1:81/", "telegram_api", "http://127.0.0.1:81"),
    ("several servers", "NOTIFIER_KAFKA", "a:9092,[::1]:9093,c", "kafka", "a:9092,[::1]:9093,c"),
    ("no prefix", "NOTIFIER_TOPIC_PREFIX", "x-", "topic_prefix", "x-"),
)
def test_a_variable_sets(row: tuple[str, str, str, object], environment: pytest.MonkeyPatch) -> None:
    name, value, field, expected = row
    environment.setenv(name, value)
    assert getattr(load_settings(), field) == expected


@table(
    ("not a number", "NOTIFIER_HTTP_PORT", "eighty", "NOTIFIER_HTTP_PORT must be a whole number"),
    ("no such port", "NOTIFIER_KAFKA_PORT", "70000", "NOTIFIER_KAFKA_PORT must be less than or equal to 65535"),
    (
        "not seconds",
        "NOTIFIER_RETRY_SCHEDULE_S",
        "5;30",
        "NOTIFIER_RETRY_SCHEDULE_S must be seconds, separated by commas",
    ),
    ("negative seconds", "NOTIFIER_RETRY_SCHEDULE_S", "5,-1", "NOTIFIER_RETRY_SCHEDULE_S needs at least one number of"),
    (
        "no seconds at all",
        "NOTIFIER_RETRY_SCHEDULE_S",
        "nan,inf",
        "NOTIFIER_RETRY_SCHEDULE_S needs at least one number of",
    ),
    ("without end", "NOTIFIER_LANE_WAIT_S", "inf", "NOTIFIER_LANE_WAIT_S must be less than or equal to 2592000"),
    ("nothing to compare", "NOTIFIER_LANE_WAIT_S", "nan", "NOTIFIER_LANE_WAIT_S must be "),
    ("not a URL", "NOTIFIER_VK_API", "api.vk.com", "NOTIFIER_VK_API must begin with http:// or https://"),
    (
        "not a server",
        "NOTIFIER_KAFKA",
        "kafka:port",
        "NOTIFIER_KAFKA must be host:port, or several with commas between",
    ),
    ("a URL for a server", "NOTIFIER_KAFKA", "kafka://a:9092", "NOTIFIER_KAFKA must be host:port"),
    ("a server missing", "NOTIFIER_KAFKA", "a:9092,", "NOTIFIER_KAFKA must be host:port"),
    ("not a prefix", "NOTIFIER_TOPIC_PREFIX", "a b", "NOTIFIER_TOPIC_PREFIX must match pattern"),
    ("not a choice", "NOTIFIER_SCRIPT_SANDBOX", "maybe", "NOTIFIER_SCRIPT_SANDBOX must be 'require' or 'off'"),
)
def test_a_bad_value_names_its_variable_in_one_line(row: tuple[str, str, str], environment: pytest.MonkeyPatch) -> None:
    name, value, text = row
    environment.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_bad_value_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NOTIFIER_HTTP_PORT", "x")
    environment.setenv("NOTIFIER_LOG_LEVEL", "LOUD")
    with pytest.raises(SettingsError, match=r"^NOTIFIER_HTTP_PORT must .*; NOTIFIER_LOG_LEVEL must .*$"):
        load_settings()


def test_a_file_sets_what_the_environment_does_not(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path(".env").write_text("NOTIFIER_HTTP_PORT=8001\nNOTIFIER_KAFKA_PORT=19001\nOTHER=1\nNOTIFIER_TYPO=1\n")
    environment.setenv("NOTIFIER_HTTP_PORT", "8002")
    settings = load_settings(http_host="::1")
    assert (settings.http_host, settings.http_port, settings.kafka_port) == ("::1", 8002, 19001)
    assert load_settings(http_port=8003).http_port == 8003
    assert load_settings(env_file=None).kafka_port == 19092
    assert [text.partition(" ")[0] for text in unknown_variables()] == ["NOTIFIER_TYPO"]
    Path(".env").write_bytes(b"NOTIFIER_HTTP_PORT=\xff")
    with pytest.raises(SettingsError, match=r"the file \.env cannot be read"):
        load_settings()


def test_an_unknown_variable_is_reported_with_the_nearest_known(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NOTIFIER_KAFAK_PORT", "1")
    environment.setenv("NOTIFIER_HTTP_PORT", "1")
    assert unknown_variables() == [
        "NOTIFIER_KAFAK_PORT is not a setting of Notifier; did you mean NOTIFIER_KAFKA_PORT?"
    ]


def test_settings_show_no_secret(environment: pytest.MonkeyPatch) -> None:
    secrets = {
        "NOTIFIER_SECRET_KEY": generate_key(),
        "NOTIFIER_KAFKA_PASSWORD": "kafka-pass",
        "NOTIFIER_ADMIN_PASSWORD": "admin-pass",
        "NOTIFIER_DATABASE_URL": "postgresql+asyncpg://notifier:db-pass@db/notifier",
    }
    for name, value in secrets.items():
        environment.setenv(name, value)
    shown = repr(load_settings()) + str(load_settings())
    assert not [secret for secret in [*secrets.values(), "db-pass"] if secret in shown]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert variable("http_port") == "NOTIFIER_HTTP_PORT"


def test_a_plugin_masks_every_secret_of_its_parameters_the_longest_first() -> None:
    class Keys(ConsumerParameters):
        token: SecretStr
        urls: list[SecretStr]

    class Sender(ConsumerPlugin[Keys]):
        type = "sender"
        Parameters = Keys

    sender = Sender(Keys(token=SecretStr("abc"), urls=[SecretStr("https://abcdef"), SecretStr("")]))
    assert sender.mask("GET https://abcdef failed; abc is no good") == "GET *** failed; *** is no good"
