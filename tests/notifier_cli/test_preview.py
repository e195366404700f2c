"""`notifier preview` on a database alone."""

import json

import pytest
from click.testing import CliRunner

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import InputError
from notifier.record import JsonObject
from notifier.seal import Seal, generate_key
from notifier.settings import Settings
from notifier_cli.commands import cli
from notifier_cli.preview import lines, previewed

pytest_plugins = ["tests.rigs.databases"]

CHAT: JsonObject = {"name": "chat", "type": "telegram", "parameters": {"bot_token": "1:a", "chat_id": -100}}
BUILDS = {"name": "builds", "producers": ["ci"], "consumers": ["chat"], "template": "{{ message.content }}!"}


async def test_the_texts_of_a_configuration_are_shown_without_a_broker(alone: Settings, offline: Database) -> None:
    services = Services(offline, load_registry(), Seal(generate_key()))
    await services.create(COMMAND_LINE, "user", {"username": "alice"})
    await services.create(COMMAND_LINE, "producer", {"name": "ci", "type": "push"})
    await services.create(COMMAND_LINE, "consumer", CHAT)
    await services.create(COMMAND_LINE, "configuration", BUILDS)
    answer = await previewed(alone, "builds", {"message": {"content": "failed"}})
    assert [text["parts"] for text in answer["texts"]] == [["failed!"]]
    long = await previewed(alone, "builds", {"message": {"content": "word " * 1000, "receiver": "alice"}})
    shown = "\n".join(lines(long))
    assert "for alice by its template" in shown
    assert "  part 1 of 2:\n" in shown
    failing = {**BUILDS, "template": "{{ message.build }}", "users": ["alice"]}
    shown = "\n".join(lines(await previewed(alone, "builds", {"message": {"content": "x"}, "draft": failing})))
    assert shown.startswith("\x1b[1mbuilds\x1b[0m (a draft)")
    assert "chat\x1b[0m for alice by default" in shown
    assert "the template of the configuration builds failed" in shown
    for asked, wrong in (
        ({}, "/message"),
        ({"message": []}, "/message"),
        ({"message": {"content": 1}}, "/message/content"),
    ):
        with pytest.raises(InputError) as caught:
            await previewed(alone, "builds", asked)
        assert [error.pointer for error in caught.value.errors] == [wrong]


@pytest.fixture
def defined(alone: Settings, offline: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifier_cli.preview.read_settings", lambda: alone)


def test_what_is_given_to_the_command_is_read(defined: None) -> None:
    asked = CliRunner().invoke(cli, ["preview", "gone", "--message", "-"], input=json.dumps({"content": "x"}))
    assert "no configuration 'gone'" in str(asked.exception)
    wrong = CliRunner().invoke(cli, ["preview", "gone", "--draft", "-", "--message", __file__])
    assert isinstance(wrong.exception, InputError)
    assert [error.pointer for error in wrong.exception.errors] == ["/message"]
