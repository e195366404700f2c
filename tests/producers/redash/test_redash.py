"""The Redash producer against a stub of its API: running a query, waiting, rows, cursors and failures."""

import gzip
import json
import tracemalloc
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from pydantic import ValidationError

from notifier import Permanent, Retryable
from notifier.errors import DeliveryError, InputError
from notifier.message import check_message_object
from notifier.network import Network
from producers.redash import RedashParameters, api
from producers.redash.result import read_result
from tests.rigs.github_stub import Handler, answering, cut_off, hang_up, stay_silent
from tests.rigs.redash_stub import JOB, KEY, QUERY, RESULT, RedashStub

ROWS = [
    {"id": 1, "owner": "alice", "text": "late by 2 days", "at": "2026-11-23T09:00:00"},
    {"id": 2, "owner": None, "text": "late: 100%", "at": None},
    {"id": 3, "owner": "bob", "text": {"odd": [1]}, "at": "yesterday"},
]
COLUMNS = {"receiver": "owner", "content": "text", "id": "id", "occurred_at": "at"}
PATH = f"/api/queries/{QUERY}"


async def test_a_query_is_run_waited_for_and_each_row_is_a_message(redash: RedashStub) -> None:
    redash.rows, redash.waits = ROWS, 3
    told = await redash.told(columns=COLUMNS, query_parameters={"team": "infra"})
    assert told == [
        {"id": "1", "receiver": "alice", "content": "late by 2 days", "occurred_at": "2026-11-23T09:00:00Z"},
        {"id": "2", "content": "late: 100%"},
        {"id": "3", "receiver": "bob", "content": '{"odd":[1]}'},
    ]
    for message in told:
        check_message_object({"producer": "orders", **message})
    assert redash.asked == [
        f"POST {PATH}/results",
        *[f"GET /api/jobs/{JOB}"] * 3,
        f"GET {PATH}/results/{RESULT}.json",
    ]
    assert redash.bodies == [{"max_age": 0, "parameters": {"team": "infra"}}]
    assert redash.keys == {f"Key {KEY}"}
    assert redash.notices == ["row 3: occurred_at: 'yesterday' is no time with a zone; it is left out"]


async def test_a_recent_result_is_taken_and_the_last_one_without_running(redash: RedashStub) -> None:
    redash.rows, redash.cached = ROWS, True
    assert len(await redash.told(max_age_s=60)) == 3
    assert redash.bodies == [{"max_age": 60, "parameters": {}}]
    assert len(await redash.told(refresh="never")) == 3
    assert redash.asked == [f"POST {PATH}/results", f"GET {PATH}/results.json"]


async def test_with_a_cursor_each_row_is_told_once_in_its_order(redash: RedashStub) -> None:
    redash.rows, redash.cached = [ROWS[2], ROWS[0], {"id": None}, "odd", ROWS[1]], True

    async def ids() -> list[str]:
        return [message["id"] for message in await redash.told(columns=COLUMNS, cursor_column="id", limit=2)]

    assert [await ids(), await ids(), await ids()] == [["1", "2"], ["3"], []]
    redash.rows.append({"id": 3, "text": "another text", "owner": "other"})
    assert await ids() == []  # it is the same thing by its id
    redash.rows.append({"id": 10, "text": "new"})
    assert await ids() == ["10"]
    assert redash.notices[0].startswith(
        "cut: there are more rows than the limit of 2; the first 2 are told, and the next run"
    )


async def test_the_column_of_the_cursor_is_found_in_any_case(redash: RedashStub) -> None:
    redash.rows, redash.cached = [ROWS[2], ROWS[0], ROWS[1]], True
    told = [await redash.told(columns=COLUMNS, cursor_column="ID") for _ in range(2)]
    assert [[message["id"] for message in messages] for messages in told] == [["1", "2", "3"], []]


def test_many_rows_of_many_columns_are_not_spread_before_they_are_told() -> None:
    columns = [{"name": f"c{number}"} for number in range(5000)]
    found = {"data": {"columns": columns, "rows": [{}] * 1_000_000}}
    tracemalloc.start()
    try:
        result = read_result(found)
        assert len(next(result.all())) == len(result.columns) == 1000
        assert tracemalloc.get_traced_memory()[1] < 50_000_000  # spread they would be 8 GB
    finally:
        tracemalloc.stop()


async def test_odd_rows_cost_no_other(redash: RedashStub) -> None:
    redash.cached = True
    redash.rows = [
        None,
        [],
        {"content": "one"},
        {"content": None, "other": "x"},
        {"receiver": ["a", None, "b"]},
    ]
    told = await redash.told()
    assert [message["content"] for message in told] == [
        "(an empty row)",
        "(an empty row)",
        "one",
        "other: x",
        'receiver: ["a",null,"b"]',
        'receiver: ["a",null,"b"]',
    ]
    assert [message.get("receiver") for message in told][-2:] == ["a", "b"]
    assert len({message["id"] for message in told}) == 6


async def test_a_column_that_is_not_there_is_named(redash: RedashStub) -> None:
    redash.rows, redash.cached = ROWS, True
    with pytest.raises(
        InputError, match="/parameters/columns/receiver: there is no column 'boss'; there are id, owner"
    ):
        await redash.told(columns={"receiver": "boss"})


