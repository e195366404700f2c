"""What people may write of each kind, and what is said about what they may not."""

import re
from typing import Any

import pytest

from notifier.definition import (
    MAX_SCRIPT_BYTES,
    MAX_SPEC_BYTES,
    SPECS,
    ConfigurationSpec,
    ScriptSpec,
    UserSpec,
    check_name,
    definition_key,
    read_spec,
)
from notifier.definition.names import USERNAME_PATTERN, is_username
from notifier.errors import InputError
from notifier.outcome import Kind
from notifier.validation import validated
from tests.rigs.examples import AT, OFFICE
from tests.rigs.tables import table

SPECS_AS_WRITTEN: list[tuple[Kind, dict[str, Any]]] = [
    (
        "user",
        {
            "on_leave": True,
            "working_time": OFFICE,
            "additional_info": {"github": {"username": "octocat"}, "telegram": [{"id": 1}, {"id": 2}]},
        },
    ),
    ("script", {"executor": "python", "content": "print([])"}),
    ("producer", {"type": "push", "parameters": {"anything": ["is", {"checked": "elsewhere"}]}}),
    ("filter", {"type": "skip_keywords", "parameters": {"skip_keywords": ["draft"]}}),
    ("consumer", {"title": "Chat", "type": "telegram"}),
    (
        "configuration",
        {
            "title": "Reviews",
            "users": ["alice", "Bob.Smith@example.org"],
            "producers": ["ci"],
            "filters": ["no-drafts"],
            "consumers": ["chat"],
            "schedule": {"cron": "*/10 9-18 * * mon-fri", "timezone": "Europe/Moscow", "missed": "all"},
            "template": "{{ message.title }}",
            "enabled": False,
        },
    ),
]


@pytest.mark.predecessor("S-61")
@pytest.mark.parametrize(("kind", "spec"), SPECS_AS_WRITTEN, ids=[kind for kind, _ in SPECS_AS_WRITTEN])
def test_a_spec_is_written_as_it_was_read(kind: Kind, spec: dict[str, Any]) -> None:
    assert read_spec(kind, spec).model_dump(mode="json", exclude_unset=True) == spec
    with pytest.raises(InputError, match=r"^/surprise: is not a field here$"):
        read_spec(kind, {**spec, "surprise": 1})


