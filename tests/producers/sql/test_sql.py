"""The SQL producer against real databases: the same questions to PostgreSQL, MariaDB and SQLite."""

import socket

import pytest

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError, InputError
from notifier.message import check_message_object
from tests.rigs.asked import PASSWORD, WRITTEN, Asked, OnPostgreSQL

pytest_plugins = ["tests.rigs.databases", "tests.rigs.mariadb", "tests.rigs.databases_of_others"]

ALL = "SELECT id, owner, text, at, amount FROM orders ORDER BY id"
COLUMNS = {"receiver": "owner", "content": "text", "id": "id", "occurred_at": "at"}


async def test_each_row_is_a_message(asked: Asked) -> None:
    told = await asked.told(
        ALL + ";\n", columns=COLUMNS, labels={"amount": "amount"}, texts={"title": "{{{id}}}: {owner}"}
    )
    assert told == [
        {
            "id": "1",
            "receiver": "alice",
            "title": "{1}: alice",
            "content": "late by 2 days",
            "occurred_at": "2026-11-23T09:00:00Z",
            "labels": {"amount": "12.5" if asked.kind == "sqlite" else "12.50"},
        },
        {"id": "2", "title": "{2}:", "content": "late: 100%", "occurred_at": "2026-11-23T10:00:00Z"},
        {
            "id": "3",
            "receiver": "bob",
            "title": "{3}: bob",
            "content": "it's {late}",
            "occurred_at": "2026-11-23T10:00:00Z",
            "labels": {"amount": "3" if asked.kind == "sqlite" else "3.00"},
        },
    ]
    for message in told:
        check_message_object({"producer": "orders", **message})
    assert asked.notices == []


async def test_without_columns_the_row_is_the_content_and_columns_named_as_fields_are_those(asked: Asked) -> None:
    (one,) = await asked.told("SELECT id AS number, owner AS receiver, 'warn' AS severity FROM orders WHERE id = 3")
    assert one["content"] == "number: 3\nreceiver: bob\nseverity: warn"
    assert (one["receiver"], one["severity"]) == ("bob", "warning")


async def test_no_more_than_the_limit_are_told_and_that_is_said(asked: Asked) -> None:
    told = await asked.told(ALL, columns=COLUMNS, limit=2)
    assert [message["id"] for message in told] == ["1", "2"]
    assert asked.notices == [
        "cut: there are more rows than the limit of 2; the first 2 are told, and the others are not told"
    ]
    asked.notices.clear()
    assert len(await asked.told(ALL, columns=COLUMNS, limit=3)) == 3
    assert asked.notices == []


@pytest.mark.parametrize("column", ["id", "at", "amount", "text"])
async def test_with_a_cursor_each_row_is_told_once(asked: Asked, column: str) -> None:
    query = "SELECT id, owner, text, at, amount FROM orders -- the newest"

    async def ids() -> list[str]:
        return [message["id"] for message in await asked.told(query, columns=COLUMNS, cursor_column=column, limit=2)]

    first = [*await ids(), *await ids()]
    assert sorted(first) == (["1", "3"] if column == "amount" else ["1", "2", "3"])
    assert await ids() == []
    # Of the same value as the last one, and so behind it.
    asked.tell("INSERT INTO orders SELECT 9, owner, text, at, amount FROM orders WHERE id = " + first[-1])
    assert await ids() == ["9"]
    assert await ids() == []


async def test_a_cursor_with_a_percent_sign_in_the_query(asked: Asked) -> None:
    query = "SELECT id, text AS content FROM orders WHERE text LIKE '%100%'"
    assert [one["id"] for one in await asked.told(query, cursor_column="id")] == ["2"]
    assert await asked.told(query, cursor_column="id") == []


async def test_a_run_that_fails_keeps_nothing(asked: Asked) -> None:
    with pytest.raises(InputError, match="/parameters/columns/receiver: there is no column 'boss'; there are id, text"):
        await asked.told("SELECT id, text FROM orders", cursor_column="id", columns={"receiver": "boss"})
    assert asked.cursor is None


FAULTS = [
    pytest.param("SELECT * FROM nowhere", Permanent, "not_found", "nowhere", id="no such table"),
    pytest.param("SELECT wrong FROM orders", Permanent, "invalid_content", "wrong", id="no such column"),
    pytest.param("SELECT FROM WHERE", Permanent, "invalid_content", "refuses", id="no SQL"),
    pytest.param("SELECT 1; DELETE FROM orders", Permanent, "invalid_content", "refuses", id="two statements"),
    pytest.param(
        "SELECT 1; COMMIT; DELETE FROM orders", Permanent, "invalid_content", "refuses", id="the end of the transaction"
    ),
]


