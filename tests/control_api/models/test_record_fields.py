"""The fields of a record are declared once: what its struct has arrives in table, JSON and GraphQL, each by its type."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import graphene  # type: ignore[import-untyped]  # graphene has no types
import msgspec
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from control_api.graphql.definition_types import object_type
from control_api.graphql.record_types import record_type
from control_api.models.history import ATTEMPT, DEAD_LETTER, RUN
from control_api.models.record_fields import Differs, FieldType, RecordFields
from notifier.database import Database
from notifier.record import JsonObject, Record, Time

pytest_plugins = ["tests.rigs.databases"]

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A place on the way."""

    place: str
    at: Time | None = None
    note: str | None = None


class Parcel(Record, frozen=True, kw_only=True):
    """A made-up record with a field of every type."""

    id: str
    state: Literal["sent", "lost"]
    sent_at: Time
    weight: int
    last: Stop | None = None
    stops: tuple[Stop, ...] = ()
    clerk: str | None = None
    secret: str | None = None


class LabelledParcel(Parcel, frozen=True, kw_only=True):
    """The same record with fields more."""

    label: Annotated[str | None, msgspec.Meta(description="What is on it.")] = None
    fragile: bool = False


EXCEPTIONS: Mapping[str, Differs] = {
    "id": Differs(column="parcel"),
    "weight": Differs(holds=FieldType.BIG_INTEGER, after="id", after_in_graphql="sent_at", description="In grams."),
    "stops": Differs(items={"note": Differs(stored=False)}),
    "clerk": Differs(answered=False),
    "secret": Differs(stored=False),
    "late": Differs(added=bool, after="sent_at"),
}
PARCEL: JsonObject = {
    "id": "a\0b",
    "state": "sent",
    "sent_at": AT,
    "weight": 5_000_000_000,
    "last": Stop(place="here"),
    "stops": (Stop(place="there\0", at=AT, note="x"), Stop(place="here")),
    "clerk": "ada",
    "secret": "s",
}
ANSWER: JsonObject = {
    "id": "a\N{SYMBOL FOR NULL}b",
    "weight": 5_000_000_000,
    "state": "sent",
    "sent_at": "2026-11-23T09:00:00Z",
    "late": None,
    "last": {"place": "here", "at": None, "note": None},
    "stops": [
        {"place": "there\N{SYMBOL FOR NULL}", "at": "2026-11-23T09:00:00Z"},
        {"place": "here", "at": None},
    ],
}
QUERY = "id state sentAt late weight last stops { place at }"


async def _through_the_database(store: Database, record: Record) -> tuple[RecordFields, list[str], JsonObject]:
    """The fields of the record's class, the names of its columns, and the answer that its row makes."""
    fields = RecordFields(type(record), EXCEPTIONS)
    table = Table("parcels", MetaData(), Column("key", Integer, primary_key=True), *fields.columns())
    async with store.connection() as connection:
        await connection.run_sync(table.metadata.create_all)
    async with store.write() as session:
        await session.execute(insert(table), [fields.row(record)])
    async with store.read() as session:
        row = (await session.execute(select(table))).one()
    return fields, [column.name for column in table.columns], fields.answer(row)


def _by_graphql(fields: RecordFields, answer: JsonObject, selection: str) -> JsonObject:
    parcel = record_type(fields, "A parcel.")
    schema = graphene.Schema(query=object_type("Query", "What can be read.", {"parcel": graphene.Field(parcel)}))
    result = schema.execute(f"{{ parcel {{ {selection} }} }}", root_value={"parcel": answer})
    assert result.errors is None
    found: JsonObject = result.data["parcel"]
    return found


async def test_a_record_comes_back_as_its_exceptions_say(store: Database) -> None:
    fields, columns, answer = await _through_the_database(store, Parcel(**PARCEL))
    assert columns == ["key", "parcel", "weight", "state", "sent_at", "last", "stops", "clerk"]
    assert answer == ANSWER
    assert list(answer) == list(ANSWER)
    shown = _by_graphql(fields, answer, QUERY)
    assert shown == {
        "id": answer["id"], "state": "sent", "sentAt": answer["sent_at"], "late": None, "weight": 5_000_000_000,
        "last": answer["last"], "stops": answer["stops"],
    }  # fmt: skip


