"""Webhooks under another name than the definition's, against a stub of GitHub's API."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from control_api.definitions.repositories import Repositories
from control_api.registry import load_registry
from notifier import JsonObject
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.github_stub import REPOSITORY, GitHubStub, answering, said, stub_running, told

ID = 352163
PARAMETERS = {"repository": REPOSITORY}


def about(name: str, id_: object = ID, **more: Any) -> JsonObject:
    """A payload about the repository of that name."""
    return told("opened") | {"repository": {"id": id_, "full_name": name}} | more


def repositories(settings: Settings, stub: GitHubStub) -> Repositories:
    return Repositories(load_registry(), load_seal(settings), {"github": stub.url})


def renamed_from(name: str) -> JsonObject:
    return {"action": "renamed", "changes": {"repository": {"name": {"from": name}}}}


def moved_from(kind: str, owner: str) -> JsonObject:
    return {"action": "transferred", "changes": {"owner": {"from": {kind: {"login": owner}}}}}


KNOWN_BY_EVENT = [
    pytest.param(about("octo-org/new", **renamed_from("hello.world")), id="renamed"),
    pytest.param(about("Octo-Org/new", **renamed_from("Hello.World")), id="renamed, in other case"),
    pytest.param(about("new-org/hello.world", **moved_from("organization", "octo-org")), id="moved from organization"),
    pytest.param(about("new-org/hello.world", **moved_from("user", "octo-org")), id="moved from a person"),
]


@pytest.mark.parametrize("event", KNOWN_BY_EVENT)
async def test_an_event_that_names_the_old_name_makes_the_new_one_known(settings: Settings, event: JsonObject) -> None:
    async with stub_running() as stub:
        known = repositories(settings, stub)
        assert await known.refusal("reviews", PARAMETERS, event) is None
        assert await known.refusal("reviews", PARAMETERS, about(event["repository"]["full_name"])) is None
        assert stub.asked == []


async def test_an_id_tells_a_new_name_from_another_repository(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cases: Sequence[tuple[JsonObject, bool]] = (
        (about(REPOSITORY, 5), True),  # the very name
        (about(REPOSITORY.upper(), None), True),
        (about("octo-org/new"), True),
        (about("octo-org/new"), True),
        (about("OCTO-org/renamed", None), True),  # what GitHub answers, without an id to compare
        (about("octo-org/other", 5), False),
        (about("octo-org/other", 5), False),
        (about("octo-org/other", "x"), False),
        ({"repository": None}, True),
        ({}, True),
    )
    async with stub_running() as stub:

        async def moved(request: web.Request) -> web.StreamResponse:
            if request.path == f"/repositories/{ID}":
                return web.json_response({"id": ID, "full_name": "octo-org/renamed"})
            return web.Response(status=301, headers={"Location": f"/repositories/{ID}"})

        stub.answer = moved
        known = repositories(settings, stub)
        with caplog.at_level(logging.INFO):
            for payload, same in cases:
                found = await known.refusal("reviews", PARAMETERS, payload)
                assert (found is None) is same, (payload, found)
        assert len(stub.asked) == 2, "GitHub is asked once, and follows the redirect once"
    said_ = [(record.levelname, record.getMessage()) for record in caplog.records if "reviews" in record.getMessage()]
    new = "The repository octo-org/hello.world of the producer reviews is {} now; write that as its `repository`."
    assert said_ == [
        ("WARNING", new.format("octo-org/new")),
        ("WARNING", new.format("OCTO-org/renamed")),
        (
            "INFO",
            "A webhook is passed over: it is about octo-org/other, and the producer reviews about octo-org/hello.world.",
        ),
    ]


async def test_where_github_cannot_be_asked_it_is_said_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with stub_running() as stub:
        stub.answer = answering(404, said("Not Found"))
        known = repositories(settings, stub)
        for _ in range(3):
            found = await known.refusal("reviews", PARAMETERS, about("octo-org/new"))
            assert found is not None
            assert "write the new name as its `repository`" in found
        assert len(stub.asked) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "octo-org/new" in warnings[0]
    assert "Not Found" in warnings[0]