@pytest.mark.predecessor("S-61")
@table(
    ("not an object", "user", [1], "/: must be an object"),
    (
        "a clock as YAML reads 18:00",
        "user",
        {"working_time": {**OFFICE, "end": 1080}},
        "/working_time/end: must be a time",
    ),
    (
        "a clock with a zone",
        "user",
        {"working_time": {**OFFICE, "start": "09:00Z"}},
        "/working_time/start: must be a time",
    ),
    (
        "a clock after midnight",
        "user",
        {"working_time": {**OFFICE, "end": "24:00"}},
        "/working_time/end: must be a time",
    ),
    ("half a window", "user", {"working_time": {"start": "09:00"}}, "/working_time/end: is required"),
    ("no days", "user", {"working_time": {**OFFICE, "days": []}}, "/working_time/days: needs at least one day"),
    ("another day", "user", {"working_time": {**OFFICE, "days": ["mo"]}}, "/working_time/days/0: must be 'mon', "),
    ("another zone", "user", {"working_time": {**OFFICE, "timezone": "Berlin"}}, "'Berlin' is not a time zone; write"),
    ("a file for a zone", "user", {"working_time": {**OFFICE, "timezone": "../UTC"}}, "'../UTC' is not a time zone"),
    (
        "a world that is a text",
        "user",
        {"additional_info": {"github": "octocat"}},
        "/additional_info: the world 'github'",
    ),
    ("a date in a world", "user", {"additional_info": {"hr": {"since": AT}}}, "/additional_info: cannot be written as"),
    (
        "NaN in a world",
        "user",
        {"additional_info": {"hr": {"n": float("nan")}}},
        "/additional_info: cannot be written as",
    ),
    (
        "a key that is null",
        "user",
        {"additional_info": {"hr": {None: 1}}},
        "/additional_info: cannot be written as JSON",
    ),
    (
        "a lone surrogate",
        "user",
        {"additional_info": {"x": {"a": "\ud800"}}},
        "/additional_info: cannot be written as JSON",
    ),
    ("an empty script", "script", {"content": ""}, "/content: must have at least 1 character"),
    ("a large script", "script", {"content": "ü" * (MAX_SCRIPT_BYTES // 2 + 1)}, "/content: is larger than 256 KiB"),
    ("a program file", "script", {"content": "a\0b"}, "/content: holds a NUL character"),
    ("a script of a mark alone", "script", {"content": "\ufeff"}, "/content: is empty"),
    (
        "python for bash",
        "script",
        {"content": "#!/usr/bin/env python3\nprint()", "executor": "bash"},
        "/content: begins with a line that names 'python3'; write `executor: python`",
    ),
    (
        "bash for python",
        "script",
        {"content": "#!/bin/bash\necho", "executor": "python"},
        "/content: begins with a line that names 'bash'; write `executor: bash`",
    ),
    (
        "node",
        "script",
        {"content": "\ufeff#! /usr/bin/env -S A=1 node --trace\r\nx"},
        "/content: begins with a line that names 'node', which runs no script here; python and bash do",
    ),
    ("python 2", "script", {"content": "#!/usr/bin/python2\nx", "executor": "python"}, "names 'python2'"),
    ("zsh", "script", {"content": "#!/bin/zsh\nx", "executor": "bash"}, "names 'zsh'"),
    (
        "options of bash",
        "script",
        {"content": "#!/bin/bash -eu\nx"},
        "/content: begins with a line that gives bash the options '-eu', which have no effect here",
    ),
    ("another executor", "script", {"content": "x", "executor": "perl"}, "/executor: must be 'python' or 'bash'"),
    ("no type", "consumer", {}, "/type: is required"),
    (
        "a wrong name",
        "configuration",
        {"producers": ["ok", "Not-ok"]},
        "/producers/1: must be 1 to 63 lower-case letters",
    ),
    ("a wrong username", "configuration", {"users": ["a b"]}, "/users/0: must be 1 to 150 letters"),
    ("a name with a line end", "configuration", {"users": ["alice\n"]}, "/users/0: must be 1 to 150 letters"),
    ("a name twice", "configuration", {"filters": ["b", "a", "b"]}, "/filters: b is named twice"),
    ("two names twice", "configuration", {"users": ["b", "a", "b", "a"]}, "/users: a, b are named twice"),
    ("names as one text", "configuration", {"users": "alice"}, "/users: must be a list"),
    (
        "cron of four fields",
        "configuration",
        {"schedule": {"cron": "* * * *"}},
        "five fields, or six with seconds first;",
    ),
    ("cron that is none", "configuration", {"schedule": {"cron": "61 * * * *"}}, "is not a cron expression"),
    ("a nickname", "configuration", {"schedule": {"cron": "@reboot"}}, "/schedule/cron: '@reboot' is not a nickname"),
    ("a date that never comes", "configuration", {"schedule": {"cron": "0 0 30 2 *"}}, "is a date that never comes"),
    ("a time by chance", "configuration", {"schedule": {"cron": "R(0-5) 0 * * *"}}, "leaves a field to chance"),
    ("an hour by chance", "configuration", {"schedule": {"cron": "0 r * * *"}}, "leaves a field to chance"),
    ("cron without end", "configuration", {"schedule": {"cron": ",".join(["1"] * 999) + " * * * *"}}, "is longer than"),
    (
        "another missed",
        "configuration",
        {"schedule": {"cron": "@daily", "missed": "some"}},
        "/schedule/missed: must be",
    ),
    ("too much", "user", {"additional_info": {"x": {"a": "b" * MAX_SPEC_BYTES}}}, "/: is too large: 7000"),
)
def test_a_wrong_spec_is_refused_with_the_name_of_the_field(row: tuple[Kind, Any, str]) -> None:
    kind, spec, text = row
    with pytest.raises(InputError) as caught:
        read_spec(kind, spec)
    (error,) = caught.value.errors
    assert text in str(error)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "executor", "content"),
    [
        ({"content": "set -e\r\nif true; then\r\n  echo\r\nfi\r\n"}, "bash", "set -e\nif true; then\n  echo\nfi\n"),
        ({"content": "set -e\recho"}, "bash", "set -e\necho"),
        ({"content": "\ufeffecho\n"}, "bash", "echo\n"),
        ({"content": "\ufeff#!/usr/bin/env python3\r\nprint()"}, "python", "#!/usr/bin/env python3\nprint()"),
        ({"content": "#!/usr/bin/python3.12 -u\n"}, "python", "#!/usr/bin/python3.12 -u\n"),
        ({"content": "#!/usr/bin/env -S python3 -u\n"}, "python", "#!/usr/bin/env -S python3 -u\n"),
        ({"content": "#!/bin/sh -\n"}, "bash", "#!/bin/sh -\n"),
        ({"content": "#!\n"}, "bash", "#!\n"),
        ({"content": "# python3\n"}, "bash", "# python3\n"),
        ({"content": "print('a\r\nb')\r\n", "executor": "python"}, "python", "print('a\nb')\n"),
    ],
)
def test_a_script_has_the_line_ends_and_the_executor_that_its_text_means(
    written: Any, executor: str, content: str
) -> None:
    spec = read_spec("script", written)
    assert isinstance(spec, ScriptSpec)
    assert (spec.executor, spec.content) == (executor, content)
    # Another executor than the default is stored, so that a later program reads it alike.
    assert spec.model_dump(exclude_defaults=True).get("executor", "bash") == executor


def test_a_stored_script_with_a_first_line_of_another_program_is_read_as_it_is() -> None:
    spec = validated(ScriptSpec, {"content": "#!/usr/bin/perl\r\nx"}, extra="ignore")
    assert (spec.executor, spec.content) == ("bash", "#!/usr/bin/perl\nx")


@pytest.mark.parametrize(
    "cron", ["@hourly", "0 9 * * *", "30 0 9 * * mon", "0 9 1 mar *", "0 9 * apr thu,fri", "0 0 29 2 *", "0 0 L * *"]
)
def test_a_cron_expression_is_taken(cron: str) -> None:
    spec = read_spec("configuration", {"schedule": {"cron": cron}})
    assert isinstance(spec, ConfigurationSpec)
    assert spec.schedule is not None
    assert spec.schedule.cron == cron


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read_spec("configuration", {"users": ["a b"], "schedule": {"cron": "x", "when": 1}, "a/b~c": 1})
    assert [error.pointer for error in caught.value.errors] == [
        "/users/0",
        "/schedule/cron",
        "/schedule/when",
        "/a~1b~0c",
    ]


def test_what_holds_itself_is_refused() -> None:
    world: dict[str, Any] = {}
    world["x"] = {"again": world}
    with pytest.raises(InputError, match="cannot be written as JSON"):
        read_spec("user", {"additional_info": world})


@pytest.mark.predecessor("S-1")
@table(
    ("letters and digits", "configuration", "reviews-2-chat", True),
    ("one letter", "consumer", "a", True),
    ("the longest", "filter", "a" * 63, True),
    ("too long", "filter", "a" * 64, False),
    ("upper case", "filter", "A", False),
    ("a hyphen in front", "filter", "-a", False),
    ("a hyphen at the end", "filter", "a-", False),
    ("a dot", "consumer", "a.b", False),
    ("nothing", "script", "", False),
    ("a line end", "script", "a\n", False),
    ("not a text", "script", 5, False),
    ("a user's signs", "user", "Alice.O-Neil+x_1@example.org", True),
    ("a user's script", "user", "алиса", True),
    ("a user's vowel signs", "user", "अमित", True),
    ("a user's Thai vowels", "user", "สมชาย.ใจดี", True),
    ("a user's accents without letters for them", "user", "q\u0307x", True),
    ("a user's mark without a letter", "user", "\u0301a", False),
    ("a user's joiner", "user", "a\u200db", False),
    ("a user's variation selector", "user", "a\ufe0f", False),
    ("a user's blank", "user", "a b", False),
    ("a user's too many marks", "user", "a" + "\u0301" * 151, False),
    ("a user's longest", "user", "a" * 150, True),
    ("a user's too long", "user", "a" * 151, False),
    ("a user's slash", "user", "a/b", False),
    ("a user's line end", "user", "alice\n", False),
)
def test_check_name(row: tuple[Kind, object, bool]) -> None:
    kind, name, right = row
    if right:
        assert check_name(kind, name) == name
        return
    with pytest.raises(InputError) as caught:
        check_name(kind, name)
    assert caught.value.errors[0].pointer == ("/username" if kind == "user" else "/name")


def test_a_null_executor_is_none() -> None:
    spec = read_spec("script", {"content": "#!/usr/bin/env python3\n", "executor": None})
    assert spec.model_dump()["executor"] == "python"


def test_a_username_is_stored_composed() -> None:
    assert check_name("user", "ju\u0308rgen") == "jürgen"
    assert check_name("user", "a" * 149 + "e\u0301") == "a" * 149 + "é"
    with pytest.raises(InputError, match="named twice"):
        read_spec("configuration", {"users": ["jürgen", "JU\u0308RGEN"]})
    # Two users of an older program, whose names were not the same to it, stay in what it stored.
    stored = {"users": ["İrem", "irem"]}
    assert validated(SPECS["configuration"], stored).model_dump()["users"] == ("İrem", "irem")


def test_the_pattern_of_a_username_takes_what_the_check_takes() -> None:
    for character in map(chr, range(1, 0x3000)):
        taken = re.search(USERNAME_PATTERN, f"a{character}b") is not None
        assert taken or not is_username(f"a{character}b"), repr(character)
        if character.isascii():
            assert taken is is_username(f"a{character}b"), repr(character)


def test_the_schemas_tell_a_form_what_names_look_like() -> None:
    schema = ConfigurationSpec.model_json_schema()["properties"]
    assert schema["producers"]["items"]["pattern"].startswith("^[a-z0-9]")
    assert schema["users"]["items"]["maxLength"] == 150
    assert UserSpec.model_json_schema()["$defs"]["WorkingTimeSpec"]["properties"]["start"]["type"] == "string"


def test_definition_keys() -> None:
    assert [definition_key(kind, "n") for kind in SPECS] == [f"{kind}/n" for kind in SPECS]
