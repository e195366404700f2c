"""A changed address takes no stored secret along, by PUT, PATCH, bulk and GraphQL alike."""

from typing import Any

from control_api.app import create_app
from control_api.registry import load_registry
from notifier.settings import Settings
from tests.rigs.definitions_rig import CANARY, FEED, Feed
from tests.rigs.rest_rig import address, prepare, serving

pytest_plugins = ["tests.rigs.databases"]

ELSEWHERE = {"url": "https://elsewhere"}


async def test_a_changed_address_takes_no_secret_along(alone: Settings) -> None:
    registry = load_registry().with_plugins(Feed)
    bearer = await prepare(alone, registry)
    async with serving(create_app(alone, registry=registry), bearer) as rest:
        asking = rest.client("write")
        made = await asking.post(address("producer"), json=FEED)
        assert made.status_code == 201, made.text
        at = address("producer", "news")
        shown = made.json()
        shown["parameters"] |= ELSEWHERE
        changed: dict[str, Any] = {"name": "news", "type": "feed", "parameters": ELSEWHERE}
        tries = {
            "put": (await asking.put(at, json=changed), "/parameters/token"),
            "put as shown": (await asking.put(at, json=shown), "/parameters/token"),
            "patch": (await asking.patch(at, json={"parameters": ELSEWHERE}), "/parameters/token"),
            "verify": (
                await asking.patch(at, params={"verify": True}, json={"parameters": ELSEWHERE}),
                "/parameters/token",
            ),
            "bulk": (
                await asking.post("/api/v1/definitions", json={"producers": [changed]}),
                "/producers/0/parameters/token",
            ),
        }
        for case, (answer, pointer) in tries.items():
            assert answer.status_code == 422, (case, answer.text)
            (error,) = answer.json()["errors"]
            assert error["pointer"] == pointer, case
            assert "another `url`" in error["detail"], case
        query = (
            'mutation { updateProducer(name: "news", input: {parameters: {url: "x"}}) { errors { pointer messages } } }'
        )
        (error,) = (await asking.post("/graphql", json={"query": query})).json()["data"]["updateProducer"]["errors"]
        assert error["pointer"] == "/parameters/token"
        assert (await asking.get(at)).status_code == 403  # a token of `write` does not read
        kept = (await rest.client("read").get(at)).json()["parameters"]
        assert kept == {"url": "https://news", "token": {"set": True}}
        anew = await asking.patch(at, json={"parameters": {**ELSEWHERE, "token": CANARY + "-anew"}})
        assert anew.json()["parameters"] == {**ELSEWHERE, "token": {"set": True}}
