"""The history as REST shows it."""

import secrets
from typing import Any

from notifier.attempt import Counter, Counters, Origin
from notifier.record import JsonObject, now, rfc3339
from tests.rigs.api_rig import Api
from tests.rigs.history_rig import attempt, dead_letter
from tests.rigs.kafka_tools import produce, wait_until


async def test_the_history_is_asked_by_every_condition_newest_first(api: Api) -> None:
    mark = secrets.token_hex(4)
    first = attempt(f"{mark}-1", outcome="deferred", reason="timeout", origin=Origin(topic="m", partition=1, offset=2))
    second = attempt(f"{mark}-1", number=2)
    third = attempt(f"{mark}-2", recipient="bob", detail="a\0b", delivery=f"ci/{mark}-2")
    counters = Counters(worker="w", at=now(), counters=(Counter(configuration="c", reason="filtered", count=3),))
    values = [first.encode(), counters.encode(), b"junk", b'{"counters": 7}', second.encode(), third.encode()]
    await produce(api.settings, "attempts", values, partition=0)
    async with api.client("read") as reader:

        async def ask(**conditions: Any) -> list[tuple[str, int]]:
            answer = await reader.get("/api/v1/attempts", params=conditions)
            assert answer.status_code == 200, answer.text
            return [(one["message"], one["number"]) for one in answer.json()["items"]]

        async def all_there() -> bool:
            return len(await ask(message=f"{mark}-1")) == 2 and len(await ask(message=f"{mark}-2")) == 1

        await wait_until(all_there)
        one, two, three = (f"{mark}-1", 1), (f"{mark}-1", 2), (f"{mark}-2", 1)
        newest = [found for found in await ask(producer="ci") if found[0].startswith(mark)]
        assert newest == [three, two, one]
        assert await ask(message=one[0], outcome="deferred") == [one]
        assert await ask(message=one[0], reason="ok") == [two]
        assert await ask(delivery=first.delivery) == [two, one]
        assert await ask(message=three[0], recipient="bob", consumer="chat", configuration="to-chat") == [three]
        assert await ask(message=three[0], recipient="alice") == []
        item = (await reader.get("/api/v1/attempts", params={"message": one[0], "outcome": "deferred"})).json()[
            "items"
        ][0]
        assert item["origin"] == {"topic": "m", "partition": 1, "offset": 2}
        assert item["started_at"] == rfc3339(first.started_at)

        page = (await reader.get("/api/v1/attempts", params={"message": one[0], "limit": 1})).json()
        rest = (await reader.get("/api/v1/attempts", params={"message": one[0], "cursor": page["next_cursor"]})).json()
        assert [found["number"] for found in page["items"] + rest["items"]] == [2, 1]
        assert rest["next_cursor"] is None


async def test_dead_letters_are_listed_and_kept_whole(api: Api) -> None:
    mark = secrets.token_hex(4)
    delivery = f"ci/{mark}%2F1/to-chat/chat/alice"
    letters = [
        dead_letter(delivery, delivery=delivery, value='{"a": 1}', attempts=8, partition=3, offset=4, key="k"),
        dead_letter(f"messages/0/{mark}", stage="route", reason="invalid", value="x" * 20_000),
        dead_letter(f"nul/{mark}", stage="route", reason="invalid", value="a\0b"),
    ]
    await produce(api.settings, "dead_letters", [letter.encode() for letter in letters], partition=0)
    async with api.client("read") as reader:

        async def ask(**conditions: Any) -> list[JsonObject]:
            return list((await reader.get("/api/v1/dead_letters", params=conditions)).json()["items"])

        (found,) = await wait_until(lambda: ask(message=f"{mark}/1"))
        assert found["id"] == found["delivery"] == delivery
        assert (found["partition"], found["offset"], found["attempts"], found["value"]) == (3, 4, 8, '{"a": 1}')
        assert await ask(delivery=delivery, consumer="chat", recipient="alice", configuration="to-chat") == [found]
        (large,) = await wait_until(lambda: ask(id=f"messages/0/{mark}"))
        assert (large["value"], large["value_omitted"]) == (None, True)
        whole = (await reader.get(f"/api/v1/dead_letters/messages/0/{mark}")).json()
        assert (whole["value"], whole["value_omitted"]) == ("x" * 20_000, False)
        (nul,) = await wait_until(lambda: ask(id=f"nul/{mark}", stage="route", reason="invalid"))
        assert (nul["value"], nul["value_base64"]) == (None, "YQBi")