async def test_the_check_runs_nothing(redash: RedashStub) -> None:
    await redash.producer().check(redash.context())
    assert redash.asked == [f"GET {PATH}"]
    with pytest.raises(Permanent) as refused:
        await redash.producer(query_id=43).check(redash.context())
    assert refused.value.reason == "not_found"


LARGE = json.dumps({"query_result": {"data": {"rows": [{"a": "x" * 1000}] * 10_000, "columns": [{"name": "a"}]}}})
FAILURES = [
    pytest.param(answering(401, '{"message": "Bad key"}'), Permanent, "unauthorized", "401: Bad key", id="401"),
    pytest.param(answering(403, "{}"), Permanent, "forbidden", "403", id="403"),
    pytest.param(answering(404, '{"message": "Not found"}'), Permanent, "not_found", "404", id="404"),
    pytest.param(answering(400, '{"message": "Missing parameter"}'), Permanent, "invalid_content", "Missing", id="400"),
    pytest.param(answering(429, "", Retry_After="30"), Retryable, "rate_limited", "429", id="429"),
    pytest.param(
        answering(302, "", Location="http://127.0.0.1:1/"), Permanent, "invalid_content", "not followed", id="302"
    ),
    pytest.param(answering(500, "<html>"), Retryable, "server_error", "500", id="500"),
    pytest.param(answering(503, '{"message": ["x"]}'), Retryable, "server_error", "503", id="503"),
    pytest.param(
        answering(401, json.dumps({"message": f"key {KEY}\nx"})), Permanent, "unauthorized", r"\*\*\*", id="key"
    ),
    pytest.param(answering(200, "[]"), Retryable, "server_error", "no JSON object", id="a list"),
    pytest.param(
        answering(200, '{"query_result": {"da'), Retryable, "server_error", "no JSON object", id="JSON cut off"
    ),
    pytest.param(answering(200, "[" * 100_000), Retryable, "server_error", "no JSON object", id="deep nesting"),
    pytest.param(answering(200, "{}"), Retryable, "server_error", "neither", id="an empty object"),
    pytest.param(
        answering(200, '{"query_result": {"data": null}}'), Retryable, "server_error", "no result", id="no data"
    ),
    pytest.param(
        answering(200, '{"job": {"id": "../users"}}'), Retryable, "server_error", "neither", id="a job of a path"
    ),
    pytest.param(
        answering(200, '{"job": {"id": "a", "status": 4, "error": "no table"}}'),
        Permanent,
        "invalid_content",
        "no table",
        id="the query fails",
    ),
    pytest.param(
        answering(200, '{"job": {"id": "a", "status": 5}}'), Permanent, "invalid_content", "cancelled", id="cancelled"
    ),
    pytest.param(
        answering(200, '{"job": {"id": "a", "status": 3}}'),
        Retryable,
        "server_error",
        "no result",
        id="no result of a job",
    ),
    pytest.param(
        answering(200, '{"job": {"id": "a", "status": 2}}'), Retryable, "timeout", "within 1 s", id="a job without end"
    ),
    pytest.param(
        answering(200, gzip.compress(b" " * 40_000_000, 1), Content_Encoding="gzip"),
        Permanent,
        "invalid_content",
        "more than",
        id="a bomb",
    ),
    pytest.param(cut_off, Retryable, "server_error", "cut off", id="cut off on the way"),
    pytest.param(hang_up, Retryable, "server_error", "cut off", id="hung up"),
]


@pytest.mark.parametrize(("answer", "kind", "reason", "text"), FAILURES)
async def test_each_failure_says_what_it_is_without_the_key(
    redash: RedashStub, answer: Handler, kind: type[DeliveryError], reason: str, text: str
) -> None:
    redash.answer = answer
    with pytest.raises(kind, match=text) as failed:
        await redash.told(timeout_s=1)
    assert failed.value.reason == reason
    assert KEY not in str(failed.value)
    assert "\n" not in str(failed.value)


async def test_a_body_of_ten_megabytes_is_read_and_cut(redash: RedashStub) -> None:
    redash.answer = answering(200, LARGE)
    assert len(await redash.told(limit=50)) == 50
    assert redash.notices == [
        "cut: there are more rows than the limit of 50; the first 50 are told, and the others are not told"
    ]


async def test_redash_that_says_nothing(redash: RedashStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    redash.answer = stay_silent
    with pytest.raises(Retryable, match="did not answer in time") as failed:
        await redash.told()
    assert failed.value.reason == "timeout"


async def test_private_addresses_are_not_asked(redash: RedashStub) -> None:
    closed = replace(redash.context(), network=Network())
    with pytest.raises(Permanent, match="public address") as refused:
        await redash.producer().produce(closed)
    assert refused.value.reason == "forbidden"
    assert redash.asked == []


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"url": "ftp://redash.example"}, "must be an address"),
        ({"url": "https://user:canary@redash.example"}, "the address alone"),
        ({"url": "https://redash.example/?api_key=canary"}, "the address alone"),
        ({"api_key": "two words"}, "as Redash shows it"),
        ({"query_id": 0}, "greater"),
    ],
)
def test_parameters_that_are_refused(parameters: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        RedashParameters.model_validate({"url": "https://redash.example", "api_key": "k", "query_id": 1, **parameters})


async def test_a_server_error_while_the_job_is_waited_for(redash: RedashStub) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response({"job": {"id": JOB, "status": 1}})
        return web.json_response({}, status=502)

    redash.answer = answer
    with pytest.raises(Retryable, match="502"):
        await redash.told()
