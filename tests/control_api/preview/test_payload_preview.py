"""Which messages a payload would become, on a database without a broker: by REST, GraphQL and the command line alike."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from click.testing import CliRunner

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.preview.payload_preview import PayloadQuery, preview_payload, preview_payload_command
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import InputError, UnknownName
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.seal import Seal, generate_key
from notifier.settings import Settings
from notifier_cli.commands import cli
from notifier_cli.producer import lines

pytest_plugins = ["tests.rigs.databases"]

DEFINED: tuple[tuple[Kind, JsonObject], ...] = (
    ("producer", {"name": "plain", "type": "push"}),
    (
        "producer",
        {"name": "builds", "type": "push", "parameters": {"mapping": {"content": "text", "severity": "level"}}},
    ),
    ("producer", {"name": "cloud", "type": "push", "parameters": {"mapping": "sns", "webhook_secret": "canary"}}),
    ("producer", {"name": "reviews", "type": "github", "parameters": {"repository": "acme/web"}}),
)
BUILD = {"text": "it failed", "level": "terrible"}


@pytest_asyncio.fixture
async def services(offline: Database) -> AsyncIterator[Services]:
    services = Services(offline, load_registry(), Seal(generate_key()))
    for kind, document in DEFINED:
        await services.create(COMMAND_LINE, kind, document)
    yield services


async def previewed(services: Services, name: str, **asked: object) -> JsonObject:
    return await preview_payload(services, COMMAND_LINE, name, PayloadQuery.model_validate(asked))


async def test_the_messages_are_those_that_the_hook_would_make(services: Services) -> None:
    assert await previewed(services, "builds", payload=BUILD) == {
        "messages": [{"producer": "builds", "content": "it failed"}],
        "problems": ["message 1: severity: 'terrible' is no severity that is known; it is left out"],
        "omitted": 0,
    }
    asked = {
        "payload": {**BUILD, "level": None},
        "headers": {"X-Level": "fatal"},
        "mapping": {"severity": "header('x-level')"},
    }
    answer = await previewed(services, "builds", **asked)
    assert answer["messages"][0]["severity"] == "critical"
    assert answer["messages"][0]["content"] == '{"text":"it failed","level":null}'


async def test_without_a_mapping_it_says_what_would_be_refused(services: Services) -> None:
    answer = await previewed(services, "plain", payload={"content": "x", "severity": "terrible"})
    assert answer["messages"] == [{"producer": "plain", "content": "x", "severity": "terrible"}]
    assert "severity" in answer["problems"][0]
    with pytest.raises(InputError, match="/producer"):
        await previewed(services, "plain", payload={"content": "x", "producer": "other"})


async def test_many_messages_are_counted(services: Services) -> None:
    answer = await previewed(services, "plain", payload=[{"n": n} for n in range(60)], mapping={"each": "@", "id": "n"})
    assert len(answer["messages"]) == 50
    assert answer["omitted"] == 10


async def test_a_preview_asks_no_service_and_knows_no_secret(services: Services) -> None:
    # The context has no network at all; a hook would confirm the subscription.
    answer = await previewed(
        services, "cloud", payload={"Type": "SubscriptionConfirmation", "SubscribeURL": "https://x"}
    )
    assert answer == {"messages": [], "problems": [], "omitted": 0}
    assert "canary" not in json.dumps(
        await previewed(services, "cloud", payload={"Type": "Notification", "Message": "x"})
    )


async def test_what_has_no_mapping_has_no_preview(services: Services) -> None:
    with pytest.raises(InputError, match="by no mapping"):
        await previewed(services, "reviews", payload={})
    with pytest.raises(UnknownName):
        await previewed(services, "nobody", payload={})


async def test_the_command_shows_it(services: Services, alone: Settings) -> None:
    query = PayloadQuery.model_validate({"payload": BUILD, "mapping": "uptime-kuma"})
    answer = await preview_payload_command(alone, "plain", query)
    assert [message["content"] for message in answer["messages"]] == [json.dumps(BUILD, separators=(",", ":"))]
    shown = "\n".join(lines({**answer, "omitted": 2, "problems": ["odd"]}))
    assert "  │ {" in shown
    assert "and 2 more" in shown
    assert "odd" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--header", "X-Event"], "/headers"),
        (["--mapping", "nagios"], "/mapping"),
        (["--payload", __file__], "/payload"),
    ],
)
def test_what_is_given_to_the_command_is_read(
    alone: Settings, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setattr("notifier_cli.producer.read_settings", lambda: alone)
    asked = CliRunner().invoke(cli, ["producer", "preview", "plain", "--payload", "-", *arguments], input="{}")
    assert isinstance(asked.exception, InputError)
    assert words in str(asked.exception)
