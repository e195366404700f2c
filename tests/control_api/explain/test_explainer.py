"""An explanation says what the router does, in sentences that are true."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.text.template import Renderer
from control_api.access.teams import Hidden
from control_api.explain.explainer import Explained, Question, explain
from control_api.explain.explanation import ConfigurationExplanation, RecipientExplanation
from control_api.explain.rendering import Rendering
from control_api.explain.ways import Told
from notifier.catalog import Catalog
from notifier.message import MAX_BYTES, read_message
from tests.rigs.routed import (
    BEGINNING,
    CHANGES,
    MESSAGES,
    NOW,
    TIMESTAMP,
    Routed,
    attempts_of,
    changed,
    deliveries_of,
    failures_of,
)


def asked(catalog: Catalog, message: dict[str, Any], offset: int = 0, age_s: float = 0, **more: Any) -> Explained:
    """What is explained of a message."""
    read, value = read_message(json.dumps(message).encode())
    id_ = read.id or f"3-{offset}-{TIMESTAMP - int(age_s * 1000)}"
    told = Told(message=read, value=value, id=id_, written_at=NOW - timedelta(seconds=age_s))
    return explain(catalog, Question(**{"told": told, "at": NOW, **more}))


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.router.router.now", lambda: NOW)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    rounds=st.lists(st.tuples(CHANGES, st.lists(MESSAGES, min_size=1, max_size=12)), min_size=1, max_size=3),
    age_s=st.sampled_from([0, 0, 1, 60, 100]),
)
def test_an_explanation_says_what_the_router_does(rounds: list[tuple[Any, list[dict[str, Any]]]], age_s: int) -> None:
    catalog = BEGINNING
    routed = Routed(catalog)
    for revision, (changes, messages) in enumerate(rounds, start=2):
        catalog = changed(catalog, changes, revision)
        routed.router._use(catalog)
        for message in messages:
            outputs = routed.route(message, age_s=age_s)
            explained = asked(catalog, message, routed.offset - 1, age_s)
            _check(explained, outputs)
            _check_in_short(catalog, message, explained, age_s)


def _check(explained: Explained, outputs: dict[str, list[bytes]]) -> None:
    """Deliveries, refusals and dead letters are those of the explanation, with their reasons, lanes and addresses."""
    made = dict(deliveries_of(outputs))
    attempts = attempts_of(outputs)
    explanation = explained.explanation
    told = {
        (
            part.configuration,
            consumer.consumer,
            None if _is_of_all(made, part, consumer) else recipient.recipient,
        ): consumer
        for part in explanation.configurations
        for recipient in part.recipients
        for consumer in recipient.consumers
    }
    delivered = {key: each for key, each in told.items() if each.verdict == "delivered"}
    assert set(delivered) == set(made)
    for key, each in delivered.items():
        assert (each.lane, each.address) == (made[key].lane, made[key].address)
    sent = {sending.delivery.id: sending.delivery for sending in explained.sendings}
    assert {id_: delivery.configuration_version for id_, delivery in sent.items()} == {
        delivery.id: delivery.configuration_version for delivery in made.values()
    }
    for delivery in made.values():
        found = sent[delivery.id]
        assert (found.sender, found.receiver, found.recipients) == (
            delivery.sender,
            delivery.receiver,
            delivery.recipients,
        )
        assert json.loads(bytes(found.message)) == json.loads(bytes(delivery.message))
        assert (found.not_before, found.expires_at) == (delivery.not_before, delivery.expires_at)
    refused = {
        (part.configuration, each.consumer, each.reason, each.text)
        for part in explanation.configurations
        for recipient in part.recipients
        for each in recipient.consumers
        if each.verdict != "delivered"
    }
    assert refused == {
        (attempt.configuration, attempt.consumer, attempt.reason, attempt.detail)
        for attempt in attempts
        if attempt.consumer
    }
    failed = {part.configuration: part.reason for part in explanation.configurations if part.verdict == "failed"}
    assert failed == {name: letter.reason for name, letter in failures_of(outputs).items()}
    if explanation.reason != "ok":
        letters = [json.loads(value) for value in outputs.get("dead_letters", [])]
        assert explanation.reason in [*[each["reason"] for each in letters], *[each.reason for each in attempts]]
    elif not made and not refused and not failed:
        (attempt,) = attempts
        recipients = [each for part in explanation.configurations for each in part.recipients]
        reasons = {each.reason for each in recipients if each.verdict == "dropped"}
        assert attempt.reason == (reasons.pop() if len(reasons) == 1 else "filtered")


def _check_in_short(catalog: Catalog, message: dict[str, Any], explained: Explained, age_s: int) -> None:
    """What is said of all is the same where nobody is shown, and what is said of one is the same where one is asked about."""
    whole = explained.explanation
    short = asked(catalog, message, age_s=age_s, shown=0).explanation
    assert (short.text, short.reason) == (whole.text, whole.reason)
    for part, other in zip(whole.configurations, short.configurations, strict=True):
        assert (other.verdict, other.reason, other.text) == (part.verdict, part.reason, part.text)
        assert (other.recipients, other.omitted) == ([], len(part.recipients))
    for username in catalog.users if whole.reason == "ok" else ():
        one = asked(catalog, message, age_s=age_s, receiver=username).explanation
        for part, other in zip(whole.configurations, one.configurations, strict=True):
            same = [recipient for recipient in part.recipients if recipient.recipient == username]
            assert same in (other.recipients, []) or part.verdict == "not_considered"
            assert same or [recipient.verdict for recipient in other.recipients] in (["not_addressed"], [])


def _is_of_all(made: Any, part: ConfigurationExplanation, consumer: Any) -> bool:
    """Whether a consumer's entry tells of the one delivery to everyone."""
    return (part.configuration, consumer.consumer, None) in made


