"""All definitions at one revision."""

import logging
from datetime import time
from typing import Any

import pytest

from notifier.catalog import Catalog
from notifier.definition import (
    Definition,
)
from notifier.errors import NotifierError
from notifier.outcome import Kind
from notifier.seal import Seal, generate_key
from notifier.working_time import WorkingTime
from tests.rigs.examples import OFFICE
from tests.rigs.plugins import REGISTRY, Nothing, Push


def _definition(kind: Kind, name: str, revision: int, spec: dict[str, Any]) -> tuple[Kind, str, Definition]:
    # By way of the wire, as the catalog gets them.
    data = Definition(kind=kind, name=name, revision=revision, spec=spec).encode()
    return kind, name, Definition.decode(data)


def test_a_catalog_holds_what_is_defined() -> None:
    seal = Seal(generate_key())
    catalog = Catalog(registry=REGISTRY, seal=seal).with_changes(
        [
            _definition("user", "alice", 1, {"working_time": OFFICE, "additional_info": {"github": {"username": "o"}}}),
            _definition("script", "s", 2, {"content": "df"}),
            _definition("producer", "ci", 2, {"type": "push"}),
            _definition("filter", "f", 3, {"type": "nothing"}),
            _definition(
                "consumer",
                "chat",
                3,
                {"type": "chat", "parameters": {"token": seal.close("t0ken", "consumer/chat/token")}},
            ),
            _definition("configuration", "b", 4, {"producers": ["ci"], "users": ["alice"]}),
            _definition("configuration", "a", 5, {"producers": ["ci", "other"]}),
            _definition("configuration", "off", 5, {"producers": ["ci"], "enabled": False}),
        ]
    )
    assert catalog.revision == 5
    assert not catalog.problems
    assert catalog.directory.world("github")["o"] == catalog.users["alice"]
    working_time = catalog.users["alice"].working_time
    assert working_time == WorkingTime(
        start=time(9), end=time(18), days=frozenset({"mon", "fri"}), timezone="Europe/Berlin"
    )
    assert (catalog.script("s").executor, catalog.script("s").content) == ("bash", "df")
    assert isinstance(catalog.producers["ci"], Push)
    assert isinstance(catalog.filters["f"], Nothing)
    assert catalog.consumers["chat"].parameters.token.get_secret_value() == "t0ken"
    assert [c.name for c in catalog.by_producer["ci"]] == ["a", "b"]
    assert [c.version for c in catalog.by_producer["other"]] == [5]
    assert catalog.configurations["b"].users == {"alice"}
    assert "t0ken" not in repr(catalog)
    with pytest.raises(NotifierError, match=r"there is no script 'x' \(known: s\)"):
        catalog.script("x")


def test_a_change_makes_a_new_catalog_that_shares_what_did_not_change() -> None:
    first = Catalog(registry=REGISTRY).with_changes(
        [_definition("filter", "f", 1, {"type": "nothing"}), _definition("filter", "g", 1, {"type": "nothing"})]
    )
    directory = first.directory
    second = first.with_changes(
        [_definition("filter", "f", 2, {"type": "nothing", "parameters": {"negate": True}}), ("filter", "g", None)]
    )
    assert second.filters["f"].parameters.negate
    assert set(second.filters) == {"f"}
    assert not first.filters["f"].parameters.negate
    assert set(first.filters) == {"f", "g"}
    assert second.directory is directory
    third = second.with_changes([_definition("user", "alice", 3, {})])
    assert third.filters["f"] is second.filters["f"]
    assert third.directory.world("default")["alice"] is third.users["alice"]
    assert "alice" not in directory.world("default")


def test_fields_of_a_newer_writer_are_passed_over_at_any_depth() -> None:
    catalog = Catalog(registry=REGISTRY).with_changes(
        [
            _definition("user", "alice", 1, {"working_time": {**OFFICE, "lunch": "12:00"}, "colour": "red"}),
            _definition("filter", "f", 1, {"type": "nothing", "parameters": {"later": 1, "negate": True}, "when": {}}),
            _definition("configuration", "c", 1, {"schedule": {"cron": "@daily", "jitter_s": 5}, "silenced": True}),
        ]
    )
    assert not catalog.problems
    assert catalog.users["alice"].working_time is not None
    assert catalog.filters["f"].parameters.negate
    assert catalog.configurations["c"].spec.schedule is not None


@pytest.mark.parametrize(
    ("parameters", "passes"),
    [
        ({"on_error": "pass"}, True),
        ({"on_error": "pass", "negate": "perhaps"}, True),
        ({"on_error": "dead_letter"}, False),
        ({"on_error": "Pass"}, False),
        ({"on_error": ["pass"]}, False),
        ({}, False),
        ("pass", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("type_", ["gone", "clumsy", 7])
def test_a_filter_that_cannot_be_used_passes_only_where_it_says_so(parameters: Any, passes: bool, type_: Any) -> None:
    broken = _definition("filter", "f", 1, {"type": type_, "parameters": parameters})
    catalog = Catalog(registry=REGISTRY).with_changes([broken])
    assert catalog.problems.keys() == {"filter/f"}
    assert catalog.pass_on_error == ({"f"} if passes else set())
    assert catalog.with_changes([_definition("user", "alice", 2, {})]).pass_on_error == catalog.pass_on_error
    assert not catalog.with_changes([("filter", "f", None)]).pass_on_error
    mended = catalog.with_changes([_definition("filter", "f", 2, {"type": "nothing"})])
    assert not mended.pass_on_error


def test_a_definition_that_cannot_be_used_is_a_problem_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    seal = Seal(generate_key())
    elsewhere = Seal(generate_key()).close("t", "consumer/moved/token")
    working = _definition("filter", "changed", 1, {"type": "nothing"})
    catalog = Catalog(registry=REGISTRY, seal=seal).with_changes([working])
    with caplog.at_level(logging.ERROR):
        catalog = catalog.with_changes(
            [
                _definition("user", "alice", 2, {"working_time": {"start": "9", "end": "18:00"}}),
                _definition("filter", "changed", 2, {"type": "gone"}),
                _definition("filter", "clumsy", 2, {"type": "clumsy"}),
                _definition("consumer", "moved", 2, {"type": "chat", "parameters": {"token": elsewhere}}),
                _definition("consumer", "open", 2, {"type": "chat", "parameters": {"token": "in clear"}}),
                _definition("consumer", "bare", 2, {"type": "chat"}),
                _definition("configuration", "fine", 2, {}),
            ]
        )
    assert set(catalog.configurations) == {"fine"}
    assert not catalog.users
    assert not catalog.filters
    assert not catalog.consumers
    assert catalog.problems.keys() == {
        "user/alice",
        "filter/changed",
        "filter/clumsy",
        "consumer/moved",
        "consumer/open",
        "consumer/bare",
    }
    assert catalog.problems["user/alice"].startswith("/working_time/start: must be a time of day")
    assert catalog.problems["filter/changed"].startswith("/type: there is no filter type 'gone'")
    assert catalog.problems["filter/clumsy"] == "/parameters: the plugin failed: KeyError: 'oops'"
    assert "which is not here" in catalog.problems["consumer/moved"]
    assert catalog.problems["consumer/open"] == "the secret of consumer/open/token is not sealed"
    assert catalog.problems["consumer/bare"] == "/parameters/token: is required"
    assert all("\n" not in problem for problem in catalog.problems.values())
    assert "in clear" not in caplog.text
    mended = catalog.with_changes([working, ("filter", "clumsy", None)])
    assert set(mended.filters) == {"changed"}
    assert not {"filter/changed", "filter/clumsy"} & mended.problems.keys()
