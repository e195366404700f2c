"""`notifier explain` on the database and the topics, with a router and no API."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.registry import load_registry
from notifier.database import SQLITE_FILE, Database
from notifier.errors import InputError
from notifier.seal import Seal, generate_key
from notifier.settings import Settings
from notifier_cli.commands import cli
from notifier_cli.explain import explained, lines
from tests.rigs.kafka_tools import produce, wait_for_records
from tests.rigs.roles import roles, run

pytest_plugins = ["tests.rigs.databases"]

DEFINITIONS = """
users:
  - username: alice
  - {{username: bob, on_leave: {on_leave}}}
producers:
  - {{name: ci, type: push}}
scripts:
  - {{name: append, content: "cat >> out"}}
filters:
  - {{name: no-drafts, type: skip_keywords, parameters: {{skip_keywords: [draft]}}}}
  - {{name: at-work, type: receiver_working}}
consumers:
  - {{name: to-file, type: script, parameters: {{script: append}}}}
configurations:
  - {{name: builds, users: [alice, bob], producers: [ci], filters: [no-drafts, at-work], consumers: [to-file]}}
"""
MESSAGE = {"producer": "ci", "id": "build-42", "content": "build failed"}


async def _apply(settings: Settings, *, on_leave: bool) -> None:
    file = settings.data_dir / "definitions.yaml"
    file.write_text(DEFINITIONS.format(on_leave=str(on_leave).lower()))
    status, _, err = await run(settings, "apply", "-f", str(file))
    assert status == 0, err


async def _explain(settings: Settings, *arguments: str) -> str:
    status, out, err = await run(settings, "explain", *arguments)
    assert status == 0, err
    return out


@pytest.mark.slow
async def test_why_a_message_did_not_reach_somebody_is_said(settings: Settings) -> None:
    await _apply(settings, on_leave=False)
    await _apply(settings, on_leave=True)
    async with roles(settings, "router"):
        await produce(settings, "messages", [{**MESSAGE, "receiver": "bob"}])
        await wait_for_records(settings, "attempts", 1)
    await _apply(settings, on_leave=False)
    meant = ("--producer", "ci", "--id", "build-42")
    out = await _explain(settings, *meant)
    first, second, *rest = out.splitlines()
    assert first.startswith("bob did not get it: builds dropped it, because at-work says that bob is on leave since ")
    assert second.startswith("The message ci/build-42, which came at ")
    assert [line.split()[:2] for line in rest if line.startswith("    ")] == [
        ["passed", "no-drafts"],
        ["dropped", "at-work"],
    ]
    assert "the router for bob: suppressed (on_leave): builds: at-work (on_leave)" in out
    assert "By the definitions of now (revision 3): builds would pass it on to to-file for bob." in out
    found = await explained(settings, {"producer": "ci", "id": "build-42", "receiver": "alice"})
    assert found["text"] == "alice did not get it by builds: the message is for bob."


async def test_a_message_that_might_be_is_explained_without_a_broker(alone: Settings, offline: Database) -> None:
    services = Services(offline, load_registry(), Seal(generate_key()))
    for kind, documents in yaml.safe_load(DEFINITIONS.format(on_leave="true")).items():
        for document in documents:
            await services.create(COMMAND_LINE, kind.removesuffix("s"), document)
    message = {"producer": "ci", "content": "build\nfailed"}
    answer = await explained(alone, {"message": message})
    out = "\n".join(lines(answer))
    assert out.startswith(
        "\x1b[1mbuilds would pass it on to to-file for alice. bob would not get it: builds would drop it, "
    )
    assert '│   "content": "build\\nfailed",' in out
    refused: list[tuple[dict[str, Any], str]] = [
        ({"producer": "ci"}, "/id"),
        ({"message": message, "receiver": "eve"}, "/receiver"),
        ({"message": message, "as_of": "soon"}, "/as_of"),
        ({"message": []}, "/message"),
    ]
    for asked, wrong in refused:
        with pytest.raises(InputError) as caught:
            await explained(alone, asked)
        assert [error.pointer for error in caught.value.errors] == [wrong]


def test_the_answer_is_printed_as_json_and_what_is_no_json_is_refused(
    own_settings: None, alone: Settings, upgraded_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(upgraded_file, alone.data_dir / SQLITE_FILE)
    monkeypatch.setattr("notifier_cli.explain.read_settings", lambda: alone)
    given = json.dumps(MESSAGE)
    asked = CliRunner().invoke(cli, ["explain", "--message", "-", "--json"], input=given)
    assert asked.exit_code == 0, asked.exception
    assert json.loads(asked.stdout)["text"] == "Nobody would get it: there is no producer 'ci'."
    wrong = CliRunner().invoke(cli, ["explain", "--message", "-"], input="users: []")
    assert isinstance(wrong.exception, InputError)
    assert "is not JSON" in str(wrong.exception)
    for depth in (400, 900, 985, 200_000):
        nested = json.dumps(MESSAGE)[:-1] + ', "more": ' + "[" * depth + "]" * depth + "}"
        deep = CliRunner().invoke(cli, ["explain", "--message", "-"], input=nested)
        assert isinstance(deep.exception, InputError), (depth, deep.exception)
        assert [error.pointer for error in deep.exception.errors] == ["/message"]