@pytest.mark.parametrize(
    ("message", "age_s", "made"),
    [
        ({}, 59, ["direct", "file", "room"]),
        ({}, 60, ["direct", "room"]),  # the consumer's lifetime
        ({}, 99.999, ["direct", "room"]),
        ({}, 100, []),  # the configuration's
        ({"expires_at": "2026-11-26T13:07:00+03:00"}, 0, []),  # at that very moment
        ({"expires_at": "2026-11-26T10:07:00.000001Z"}, 0, ["direct", "file", "room"]),
        ({"expires_at": "2030-01-01T00:00:00Z"}, 60, ["direct", "room"]),  # the earliest counts
        ({"expires_at": ""}, 60, ["direct", "room"]),
        ({}, -5, ["direct", "file", "room"]),  # by a clock that is ahead
    ],
)
@pytest.mark.parametrize("receiver", [{"receiver": "u0"}, {}])
def test_a_message_that_has_expired_makes_no_delivery(
    message: dict[str, Any], age_s: float, made: list[str], receiver: dict[str, str]
) -> None:
    spec = {"users": ["u0", "u1"], "producers": ["p0"], "consumers": ["room", "file", "direct"], "ttl_s": 100}
    catalog = changed(
        BEGINNING,
        [
            ("user", "u0", {"additional_info": {"chat": {"id": 1}}}),
            ("user", "u1", {"additional_info": {"chat": {"id": 2}}}),
            ("configuration", "c0", spec),
            ("consumer", "file", {"type": "file", "retry": {"ttl_s": 60}}),
        ],
        2,
    )
    message = {"producer": "p0", "content": "x", **receiver, **message}
    outputs = Routed(catalog).route(message, age_s=age_s)
    assert sorted({consumer for (_, consumer, _), _ in deliveries_of(outputs)}) == made
    expired = {attempt.consumer or "" for attempt in attempts_of(outputs) if attempt.reason == "expired"}
    assert sorted(expired) == sorted({"direct", "file", "room"} - set(made))
    _check(asked(catalog, message, age_s=age_s), outputs)


def test_an_explanation_names_the_fallback() -> None:
    catalog = changed(
        BEGINNING,
        [
            ("configuration", "c0", {"users": ["u0"], "producers": ["p0"], "consumers": ["file"]}),
            ("consumer", "file", {"type": "file", "fallback": "room"}),
        ],
        2,
    )
    message = {"producer": "p0", "content": "x"}
    for hidden, text in (
        (Hidden(), "; what it does not take goes to room"),
        (Hidden({"consumer": frozenset(["room"])}), ""),
    ):
        (part,) = asked(catalog, message, hidden=hidden).explanation.configurations
        (recipient,) = part.recipients
        assert [each.text for each in recipient.consumers] == [f"file gets it once, for u0{text}"]


# --- sentences ---

SPEC = {"users": ["u0", "u1"], "producers": ["p0"], "filters": ["exists", "at-work"], "consumers": ["file"]}


def _defined(*changes: tuple[str, str, Any]) -> Catalog:
    return changed(BEGINNING, [("configuration", "builds", SPEC), *changes], 2)