async def test_one_field_more_arrives_everywhere_without_another_edit(store: Database) -> None:
    parcel = LabelledParcel(**PARCEL, label="To Ada", fragile=True)
    fields, columns, answer = await _through_the_database(store, parcel)
    assert columns[-2:] == ["label", "fragile"]
    assert answer == {**ANSWER, "label": "To Ada", "fragile": True}
    shown = _by_graphql(fields, answer, f"{QUERY} label fragile")
    assert (shown["label"], shown["fragile"]) == ("To Ada", True)
    assert {field.name: field.description for field in fields.in_graphql}["label"] == "What is on it."


async def test_what_may_be_none_is_null_everywhere(store: Database) -> None:
    lone = LabelledParcel(id="a", state="lost", sent_at=AT, weight=1)
    fields, _, answer = await _through_the_database(store, lone)
    assert (answer["last"], answer["stops"], answer["label"], answer["fragile"]) == (None, [], None, False)
    shown = _by_graphql(fields, answer, f"{QUERY} label")
    assert (shown["last"], shown["stops"], shown["label"]) == (None, [], None)
    nullable = {column.name: column.nullable for column in fields.columns()}
    assert [name for name, may in nullable.items() if may] == ["last", "clerk", "label"]


def test_an_exception_to_a_field_that_is_not_there_is_found() -> None:
    with pytest.raises(ValueError, match="Parcel has no field 'wieght'"):
        RecordFields(Parcel, {"wieght": Differs(column="grams")})


def test_a_field_that_no_column_fits_is_found() -> None:
    for annotation in (bytes, int | str, tuple[str, ...], dict[str, str]):
        struct = msgspec.defstruct("Made", [("odd", annotation)])
        with pytest.raises(TypeError, match="no column type fits the field 'odd'"):
            RecordFields(struct)


@pytest.mark.parametrize(
    ("fields", "answered", "in_graphql"),
    [
        pytest.param(
            ATTEMPT,
            "delivery number producer message configuration configuration_version consumer recipient outcome reason detail"
            " origin started_at ended_at not_before fallback_of",
            "delivery producer message configuration consumer recipient number configuration_version outcome reason detail"
            " started_at ended_at not_before origin fallback_of",
            id="attempt",
        ),
        pytest.param(
            DEAD_LETTER,
            "id stage reason error topic partition offset timestamp key value value_base64 value_omitted delivery attempts"
            " at redriven_at",
            "id stage reason error topic timestamp key value value_base64 partition offset value_omitted delivery attempts"
            " at redriven_at",
            id="dead letter",
        ),
        pytest.param(
            RUN,
            "configuration scheduled_at trigger state error started_at ended_at producers",
            "configuration scheduled_at trigger state error started_at ended_at producers",
            id="run",
        ),
    ],
)
def test_answers_keep_their_fields_and_their_order(fields: RecordFields, answered: str, in_graphql: str) -> None:
    assert [field.name for field in fields.answered] == answered.split()
    assert [field.name for field in fields.in_graphql] == in_graphql.split()


def test_a_producers_part_of_a_run_keeps_its_fields() -> None:
    (producers,) = (field for field in RUN.fields if field.name == "producers")
    assert producers.items is not None
    used = ["notice", "elapsed_s", "cpu_s", "memory_mb"]
    assert [field.name for field in producers.items.answered] == ["producer", "state", "messages", "error", *used]
    assert [field.name for field in producers.items.in_graphql] == ["producer", "state", "error", "messages", *used]


def _types(fields: RecordFields) -> dict[str, Any]:
    return {column.name: str(column.type) for column in fields.columns()}


def test_columns_have_the_type_of_their_field() -> None:
    assert _types(RecordFields(LabelledParcel, EXCEPTIONS)) == {
        "parcel": "TEXT", "weight": "BIGINT", "state": "VARCHAR(20)", "sent_at": "DATETIME", "last": "JSON", "stops": "JSON",
        "clerk": "TEXT", "label": "TEXT", "fragile": "BOOLEAN",
    }  # fmt: skip
