"""Mappings: which messages they change, what they set, and that everything else stays as it was written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.definition import MappingSpec, read_spec
from notifier.errors import InputError, RecordError, RecordTooLarge
from notifier.mapping import MessageMapping, applied, mapped
from notifier.message import MAX_BYTES, Message

OWNERS = {
    "matchers": ["env=prod"],
    "set": {"severity": "error", "labels": {"team": "ops"}},
    "table": {
        "key": "service",
        "rows": {
            "billing": {"labels": {"team": "payments"}, "receiver": "alice"},
            "search": {"severity": "critical", "title": "Search"},
            "": {"title": "Of no service"},
        },
    },
}


def mapping(spec: dict[str, Any], name: str = "owners") -> MessageMapping:
    read = read_spec("mapping", spec)
    assert isinstance(read, MappingSpec)
    return MessageMapping.of(name, read)


def message(**fields: Any) -> tuple[Message, bytes]:
    value = json.dumps({"producer": "ci", "content": "x", **fields}, ensure_ascii=False).encode()
    return Message.decode(value), value


CASES: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("does not match", {"service": "billing"}, {"labels": {"service": "billing"}}),
    (
        "by the row",
        {"env": "prod", "service": "billing"},
        {"labels": {"env": "prod", "service": "billing", "team": "payments"}, "severity": "error", "receiver": "alice"},
    ),
    (
        "the row goes before what is set of all",
        {"env": "prod", "service": "search", "team": "web"},
        {"labels": {"env": "prod", "service": "search", "team": "ops"}, "severity": "critical", "title": "Search"},
    ),
    (
        "no row",
        {"env": "prod", "service": "mail"},
        {"labels": {"env": "prod", "service": "mail", "team": "ops"}, "severity": "error"},
    ),
    (
        "a missing label is empty",
        {"env": "prod"},
        {"labels": {"env": "prod", "team": "ops"}, "severity": "error", "title": "Of no service"},
    ),
]


@pytest.mark.parametrize(("labels", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_set(labels: dict[str, str], expected: dict[str, Any]) -> None:
    # Unknown fields, and numbers that Python would write otherwise, stay as they are.
    before, value = message(labels=labels)
    value = value[:-1] + b', "x": {"big": 1e400, "n": 1.10}, "nul": null}'
    after, written = mapped((mapping(OWNERS),), Message.decode(value), value)
    assert Message.decode(written) == after
    found = {name: getattr(after, name) for name in ("labels", "severity", "receiver", "title")}
    assert {name: one for name, one in found.items() if one is not None} == expected
    if expected == {"labels": labels}:
        assert written is value
    else:
        assert b'"x":{"big": 1e400, "n": 1.10},"nul":null' in written
    assert (after.producer, after.content, after.id) == (before.producer, before.content, before.id)


def test_each_mapping_sees_what_those_before_it_have_set_and_the_steps_are_told() -> None:
    first = mapping({"matchers": ["team=a"], "set": {"labels": {"team": "b", "n": "1\n2"}}}, "first")
    second = mapping({"matchers": ["team=b"], "set": {"labels": {"team": "c"}, "receiver": "bob"}}, "second")
    same = mapping({"set": {"labels": {"team": "c"}}}, "same")
    before, _ = message(labels={"team": "a"}, receiver="alice")
    after, steps = applied((first, second, same), before)
    assert (after.labels, after.receiver) == ({"team": "c", "n": "1\n2"}, "bob")
    assert [(step.mapping, step.values()) for step in steps] == [
        ("first", {"labels.team": "b", "labels.n": "1\n2"}),
        ("second", {"labels.team": "c", "receiver": "bob"}),
    ]
    assert [step.words() for step in steps] == ["team=b, n=1 2", "team=c, receiver=bob"]
    assert applied((second,), before) == (before, [])


def test_what_is_told_has_an_end() -> None:
    many = mapping({"set": {"labels": {f"l{number}": "x" * 500 for number in range(100)}}})
    (step,) = applied((many,), message()[0])[1]
    assert len(step.words()) < 1200
    assert step.words().endswith(" and 90 more")


def test_a_message_that_becomes_too_large_is_refused() -> None:
    large = mapping({"set": {"title": "t" * 500}})
    before, value = message(content="x" * (MAX_BYTES - 200))
    with pytest.raises(RecordTooLarge, match="set by owners"):
        mapped((large,), before, value)


def test_odd_json_is_taken_or_refused_as_a_record() -> None:
    loud = mapping({"set": {"severity": "error"}})
    for value in (
        b'{"producer":"ci","content":"x","severity":"info","severity":"debug"}',
        b'{"producer":"ci","content":"x","s\\u0065verity":null}',
        '{"producer":"ci","content":"é","labels":{}}'.encode(),
        b' {"producer" : "ci", "content":"x" } ',
    ):
        after, written = mapped((loud,), Message.decode(value), value)
        assert json.loads(written)["severity"] == "error"
        assert Message.decode(written) == after
    value = b'{"producer":"ci","content":"x","\\ud83d":1}'
    try:
        before = Message.decode(value)
    except RecordError:
        return
    try:
        mapped((loud,), before, value)
    except RecordError:
        pass


_TEXT = st.sampled_from(["", "a", "b", "infra"])
_SETS = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(st.sampled_from("abc"), _TEXT, max_size=2),
        "severity": st.sampled_from(["info", "error", None]),
        "title": _TEXT,
        "receiver": st.sampled_from(["alice", "u0", None]),
    },
)
_SPECS = st.fixed_dictionaries(
    {
        "set": _SETS,
        "table": st.fixed_dictionaries({"key": st.sampled_from("abc"), "rows": st.dictionaries(_TEXT, _SETS)}),
    },
    optional={"matchers": st.lists(st.sampled_from(["a=a", "b!=b", "c=~a|b", "a!~inf.*"]), max_size=2)},
)


@given(specs=st.lists(_SPECS, max_size=4), labels=st.dictionaries(st.sampled_from("abcd"), _TEXT))
def test_the_json_says_what_the_message_is(specs: list[dict[str, Any]], labels: dict[str, str]) -> None:
    before, value = message(labels=labels, severity="debug", more=[1])
    mappings = [mapping(spec, f"m{number}") for number, spec in enumerate(specs)]
    after, written = mapped(mappings, before, value)
    assert Message.decode(written) == after
    assert json.loads(written)["more"] == [1]
    steps = applied(mappings, before)[1]
    assert all(step.values() for step in steps)
    assert (written is value) is (not steps)


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({}, ""),
        ({"set": {}}, ""),
        ({"set": {"labels": {"": "x"}}}, "/set/labels/"),
        ({"set": {"labels": {"a": "\ud800"}}}, "/set/labels/a"),
        ({"set": {"receiver": ""}}, "/set/receiver"),
        ({"set": {"severity": "fatal"}}, "/set/severity"),
        ({"set": {"title": "x"}, "matchers": ["a"]}, "/matchers/0"),
        ({"set": {"title": "x"}, "order": 2_000_000}, "/order"),
        ({"table": {"key": "a", "rows": {"b": {"labels": 7}}}}, "/table/rows/b/labels"),
        ({"table": {"key": "a"}}, "/table/rows"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(spec: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InputError) as refused:
        mapping(spec)
    assert [one.pointer.replace("[key]", "") for one in refused.value.errors] == [pointer]


def test_null_is_absent() -> None:
    spec = {"set": {"labels": {"a": None, "b": "c"}, "title": None}, "matchers": None, "table": None, "order": None}
    assert mapping(spec) == mapping({"set": {"labels": {"b": "c"}}})
