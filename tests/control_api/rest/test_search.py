"""Messages, attempts and counters over REST and GraphQL."""

from notifier.record import now, rfc3339
from notifier.settings import Settings
from tests.rigs.graphql_api import serving
from tests.rigs.history_rig import attempt, store_attempts, store_messages
from tests.rigs.odd_times import OUT_OF_RANGE
from tests.rigs.problems import pointers, problem

pytest_plugins = ["tests.rigs.databases"]
_MESSAGE = "producer id sender receiver title content url severity labels cut at partition offset"


async def test_what_came_is_found_and_shown_the_same_by_both(store_settings: Settings) -> None:
    async with serving(store_settings) as api:
        database = api.parts.database
        value = {"producer": "ci", "id": "a/b c", "title": "Сборка", "content": "failed", "labels": {"a": "1"}}
        await store_messages(database, [value, {"producer": "ci", "id": "m2", "content": "passed"}])
        await store_attempts(database, [attempt("a/b c"), attempt("m2", outcome="refused", reason="forbidden")])
        async with api.client("read") as asking:
            (found,) = (await asking.get("/api/v1/messages", params={"q": "СБОРКА"})).json()["items"]
            whole = (await asking.get("/api/v1/messages/ci/a/b%20c")).json()
            assert whole["attempts"] == (await asking.get("/api/v1/attempts", params={"q": "сборка"})).json()["items"]
            assert [one["message"] for one in whole.pop("attempts")] == ["a/b c"]
            assert whole == found
            problem(await asking.get("/api/v1/messages/ci/none"), 404)
            answer = (await asking.get("/api/v1/counters", params={"by": "outcome", "step": "day"})).json()
            assert sorted((one["outcome"], one["count"]) for one in answer["items"]) == [
                ("accepted", 1),
                ("refused", 1),
            ]
        query = f"""{{
            messages(q: "сборка") {{ items {{ {_MESSAGE} attempts {{ message }} }} nextCursor }}
            message(producer: "ci", id: "a/b c") {{ {_MESSAGE} attempts {{ message }} }}
            attempts(q: "passed", since: "{rfc3339(now().replace(year=2020))}") {{ items {{ reason }} }}
            counters(by: "", step: "day") {{ items {{ at outcome count }} }}
        }}"""
        data = await api.data(query, "read")
        shown = {**found, "attempts": [{"message": "a/b c"}]}
        assert data["messages"] == {"items": [shown], "nextCursor": None}
        assert data["message"] == shown
        assert data["attempts"]["items"] == [{"reason": "forbidden"}]
        assert sum(one["count"] for one in data["counters"]["items"]) == 2
        assert await api.refused('{ message(producer: "ci", id: "none") { id } }', "read") == "NOT_FOUND"
        assert await api.refused('{ messages(q: "*") { nextCursor } }', "read") == "INVALID_INPUT"


_ODD = ("", "\0", '" OR "*', "NEAR(a b)", "a" * 501, "\ud7ff", "a:*&b|!c", *OUT_OF_RANGE[:3])


async def test_odd_conditions_are_refused_by_name_or_find_nothing(store_settings: Settings) -> None:
    async with serving(store_settings) as api, api.client("read") as asking:
        paths = (await asking.get("/openapi.json")).json()["paths"]
        for path in ("messages", "attempts", "counters"):
            names = [parameter["name"] for parameter in paths[f"/api/v1/{path}"]["get"]["parameters"]]
            assert {"since", "until", "limit", "cursor", "configuration", "reason"} <= set(names)
            assert ("q" in names) == (path != "counters")
            for name in names:
                for odd in _ODD:
                    answer = await asking.get(f"/api/v1/{path}", params={name: odd})
                    if "\0" in odd:
                        problem(answer, 400)
                    elif answer.status_code == 422:
                        assert pointers(answer) == [f"/{name}"], (name, odd)
                    else:
                        assert answer.json()["items"] == [], (name, odd)
                        assert name not in ("since", "until", "limit", "cursor", "reason")
            assert pointers(await asking.get(f"/api/v1/{path}", params={"color": "red"})) == ["/color"]