@pytest.mark.parametrize(("query", "kind", "reason", "text"), FAULTS)
async def test_what_the_database_refuses(
    asked: Asked, query: str, kind: type[DeliveryError], reason: str, text: str
) -> None:
    if asked.kind == "sqlite" and "nowhere" in query:
        reason = "invalid_content"  # it has one code for both
    with pytest.raises(kind, match=text) as refused:
        await asked.told(query)
    assert refused.value.reason == reason
    assert PASSWORD not in asked.producer(query).mask(str(refused.value))
    assert len(await asked.told(ALL)) == 3


async def test_a_query_that_takes_too_long_is_ended_by_the_database(asked: Asked) -> None:
    query = {
        "postgresql": "SELECT pg_sleep(400)",
        "mariadb": "SELECT SLEEP(400)",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    }[asked.kind]
    with pytest.raises(Retryable, match="longer than 1 s") as slow:
        await asked.told(query, timeout_s=1)
    assert slow.value.reason == "timeout"


async def test_a_check_asks_for_a_row_and_keeps_nothing(asked: Asked) -> None:
    await asked.producer(ALL, cursor_column="id").check(asked.context())
    with pytest.raises((InputError, Permanent), match="owners"):
        await asked.producer(ALL, columns={"content": "text"}, cursor_column="owners").check(asked.context())
    assert asked.cursor is None


async def test_what_the_transaction_and_the_rights_do_not_allow(asked: Asked) -> None:
    writing = {
        "postgresql": "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "mariadb": "SELECT nextval(counter)",
        "sqlite": "WITH gone AS (SELECT 1) DELETE FROM orders",
    }[asked.kind]
    if asked.kind == "mariadb":
        asked.tell("CREATE SEQUENCE counter")
    with pytest.raises(Permanent, match="only reads") as refused:
        await asked.told(writing)
    assert refused.value.reason == "forbidden"
    assert len(await asked.told(ALL)) == 3
    if asked.kind != "sqlite":
        with pytest.raises(Permanent, match="the right to read") as refused:
            await asked.told("SELECT * FROM vault.hidden")
        assert refused.value.reason == "forbidden"


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_wrong_password_and_a_server_that_is_not_there(request: pytest.FixtureRequest, kind: str) -> None:
    found: Asked = request.getfixturevalue(kind)
    right, found.url = found.url, found.url.replace(WRITTEN, "wrong%2Fp%40ss")
    with pytest.raises(Permanent, match="the right user and password") as refused:
        await found.told(ALL)
    assert refused.value.reason == "unauthorized"
    assert "wrong/p@ss" not in str(refused.value)
    found.url = right.replace("/shop", "/nowhere")
    with pytest.raises(Permanent) as refused:
        await found.told(ALL)
    assert refused.value.reason in ("not_found", "forbidden")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found.url = f"{kind}://asker:x@127.0.0.1:{silent.getsockname()[1]}/shop"
    with pytest.raises(Retryable) as away:
        await found.told(ALL)
    assert away.value.reason == "connection"


async def test_a_server_without_tls_where_it_has_to_be(postgresql: OnPostgreSQL) -> None:
    found = postgresql
    for tls in ("require", "verify"):
        with pytest.raises(Retryable, match="TLS") as refused:
            await found.told(ALL, tls=tls)
        assert refused.value.reason == "connection"
    assert len(await found.told(ALL, tls="off")) == 3


async def test_values_of_every_kind_are_texts_and_cost_no_other_row(asked: Asked) -> None:
    query = {
        "postgresql": """
            SELECT 1 AS id, timestamp 'infinity' AS at, date '0044-03-15 BC' AS day, interval '900000 years' AS span,
                '{"a": [1]}'::jsonb AS json, ARRAY['x', NULL] AS list, decode('ff00', 'hex') AS bytes, 'NaN'::numeric AS number
            UNION ALL SELECT 2, '2026-11-29 10:00', '2026-11-29', '1 day', NULL, NULL, 'text'::bytea, 1.50
            ORDER BY id""",
        "mariadb": """
            SELECT 1 AS id, CAST('0000-00-00' AS DATETIME) AS at, TIME '800:00:00' AS span, '{"a": [1]}' AS json,
                X'FF00' AS bytes, 1e300 AS number
            UNION ALL SELECT 2, TIMESTAMP '2026-11-29 10:00:00', NULL, NULL, 'text', 1.5""",
        "sqlite": """
            SELECT 1 AS id, 'x' AS at, '{"a": [1]}' AS json, X'FF00' AS bytes, CAST(X'66FF' AS TEXT) AS broken, 9e999 AS number
            UNION ALL SELECT 2, '2026-11-29T10:00:00Z', NULL, X'74657874', NULL, 1.5""",
    }[asked.kind]
    one, two = await asked.told(query, columns={"id": "id", "occurred_at": "at"}, labels={"number": "number"})
    assert [one["id"], two["id"]] == ["1", "2"]
    assert "occurred_at" not in one
    assert two["occurred_at"] == "2026-11-29T10:00:00Z"
    assert "0xff00" in one["content"]
    assert "text" in two["content"]
    for message in (one, two):
        check_message_object({"producer": "orders", **message})
