"""Mutations: what they do in a row, the errors of an input, and runs."""

import orjson
import pytest

from control_api.migrate import upgrade
from notifier.record import JsonObject
from notifier.settings import Settings
from tests.rigs.graphql_api import Api, serving
from tests.rigs.kafka_tools import produce, read_all, wait_until

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.predecessor("S-73")
async def test_a_configuration_may_name_groups(api: Api) -> None:
    answer = await api.data(
        """mutation { updateConfiguration(name: "main", input: {users: ["bob", "group:ops"]}) {
             configuration { users { username } groups { name members { username } configurations { name } } } } }"""
    )
    assert answer["updateConfiguration"]["configuration"] == {
        "users": [{"username": "bob"}],
        "groups": [{"name": "ops", "members": [{"username": "alice"}], "configurations": [{"name": "main"}]}],
    }


async def test_a_mutation_sees_what_the_one_before_has_done(own: Api) -> None:
    data = await own.data(
        """mutation {
          a: updateUser(username: "alice", input: {onLeave: true}) { user { onLeave configurations { name } } }
          b: updateConfiguration(name: "main", input: {users: ["alice"]}) { configuration { users { username onLeave } } }
          c: updateUser(username: "bob", input: {onLeave: false}) { user { onLeave configurations { name } } }
          d: deleteUser(username: "bob") { name revision errors { field } }
        }"""
    )
    assert data["a"]["user"]["configurations"] == [{"name": "main"}]
    assert data["b"]["configuration"]["users"] == [{"username": "alice", "onLeave": True}]
    assert data["c"]["user"] == {"onLeave": False, "configurations": []}
    assert data["d"]["name"] == "bob"
    assert data["d"]["errors"] == []


@pytest.mark.predecessor("S-74")
async def test_json_may_be_written_out_and_hold_variables(own: Api) -> None:
    """The parameters of a record as JSON, here without quoting it into a text."""
    query = """mutation($keyword: JSON!) {
      createFilter(input: {
        name: "x", type: "skip_keywords", parameters: {skip_keywords: ["a", $keyword], ignore_case: true, title: null}
      }) { filter { parameters } errors { field messages } }
    }"""
    data = await own.data(query, keyword="b")
    assert data["createFilter"]["filter"]["parameters"] == {
        "skip_keywords": ["a", "b"], "ignore_case": True, "title": None
    }  # fmt: skip
    assert await own.refused(query) == "BAD_REQUEST"  # the variable has no value
    assert (
        await own.refused("mutation { createFilter(input: {parameters: {a: b}}) { errors { field } } }")
        == "BAD_REQUEST"
    )


@pytest.mark.predecessor("S-73")
async def test_what_does_not_fit_is_named_in_the_words_of_the_input(api: Api) -> None:
    """The answer to a mutation holds the object and `errors [{field, messages}]`."""
    query = """mutation($input: UserInput!) {
      createUser(input: $input) { user { username } errors { field messages pointer } }
    }"""
    wrong = {"username": "x", "workingTime": {"start": "25:00", "end": "18:00"}}
    payload = (await api.data(query, input=wrong))["createUser"]
    assert payload["user"] is None
    (fault,) = payload["errors"]
    assert fault["field"] == "workingTime.start"
    assert fault["pointer"] == "/working_time/start"
    assert "00:00" in fault["messages"][0]


async def test_running_while_the_broker_is_away_says_so(api: Api) -> None:
    answer = await api.ask('mutation { run(configuration: "main") { tick { scheduledAt } } }', "run")
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert error["extensions"]["retryAfter"] > 0
    assert answer["data"] == {"run": None}
    assert await api.refused('mutation { run(configuration: "none") { tick { scheduledAt } } }', "run") == "NOT_FOUND"


@pytest.mark.predecessor("S-73")
async def test_a_run_writes_a_tick_and_the_history_is_shown(settings: Settings) -> None:
    await upgrade(settings)
    async with serving(settings) as api:
        run = 'mutation { run(configuration: "main") { tick { configuration scheduledAt trigger } errors { field } } }'

        async def ticked() -> JsonObject | None:
            answer = await api.ask(run, "run")
            payload: JsonObject | None = answer["data"]["run"]
            return payload

        payload = await wait_until(ticked)
        tick = payload["tick"]
        assert tick["configuration"] == "main"
        assert tick["trigger"] == "manual"

        async def written() -> bool:
            records = [orjson.loads(record.value) for record in await read_all(settings, "ticks")]
            return tick["scheduledAt"] in [record["scheduled_at"] for record in records]

        await wait_until(written)

        at = "2026-11-23T09:00:00Z"
        attempt = {
            "delivery": "ci/1/main/to-file/alice", "number": 1, "producer": "ci", "message": "1", "configuration": "main",
            "configuration_version": 3, "consumer": "to-file", "recipient": "alice", "outcome": "accepted", "reason": "ok",
            "origin": {"topic": "messages", "partition": 0, "offset": 5_000_000_000}, "started_at": at, "ended_at": at,
        }  # fmt: skip
        letter = {
            "id": "ci/1", "stage": "route", "reason": "invalid", "error": "is no JSON", "topic": "messages",
            "partition": 0, "offset": 5_000_000_000, "timestamp": at, "value": "x", "attempts": 0, "at": at,
        }  # fmt: skip
        done = {
            "configuration": "main", "scheduled_at": at, "trigger": "manual", "state": "done",
            "producers": [{"producer": "disk", "state": "done", "messages": 2}],
        }  # fmt: skip
        await produce(settings, "attempts", [attempt], key=str(attempt["delivery"]))
        await produce(settings, "dead_letters", [letter], key="ci/1")
        await produce(settings, "runs", [done], key=f"main/{at}")
        history = """query($at: String!) {
          attempts(configuration: "main", outcome: "accepted") {
            items { delivery number recipient configurationVersion startedAt origin }
          }
          deadLetters(reason: "invalid") { items { id offset valueOmitted } }
          deadLetter(id: "ci/1") { value error }
          runs(configuration: "main", state: "done") { items { trigger } }
          run(configuration: "main", scheduledAt: $at) { state producers { producer messages } }
        }"""

        async def stored() -> JsonObject | None:
            answer = await api.ask(history, "read", at=at)
            return None if "errors" in answer or not answer["data"]["attempts"]["items"] else answer["data"]

        data = await wait_until(stored)
        assert data["attempts"]["items"] == [
            {
                "delivery": "ci/1/main/to-file/alice", "number": 1, "recipient": "alice", "configurationVersion": 3,
                "startedAt": at, "origin": {"topic": "messages", "partition": 0, "offset": 5_000_000_000},
            }
        ]  # fmt: skip
        assert data["deadLetters"]["items"] == [{"id": "ci/1", "offset": 5_000_000_000, "valueOmitted": False}]
        assert data["deadLetter"] == {"value": "x", "error": "is no JSON"}
        assert data["runs"]["items"] == [{"trigger": "manual"}]
        assert data["run"] == {"state": "done", "producers": [{"producer": "disk", "messages": 2}]}