def _only(explained: Explained) -> RecipientExplanation:
    (part,) = explained.explanation.configurations
    (recipient,) = part.recipients
    return recipient


MESSAGE = {"producer": "p0", "receiver": "u0", "content": "failed"}
ON_LEAVE = ("user", "u0", {"on_leave": True})


@pytest.mark.parametrize(
    ("ago", "since"),
    [
        (None, ""),
        (timedelta(hours=1), " since 09:07"),
        (timedelta(days=3), " since Monday"),
        (timedelta(days=8), " since 18 November 2026"),
    ],
)
def test_a_leave_is_said_with_its_beginning_where_that_is_known(ago: timedelta | None, since: str) -> None:
    leaves: dict[str, datetime] = {} if ago is None else {"u0": NOW - ago}
    explained = asked(_defined(ON_LEAVE), MESSAGE, past=True, leaves=leaves)
    text = f"u0 did not get it: builds dropped it, because at-work says that u0 is on leave{since}."
    assert explained.explanation.text == text
    recipient = _only(explained)
    assert (recipient.verdict, recipient.reason, recipient.consumers) == ("dropped", "on_leave", [])
    assert [(step.filter, step.verdict, step.reason) for step in recipient.steps] == [
        ("exists", "passed", "ok"),
        ("at-work", "dropped", "on_leave"),
    ]


def test_what_was_not_decided_yet_is_said_so() -> None:
    assert asked(_defined(ON_LEAVE), MESSAGE).explanation.text == (
        "u0 would not get it: builds would drop it, because at-work says that u0 is on leave."
    )
    assert asked(_defined(), MESSAGE).explanation.text == "builds would pass it on to file for u0."


def test_who_is_dropped_beside_others_is_explained_too() -> None:
    explained = asked(_defined(ON_LEAVE), {"producer": "p0", "content": "failed"}, past=True)
    (part,) = explained.explanation.configurations
    assert {each.recipient: each.verdict for each in part.recipients} == {"u0": "dropped", "u1": "passed"}
    assert part.verdict == "delivered"
    assert part.text == (
        "builds passed it on to file for u1. "
        "u0 did not get it: builds dropped it, because at-work says that u0 is on leave."
    )


@pytest.mark.parametrize(
    ("message", "more", "text"),
    [
        ({"producer": "ci", "content": "x"}, {}, "Nobody got it: there is no producer 'ci'."),
        ({**MESSAGE, "receiver": "bob"}, {}, "Nobody got it: nobody is called 'bob' in the world 'default'."),
        (
            {**MESSAGE, "producer": "p1"},
            {},
            "Nobody got it: no enabled configuration considers messages of the producer p1.",
        ),
        (MESSAGE, {"receiver": "u1"}, "u1 did not get it by builds: the message is for u0."),
        (MESSAGE, {"receiver": "bob"}, "bob did not get it by builds: there is no user 'bob'."),
        (MESSAGE, {"configuration": "off"}, "Nobody got it by off: off is switched off."),
        (MESSAGE, {"configuration": "gone"}, "Nobody got it by gone: there is no configuration 'gone'."),
    ],
)
def test_what_is_in_the_way_is_named(message: dict[str, Any], more: dict[str, Any], text: str) -> None:
    catalog = _defined(("configuration", "off", {**SPEC, "enabled": False}))
    assert asked(catalog, message, past=True, **more).explanation.text == text


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([], "the group ops has no members"),
        ("nonsense", "the group 'ops' cannot be used: "),
        (None, "there is no group 'ops'"),
    ],
)
def test_a_group_that_tells_nobody_is_named_as_a_group(members: Any, why: str) -> None:
    group = None if members is None else {"members": members}
    catalog = _defined(("group", "ops", group), ("configuration", "builds", {**SPEC, "users": ["group:ops"]}))
    explained = asked(catalog, {"producer": "p0", "content": "x"}, past=True)
    assert explained.explanation.text.startswith(f"group:ops did not get it by builds: {why}")


