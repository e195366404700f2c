"""Groups: among a configuration's users and as the receiver of a message. That the compiled form agrees with the plain one,
whatever is defined, is `test_matcher`'s."""

from typing import Any

import pytest

from notifier.catalog import Catalog
from notifier.record import JsonObject
from tests.rigs.routed import BEGINNING, Routed, attempts_of, changed, deliveries_of

SPEC: JsonObject = {
    "users": ["u0", "group:ops"],
    "producers": ["p0", "hub"],
    "filters": ["exists"],
    "consumers": ["file"],
}
OPS: JsonObject = {"members": ["u0", "u1"], "additional_info": {"github": {"username": "My-Org/Ops-Team"}}}


def _catalog(*changes: tuple[str, str, Any]) -> Catalog:
    return changed(BEGINNING, [("group", "ops", OPS), ("configuration", "c0", SPEC), *changes], 2)


def _recipients(routed: Routed, receiver: str | None = None, producer: str = "p0") -> dict[str, list[str | None]]:
    message = {"producer": producer, "id": "1", "content": "x", **({} if receiver is None else {"receiver": receiver})}
    found: dict[str, list[str | None]] = {}
    for (configuration, _, recipient), delivery in deliveries_of(routed.route(message)):
        assert delivery.id == f"{producer}/1/{configuration}/file/{recipient or '*'}"
        found.setdefault(configuration, []).append(recipient)
    return found


@pytest.mark.parametrize(
    ("receiver", "producer"),
    [("group:ops", "p0"), ("GROUP:Ops", "hub"), ("my-org/ops-team", "hub")],
)
def test_a_message_for_a_group_goes_to_each_member_once(receiver: str, producer: str) -> None:
    routed = Routed(_catalog(("user", "u0", {"additional_info": {"github": {"username": "octocat"}}})))
    assert _recipients(routed, receiver, producer) == {"c0": ["u0", "u1"]}
    assert routed.counts() == {}


def test_each_member_is_judged_as_a_receiver() -> None:
    only_u1 = {**SPEC, "users": ["u1"]}
    routed = Routed(_catalog(("configuration", "c1", only_u1), ("configuration", "c2", {**only_u1, "filters": []})))
    assert _recipients(routed, "group:ops") == {"c0": ["u0", "u1"], "c1": ["u1"], "c2": ["u0", "u1"]}
    assert routed.counts() == {("c1", "filtered"): 1}


def test_a_message_for_everyone_goes_to_the_members_too() -> None:
    direct = {**SPEC, "consumers": ["direct"]}
    users = [("user", f"u{number}", {"additional_info": {"chat": {"id": number}}}) for number in range(3)]
    routed = Routed(_catalog(("configuration", "c0", direct), *users))
    found = deliveries_of(routed.route({"producer": "p0", "content": "x"}))
    assert sorted(recipient or "" for (_, _, recipient), _ in found) == ["u0", "u1"]


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"members": []}, "the group ops has no members"),
        ({"members": ["gone"]}, "the group ops has no members"),
        (None, "there is no group 'ops'"),
        ({"members": 7}, "the group 'ops' cannot be used: "),
    ],
)
def test_a_group_of_nobody_is_told_so(group: Any, words: str) -> None:
    routed = Routed(_catalog(("group", "ops", group)))
    (attempt,) = attempts_of(routed.route({"producer": "p0", "receiver": "group:ops", "content": "x"}))
    assert (attempt.outcome, attempt.reason) == ("suppressed", "unknown_receiver")
    assert (attempt.detail or "").startswith(words)


@pytest.mark.parametrize("group", [{"members": []}, None, {"members": 7}])
def test_a_configuration_of_a_group_without_members_is_not_one_for_everyone(group: Any) -> None:
    spec = {**SPEC, "users": ["group:ops"], "filters": []}
    routed = Routed(_catalog(("group", "ops", group), ("configuration", "c0", spec)))
    (attempt,) = attempts_of(routed.route({"producer": "p0", "content": "x"}))
    assert (attempt.reason, attempt.recipient) == ("unknown_receiver", None)
    assert routed.counts() == {("c0", "unknown_receiver"): 1}


def test_a_group_nobody_of_whom_gets_a_message_has_one_attempt() -> None:
    routed = Routed(_catalog(("configuration", "c0", {**SPEC, "users": ["u2"]})))
    (attempt,) = attempts_of(routed.route({"producer": "p0", "receiver": "group:ops", "content": "x"}))
    assert (attempt.reason, attempt.recipient, attempt.detail) == ("filtered", None, "c0: exists")
    assert routed.counts() == {("c0", "filtered"): 2}


def test_a_name_of_a_user_and_a_group_is_ambiguous() -> None:
    info = {"additional_info": {"github": {"username": "my-org/ops-team"}}}
    routed = Routed(_catalog(("user", "u3", info)))
    (attempt,) = attempts_of(routed.route({"producer": "hub", "receiver": "my-org/ops-team", "content": "x"}))
    assert attempt.reason == "ambiguous_receiver"
    assert attempt.detail == "'my-org/ops-team' in the world 'github' may be group:ops, u3"


def test_a_changed_group_counts_at_once_and_compiles_only_what_names_it() -> None:
    catalog = _catalog(*(("configuration", f"other-{number}", {**SPEC, "users": ["u2"]}) for number in range(20)))
    routed = Routed(catalog)
    before = dict(routed.router._matcher._routes)
    catalog = changed(catalog, [("group", "ops", {"members": ["u1", "u3"]})], 3)
    routed.router._use(catalog)
    after = routed.router._matcher._routes
    assert {name for name in after if after[name] is not before[name]} == {"c0"}
    assert _recipients(routed, "group:ops")["c0"] == ["u1", "u3"]
    assert _recipients(routed, "u3") == {"c0": ["u3"]}
    assert catalog.configurations["c0"].usernames == ("u0", "u1", "u3")
    assert catalog.configurations["c0"].version == 2
