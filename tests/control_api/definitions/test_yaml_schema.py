"""The JSON Schema of YAML files: what is good passes, what it refuses is refused, and the pages show what passes."""

import json
import re  # for our own constant pattern
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import notifier_cli.demo
from control_api.definitions.bulk import read_object
from control_api.definitions.spec import name_field, read
from control_api.definitions.yaml_schema import definitions_schema
from control_api.registry import load_registry
from notifier.errors import InputError
from notifier.outcome import KINDS, Kind
from notifier.seal import Seal, generate_key
from notifier_cli.commands import cli
from tests.rigs.definition_cases import BASE, CASES
from tests.rigs.repository import ROOT

REGISTRY = load_registry()
SCHEMA = definitions_schema(REGISTRY)
VALIDATOR = Draft202012Validator(SCHEMA)
SEAL = Seal(generate_key())


def faults(value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(value)]


def is_refused(value: Any) -> bool:
    """Whether one of its definitions is refused by itself, whatever else is stored."""
    try:
        for document in read_object(value):
            read(document.kind, document.name, document.value, before=None, registry=REGISTRY, seal=SEAL)
    except InputError:
        return True
    return False


def test_it_is_a_schema_and_the_command_prints_it() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    printed = CliRunner().invoke(cli, ["schema"])
    assert json.loads(printed.stdout) == SCHEMA


def test_the_example_passes() -> None:
    example = Path(notifier_cli.demo.__file__).parent / "example" / "definitions.yaml"
    assert faults(yaml.safe_load(example.read_text())) == []


PAGES = [
    (page.name, text)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
]


@pytest.mark.parametrize(("page", "text"), PAGES, ids=[f"{page}-{number}" for number, (page, _) in enumerate(PAGES)])
def test_the_yaml_of_the_pages_passes(page: str, text: str) -> None:
    value = yaml.safe_load(text)
    if isinstance(value, dict) and value.keys() & {f"{kind}s" for kind in KINDS}:
        assert faults(value) == [], page


def test_what_is_stored_and_what_the_table_creates_passes() -> None:
    for kind, document in BASE:
        assert faults({f"{kind}s": [document]}) == []
    created = [case for case in CASES if case.do == "create"]
    assert len(created) > 10
    for case in created:
        value = {f"{case.kind}s": [dict(case.written)]}
        if faults(value):
            assert is_refused(value), (case.id, faults(value))


WRONG: list[Any] = [
    {"user": []},
    {"users": {}},
    {"users": [{"on_leave": True}]},
    {"users": [{"username": "a b"}]},
    {"users": [{"username": "a", "onleave": True}]},
    {"users": [{"username": "a", "on_leave": "maybe"}]},
    {"users": [{"username": "a", "working_time": {"start": "09:00"}}]},
    {"users": [{"username": "a", "working_time": {"start": "09:00", "end": "10:00", "days": ["monday"]}}]},
    {"scripts": [{"name": "s"}]},
    {"scripts": [{"name": "s", "content": "x", "file": "y"}]},
    {"scripts": [{"name": "s", "content": "x", "executor": "perl"}]},
    {"producers": [{"name": "p"}]},
    {"producers": [{"name": "p", "type": "psuh"}]},
    {"producers": [{"name": "p", "type": "push", "parameters": {"secret": "x"}}]},
    {"producers": [{"name": "p", "type": "script"}]},
    {"producers": [{"name": "p", "type": "github", "parameters": None}]},
    {"filters": [{"name": "f", "type": "severity", "parameters": {"at_least": "loud"}}]},
    {"filters": [{"name": "f", "type": "skip_keywords", "parameters": {"skip_keywords": "draft"}}]},
    {"consumers": [{"name": "c", "type": "telegram", "parameters": {"bot_token": "1:a", "chat_id": "team"}}]},
    {"consumers": [{"name": "c", "type": "script", "parameters": {"script": "x", "batch": 0}}]},
    {"mappings": [{"name": "m", "set": {"severity": "fatal"}}]},
    {"mappings": [{"name": "m", "table": {"key": "a"}}]},
    {"mappings": [{"name": "m", "table": {"key": "a", "rows": {"b": {"team": "x"}}}}]},
    {"configurations": [{"name": "c", "schedule": {}}]},
    {"configurations": [{"name": "c", "schedule": {"cron": "* * * * *", "missed": "some"}}]},
    {"configurations": [{"name": "C"}]},
    {"configurations": [{"name": "c", "enabled": 1.5}]},
]


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_what_is_wrong_is_refused_by_both(value: Any) -> None:
    assert faults(value)
    assert is_refused(value)


GOOD: list[Any] = [
    {"x-anything": [1, {"a": None}], "users": None},
    {"scripts": [{"name": "s", "file": "a.sh"}]},
    {"producers": [{"name": "p", "type": "push", "title": None, "parameters": None}]},
    {"producers": [{"name": "p", "type": "push", "parameters": {"webhook_secret": "${HOOK}", "world": None}}]},
    {"consumers": [{"name": "c", "type": "telegram", "parameters": {"chat_id": -100}}]},  # the token is kept
    {
        "consumers": [
            {"name": "c", "type": "telegram", "parameters": {"chat_id": "recipient", "bot_token": {"set": True}}}
        ]
    },
    {"users": [{"username": "a", "working_time": None, "additional_info": {"x": [{"id": 1}]}}]},
    {"mappings": [{"name": "m", "matchers": ["a=~b"], "set": {"labels": {"a": "b"}}, "table": None}]},
    {"mappings": [{"name": "m", "table": {"key": "a", "rows": {"b": {"title": None, "labels": {"c": "d"}}}}}]},
    {
        "mappings": [
            {"name": "m", "table": {"file": "owners.csv"}},
            {"name": "n", "table": {"key": "a", "file": "a.yaml"}},
        ]
    },
    {"configurations": [{"name": "c", "schedule": {"minute": "0", "hour": None}, "template": None}]},
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_may_say_whose_it_is(kind: Kind) -> None:
    definitions: dict[Kind, Any] = {
        "script": {"content": "true"},
        "template": {"content": "x"},
        "producer": {"type": "push"},
        "mapping": {"set": {"title": "x"}},
        "filter": {"type": "severity", "parameters": {"at_least": "error"}},
        "consumer": {"type": "script", "parameters": {"script": "s"}},
    }
    written = {name_field(kind): "a", **definitions.get(kind, {})}
    assert faults({f"{kind}s": [{**written, "team": "payments"}]}) == []
    assert is_refused({f"{kind}s": [{**written, "team": "No Team"}]})


@pytest.mark.parametrize("value", GOOD, ids=str)
def test_what_is_good_passes(value: Any) -> None:
    assert faults(value) == []