def test_many_recipients_are_counted_and_not_all_shown() -> None:
    names = [f"many{number}" for number in range(1100)]
    spec = {"users": names, "producers": ["p0"], "consumers": ["direct", "file"]}
    catalog = changed(
        BEGINNING,
        [
            *(("user", name, {"additional_info": {"chat": {"id": 1}}}) for name in names),
            *(("configuration", f"many{number}", spec) for number in range(5)),
        ],
        2,
    )
    explained = asked(catalog, {"producer": "p0", "content": "x"}, past=True)
    parts = [part for part in explained.explanation.configurations if part.configuration.startswith("many")]
    assert [(len(part.recipients), part.omitted) for part in parts] == [(500, 600)] * 4 + [(0, 1100)]
    assert len({sending.delivery.id for sending in explained.sendings}) == 50
    for part in parts:
        people = ", ".join(names[:5])
        text = f"{part.configuration} passed it on to direct and file for {people} and 1095 more."
        assert (part.verdict, part.text) == ("delivered", text)


@pytest.mark.parametrize(
    ("template", "rendered", "said"),
    [
        ("{{ message.content }} for {{ receiver }}", "failed for u0", ""),
        (None, "From u1 to u0: failed", ""),
        ("{{ message.no_such }}", "From u1 to u0: failed", "; its template fails, so the default text is taken: "),
    ],
)
async def test_the_text_is_what_the_consumer_sends(template: str | None, rendered: str, said: str) -> None:
    spec = {**SPEC, "template": template}
    catalog = _defined(("configuration", "builds", spec))
    explained = asked(catalog, {**MESSAGE, "sender": "u1"})
    renderer = Renderer()
    try:
        await Rendering(renderer).render(explained, catalog)
    finally:
        await renderer.close()
    (consumer,) = _only(explained).consumers
    assert consumer.rendered == rendered
    assert consumer.text.startswith(f"file gets it for u0{said}")


async def test_a_template_that_was_ended_is_not_tried_again() -> None:
    endless = "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}x"
    spec = {**SPEC, "filters": [], "template": endless}
    catalog = _defined(("configuration", "builds", spec))
    renderer = Renderer()
    rendering = Rendering(renderer)
    try:
        explained = asked(catalog, MESSAGE)
        await rendering.render(explained, catalog)
        again = asked(catalog, {**MESSAGE, "receiver": "u1"})
        await rendering.render(again, catalog)
        rendering._left_s = 0  # as if the templates had taken that long
        other = asked(_defined(("configuration", "builds", {**spec, "template": "x"})), MESSAGE)
        await rendering.render(other, catalog)
    finally:
        await renderer.close()
    for part, said in ((explained, "and was ended"), (again, "is not tried again"), (other, "took too long to try")):
        (configuration,) = part.explanation.configurations
        consumer = configuration.recipients[0].consumers[0]
        assert said in consumer.text
        assert consumer.rendered is not None
        assert "failed" in consumer.rendered


def test_what_mappings_set_is_said_first_and_by_name() -> None:
    catalog = _defined(
        ("configuration", "builds", {**SPEC, "filters": ["infra"]}),
        ("mapping", "owners", {"table": {"key": "service", "rows": {"web": {"labels": {"team": "infra"}}}}}),
        ("mapping", "loud", {"order": 1, "matchers": ["team=infra"], "set": {"severity": "error", "receiver": "u0"}}),
        ("mapping", "others", {"producers": ["p1"], "set": {"title": "x"}}),
    )
    message = {**MESSAGE, "labels": {"service": "web"}, "receiver": "u1"}
    explanation = asked(catalog, message).explanation
    said = "The mapping owners set team=infra. The mapping loud set severity=error, receiver=u0. "
    assert explanation.text.startswith(said)
    assert explanation.configurations[0].recipients[0].recipient == "u0"
    assert explanation.document()["mappings"] == [
        {"mapping": "owners", "set": {"labels.team": "infra"}, "text": "The mapping owners set team=infra."},
        {
            "mapping": "loud",
            "set": {"severity": "error", "receiver": "u0"},
            "text": "The mapping loud set severity=error, receiver=u0.",
        },
    ]
    hidden = Hidden({"mapping": frozenset({"owners"})})
    told = asked(catalog, message, hidden=hidden).explanation
    assert told.text.startswith("A mapping of another team set team=infra. The mapping loud")
    assert told.mappings[0].mapping is None
    other = asked(catalog, message, hidden=Hidden({"producer": frozenset({"p0"})})).explanation
    assert other.mappings == []
    assert "infra" not in other.text


def test_a_message_that_mappings_make_too_large_is_said_to_be_so() -> None:
    catalog = _defined(("configuration", "builds", SPEC), ("mapping", "long", {"set": {"title": "t" * 900}}))
    explanation = asked(catalog, {**MESSAGE, "content": "x" * (MAX_BYTES - 500)}).explanation
    assert explanation.reason == "too_large"
    assert "set by long" in explanation.text
