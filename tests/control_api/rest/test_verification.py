"""Definitions that are checked against a service before they are saved."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from control_api.definitions import verification
from notifier.outcome import Kind
from notifier.record import JsonObject
from tests.rigs.kafka_tools import wait_until
from tests.rigs.problems import pointers, problem
from tests.rigs.rest_rig import TOKEN, Checks, Rest, address

MOODS: Sequence[tuple[str, str, str | None]] = (
    # what the service says, where the error points, its words; None: it is content
    ("good", "", None),
    ("script", "", None),
    ("services", "", None),
    ("own cluster", "", None),
    ("wrong token", "/parameters/token", "Bad credentials: ***"),
    ("no such chat", "/parameters", "chat not found"),
    ("busy", "/parameters", "too many requests"),
    ("field", "/parameters/mood", "is not one that *** may have"),
    ("broken", "/parameters", "the check failed: RuntimeError: *** is no good"),
    ("hangs", "/parameters", "the service did not answer within 0.1 s; try again, or save it without `verify`"),
)


def checked(mood: str) -> JsonObject:
    return {"type": "checked", "parameters": {"token": TOKEN, "mood": mood, "script": "unused"}}


@pytest.mark.predecessor("S-60")
@pytest.mark.parametrize(("mood", "pointer", "words"), MOODS, ids=[mood for mood, _, _ in MOODS])
@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_a_plugin_is_checked_before_it_is_saved(
    rest: Rest, monkeypatch: pytest.MonkeyPatch, kind: Kind, mood: str, pointer: str, words: str | None
) -> None:
    if mood == "hangs":
        monkeypatch.setattr(verification, "CHECK_S", 0.1)
    monkeypatch.setattr(Checks, "closed", 0)
    writer, reader = rest.client("write"), rest.client("read")
    path, one = address(kind), address(kind, "x")

    def judged(answer: httpx.Response, status: int) -> bool:
        if words is None:
            assert answer.status_code == status, answer.text
            return True
        (error,) = problem(answer, 422)["errors"]
        assert (error["pointer"], error["detail"]) == (pointer, words)
        assert TOKEN not in answer.text
        return False

    if not judged(await writer.post(f"{path}?verify=true", json={"name": "x", **checked(mood)}), 201):
        problem(await reader.get(one), 404)
        assert (await writer.post(path, json={"name": "x", **checked("good")})).status_code == 201
    before = (await reader.get(one)).json()
    judged(await writer.put(f"{one}?verify=true", json={**checked(mood), "title": "New"}), 200)
    judged(await writer.patch(f"{one}?verify=true", json={"parameters": {"mood": mood}, "title": "New"}), 200)
    assert ((await reader.get(one)).json() == before) is (words is not None)
    assert Checks.closed == 3
    assert (await writer.patch(one, json={"parameters": {"mood": mood}})).status_code == 200  # nobody is asked


async def test_a_check_sees_the_secret_that_is_kept(rest: Rest) -> None:
    writer = rest.client("write")
    await writer.post(address("consumer"), json={"name": "x", **checked("good")})
    patch = {"parameters": {"mood": "wrong token"}}
    (error,) = problem(await writer.patch(f"{address('consumer', 'x')}?verify=true", json=patch), 422)["errors"]
    assert (error["pointer"], error["detail"]) == ("/parameters/token", "Bad credentials: ***")


async def test_who_may_not_save_does_not_get_a_check(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checks, "asked", 0)
    writer = rest.client("write")
    path = f"{address('producer')}?verify=true"
    problem(await rest.client("read").post(path, json={"name": "x", **checked("good")}), 403)
    problem(await writer.post(path, json={"name": "ci", **checked("good")}), 409)
    assert pointers(await writer.post(path, json={"name": "x", "type": "checked", "parameters": {"hue": 1}})) == [
        "/parameters/hue"
    ]
    open_ = {"name": "x", "type": "script", "parameters": {"script": "unused", "network": True}}
    problem(await writer.post(path, json=open_), 403)
    tag = {"If-Match": '"0"'}
    problem(await writer.put(f"{address('producer', 'ci')}?verify=true", json=checked("good"), headers=tag), 412)
    assert Checks.asked == 0


async def test_others_write_while_a_service_is_asked(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checks, "started", asyncio.Event(), raising=False)
    monkeypatch.setattr(Checks, "go_on", asyncio.Event(), raising=False)
    writer = rest.client("write")
    one = address("producer", "x")
    await writer.post(address("producer"), json={"name": "x", **checked("waits")})
    asking = asyncio.create_task(writer.patch(f"{one}?verify=true", json={"title": "Mine"}))
    await wait_until(Checks.started.is_set)
    # SQLite has one writer at a time: this would wait for it if the check held a transaction.
    assert (await writer.post(address("user"), json={"username": "zoe"})).status_code == 201
    assert (await writer.patch(one, json={"title": "Theirs"})).status_code == 200
    Checks.go_on.set()
    assert "while it was being checked" in problem(await asking, 409)["detail"]
    assert (await writer.get(one)).status_code == 403
    assert (await rest.client("read").get(one)).json()["title"] == "Theirs"
    assert (await writer.patch(f"{one}?verify=true", json={"title": "Mine"})).status_code == 200
