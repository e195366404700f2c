"""Mappings in the router: what is routed and delivered is the message as they make it, by the definitions of that moment."""

import json
from typing import Any

import pytest

from notifier.catalog import Catalog
from notifier.dead_letter import DeadLetter
from notifier.message import MAX_BYTES
from tests.rigs.routed import BEGINNING, Routed, attempts_of, changed, deliveries_of

SPEC = {"users": ["u0", "u1"], "producers": ["p0", "p1"], "filters": ["infra"], "consumers": ["file"]}
TEAMS = {"table": {"key": "service", "rows": {"web": {"labels": {"team": "infra"}, "receiver": "u1"}}}}


def catalog_with(*mappings: tuple[str, dict[str, Any]]) -> Catalog:
    changes = [("configuration", "c0", SPEC), *(("mapping", name, spec) for name, spec in mappings)]
    return changed(BEGINNING, changes, 2)


def told(routed: Routed, **message: Any) -> list[tuple[str | None, dict[str, Any]]]:
    """Who gets a message, and as what."""
    outputs = routed.route({"producer": "p0", "id": "m", "content": "x", **message})
    return [(one.recipient, json.loads(bytes(one.message))) for _, one in deliveries_of(outputs)]


def test_the_filters_the_receiver_and_the_delivery_see_what_is_set() -> None:
    routed = Routed(catalog_with(("teams", TEAMS)))
    message = {"producer": "p0", "id": "m", "content": "x"}
    web = {**message, "labels": {"service": "web", "team": "infra"}, "receiver": "u1", "more": [1.50]}
    assert told(routed, labels={"service": "web"}, receiver="u0", more=[1.50]) == [("u1", web)]
    assert told(routed, labels={"service": "web"}, more=[1.50]) == [("u1", web)]
    assert told(routed, labels={"service": "mail"}) == []
    assert [user for user, _ in told(routed, labels={"team": "infra"}, receiver="u0")] == ["u0"]


def test_only_messages_of_its_producers_are_changed_and_each_change_counts_at_once() -> None:
    routed = Routed(catalog_with(("teams", {**TEAMS, "producers": ["p1"]})))
    message = {"labels": {"service": "web"}, "receiver": "u0"}
    assert told(routed, **message) == []
    assert [user for user, _ in told(routed, producer="p1", **message)] == ["u1"]
    routed.router._use(changed(routed.router._matcher.catalog, [("mapping", "teams", TEAMS)], 3))
    assert [user for user, _ in told(routed, **message)] == ["u1"]
    routed.router._use(changed(routed.router._matcher.catalog, [("mapping", "teams", None)], 4))
    assert told(routed, producer="p1", **message) == []


def test_a_receiver_that_nobody_knows_is_told_as_of_any_message() -> None:
    routed = Routed(catalog_with(("lost", {"set": {"receiver": "stranger"}})))
    (attempt,) = attempts_of(routed.route({"producer": "p0", "content": "x", "receiver": "u0"}))
    assert attempt.reason == "unknown_receiver"


@pytest.mark.parametrize("more", [{}, {"title": None, "labels": None}])
def test_a_message_that_becomes_too_large_is_a_dead_letter_as_it_was_written(more: dict[str, Any]) -> None:
    routed = Routed(catalog_with(("long", {"set": {"title": "t" * 900}})))
    message = {"producer": "p0", "id": "m", "content": "x" * (MAX_BYTES - 500), **more}
    outputs = routed.route(message)
    assert outputs.keys() == {"dead_letters"}
    (letter,) = map(DeadLetter.decode, outputs["dead_letters"])
    assert letter.reason == "too_large"
    assert "set by long" in letter.error
    assert told(routed, id="n", labels={"team": "infra"}, receiver="u0")


def test_a_mapping_that_cannot_be_used_changes_nothing_and_is_named() -> None:
    catalog = catalog_with(("teams", {"set": {"severity": "fatal"}}))
    assert catalog.problems["mapping/teams"].startswith("/set/severity")
    assert [user for user, _ in told(Routed(catalog), labels={"team": "infra"}, receiver="u0")] == ["u0"]
