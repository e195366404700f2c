"""What the newest definitions say of deliveries that waited, as a table; and the same on a real broker."""

import time
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from filters import BUILT_IN as FILTERS
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.kafka import ensure_topics
from notifier.message import Message
from notifier.outcome import Kind
from notifier.record import now, rfc3339
from notifier.registry import Registry
from notifier.settings import Settings
from notifier.topics import deliveries
from streams.delivery import review
from streams.delivery.consumers import Consumers
from streams.delivery.holds import Holds
from streams.delivery.parking import Parking
from streams.delivery.review import SURE_AFTER_S, Ended, Review
from streams.delivery.shelf import Shelf
from tests.rigs.delivery_rig import (
    define,
    define_sink,
    make,
    park,
    parked,
    saw,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import read_all
from tests.rigs.sink import Sink

Changes = dict[str, dict[str, Any] | None]

ALICE = {"additional_info": {"default": {"username": "a"}, "team": {"username": "al"}}}
BEFORE: Changes = {
    "user/alice": ALICE,
    "user/bob": {"additional_info": {"default": {"username": "b"}}},
    "filter/no-wip": {"type": "skip_keywords", "parameters": {"skip_keywords": ["wip"]}},
    "filter/at-work": {"type": "receiver_working", "parameters": {}},
    "consumer/sink": {"type": "sink", "parameters": {"path": "/tmp/sink"}},
    "consumer/group": {"type": "sink", "parameters": {"path": "/tmp/sink", "fixed": True, "world": "team"}},
    "configuration/all": {"users": ["alice", "bob"], "filters": ["at-work"], "consumers": ["sink", "group"]},
}
NOT_NOW = {"start": "09:00", "end": "18:00", "days": [f"{now() + timedelta(days=3):%a}".lower()], "timezone": "UTC"}
SOON = rfc3339(now() + timedelta(hours=1))
NOWHERE = {"type": "sink", "parameters": {"path": "/tmp/sink", "world": "moon"}}
OFF = {"users": ["alice"], "enabled": False, "consumers": ["sink", "group"]}


class ShySink(Sink):
    """A sink that calls nobody by an id."""

    type = "shy_sink"
    shows_ids = False


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


def reviewing(changes: Changes) -> Review:
    """A review that saw these changes come after `BEFORE`."""
    catalog = Catalog(registry=Registry([Sink, ShySink, *FILTERS]))
    found = Review(catalog)
    for revision, changed in enumerate((BEFORE, changes), 1):
        catalog = catalog.with_changes([_change(key, spec, revision) for key, spec in changed.items()])
        assert not catalog.problems
        found.follow(catalog)
    return found


def _change(key: str, spec: dict[str, Any] | None, revision: int) -> tuple[Kind, str, Definition | None]:
    kind, _, name = key.partition("/")
    definition = None if spec is None else Definition(kind=kind, name=name, revision=revision, spec=spec)  # type: ignore[arg-type]
    return kind, name, definition  # type: ignore[return-value]


def to(recipient: str | None = "alice", consumer: str = "sink", named: bool = True, **fields: Any) -> Delivery:
    """A delivery of the configuration `all`."""
    message = Message(producer="ci", content="wip: it failed", receiver="alice" if named else None)
    made = make("x", consumer=consumer)
    return msgspec.structs.replace(
        made,
        recipient=recipient,
        receiver=recipient,
        address="a" if consumer == "sink" else None,
        message=msgspec.Raw(message.encode()),
        **fields,
    )


@pytest.mark.parametrize(
    ("changes", "delivery", "expected"),
    [
        pytest.param({}, to(), "a", id="nothing"),
        pytest.param({"user/bob": None}, to(), "a", id="somebody else"),
        pytest.param({"configuration/all": OFF}, to(), "disabled", id="switched off"),
        pytest.param({"configuration/all": OFF}, to(configuration_version=3), "a", id="known to be newer"),
        pytest.param({"configuration/all": None}, to(), "disabled", id="configuration deleted"),
        pytest.param(
            {"configuration/all": {"users": ["alice"], "consumers": ["group"]}}, to(), "disabled", id="other consumers"
        ),
        pytest.param({"user/alice": None}, to(), "unknown_receiver", id="user deleted"),
        pytest.param({"user/alice": ALICE | {"on_leave": True}}, to(), "on_leave", id="on leave"),
        pytest.param(
            {
                "user/alice": ALICE | {"on_leave": True},
                "configuration/all": {"users": ["alice"], "consumers": ["sink"]},
            },
            to(), "a", id="on leave, which no filter asks for",
        ),
        pytest.param({"user/alice": ALICE | {"muted_until": SOON}}, to(), "muted", id="muted"),
        pytest.param({"user/alice": ALICE | {"muted": {"all": SOON}}}, to(), "muted", id="the configuration is muted"),
        pytest.param({"user/alice": ALICE | {"muted": {"other": SOON}}}, to(), "a", id="another configuration is muted"),
        pytest.param({"user/alice": ALICE | {"muted_until": "2026-01-01T00:00:00Z"}}, to(), "a", id="not muted any more"),
        pytest.param({"user/alice": ALICE | {"muted_until": SOON}}, to(consumer="group"), "al", id="a chat of many"),
        pytest.param({"user/alice": ALICE | {"working_time": NOT_NOW}}, to(), "a", id="after work, since it is late"),
        pytest.param(
            {"user/alice": ALICE | {"working_time": NOT_NOW, "on_leave": True}}, to(), "on_leave", id="on leave after work"
        ),
        pytest.param(
            {"user/alice": {"additional_info": {"default": {"username": "new"}}}}, to(), "new", id="another address"
        ),
        pytest.param(
            {"user/alice": {"additional_info": {"other": {"username": "x"}}}}, to(), "alice", id="the username is left"
        ),
        pytest.param({"consumer/sink": NOWHERE}, to(), "no_address", id="no address any more"),
        pytest.param(
            {"configuration/all": {"users": ["bob"], "consumers": ["sink"]}}, to(), "filtered", id="taken out"
        ),
        pytest.param(
            {"configuration/all": {"users": ["bob"], "consumers": ["sink"]}},
            to(configuration_version=2), "a", id="named, though not among the users",
        ),
        pytest.param(
            {"configuration/all": {"users": ["bob"], "consumers": ["sink"]}},
            to(configuration_version=2, named=False), "filtered", id="for everyone, and not among them",
        ),
        pytest.param(
            {"configuration/all": {"users": ["alice"], "consumers": ["sink"], "filters": ["no-wip"]}},
            to(), "filtered", id="dropped by a filter",
        ),
        pytest.param(
            {"configuration/all": {"users": ["alice"], "consumers": ["sink"], "filters": ["none"]}},
            to(), "filter_unusable", id="a filter that cannot be used",
        ),
        pytest.param({"user/alice": None}, to(None, "group", named=False, recipients=("alice", "bob")), "bob", id="group"),
        pytest.param(
            {"user/alice": None, "user/bob": None},
            to(None, "group", named=False, recipients=("alice", "bob")), "unknown_receiver", id="nobody left of a group",
        ),
        pytest.param({"user/alice": None}, to(None, "group", named=False), "", id="a group without users"),
        pytest.param(
            {"user/alice": {"additional_info": {"team": {"username": "ally"}}}},
            to(consumer="group"), "ally", id="another name in a group",
        ),
        pytest.param(
            {
                "user/alice": {"additional_info": {"team": {"id": 77}}},
                "consumer/group": {"type": "shy_sink", "parameters": {"path": "/tmp/sink", "fixed": True, "world": "team"}},
            },
            to(consumer="group"), "alice", id="an id that is not shown",
        ),
        pytest.param({"consumer/sink": None}, to(), "a", id="a consumer that is deleted is not its business"),
    ],
)  # fmt: skip
def test_what_was_changed_while_a_delivery_waited_counts(
    monkeypatch: pytest.MonkeyPatch, changes: Changes, delivery: Delivery, expected: str
) -> None:
    clock = Clock()
    monkeypatch.setattr(review, "time", clock)
    found = reviewing(changes).of(delivery, waited=True)
    if found is None:  # not sure yet
        reviewed = reviewing(changes)
        assert reviewed.of(delivery, waited=True) is None
        clock.at += SURE_AFTER_S
        found = reviewed.of(delivery, waited=True)
    assert found is not None
    if isinstance(found, Ended):
        assert (found.reason, found.dead) == (expected, expected == "filter_unusable")
        assert found.detail
    else:
        shown = found.receiver if delivery.consumer == "group" else found.address
        assert (shown or ",".join(found.recipients or ())) == expected


def test_more_deleted_configurations_than_are_remembered_end_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(review, "time", clock)
    monkeypatch.setattr(review, "_REMEMBERED", 10)
    reviewed = reviewing({})
    waiting = [msgspec.structs.replace(to(), configuration=f"gone-{n}") for n in range(30)]
    assert [reviewed.of(delivery, waited=True) for delivery in waiting] == [None] * 30
    clock.at += SURE_AFTER_S
    assert all(isinstance(reviewed.of(delivery, waited=True), Ended) for delivery in waiting)


@pytest.mark.parametrize("lane_wait_s", [pytest.param(700.0, id="in a lane"), pytest.param(0.0, id="parked")])
async def test_what_waits_is_delivered_by_what_is_true_now(settings: Settings, lane_wait_s: float) -> None:
    settings = with_(settings, retry_schedule_s=(600.0,), lane_wait_s=lane_wait_s)
    path = await define_sink(settings, plan={key: ["fail", "accept"] for key in "012"})
    await define(settings, "alice", {"additional_info": {"default": {"username": "old"}}}, kind="user")
    await define(settings, "night", {"consumers": ["sink"]}, kind="configuration")
    moved = msgspec.structs.replace(make("0", lane="old"), recipient="alice")
    off = msgspec.structs.replace(make("1", lane="b", number=1), configuration="night")
    late = msgspec.structs.replace(make("3", lane="b", number=3), configuration="night", why="held", not_before=now())
    await send(settings, [moved, off, make("2", lane="c", number=2)])
    async with working(settings):
        await wait_for_attempts(settings, 3, outcome="deferred", reason="server_error")
        await define(settings, "alice", {"additional_info": {"default": {"username": "new"}}}, kind="user")
        await define(settings, "night", {"consumers": ["sink"], "enabled": False}, kind="configuration")
        await define(settings, "c", None, kind="user")
        lines = await saw(path, 4)
        assert [(line["content"], line["attempt"], line["address"]) for line in lines[3:]] == [("0", 2, "new")]
        await wait_for_attempts(settings, 2, outcome="suppressed")
        await park(settings, late)  # routed before, and read now
        found = await wait_for_attempts(settings, 3, outcome="suppressed")
    ends = {(a.message, a.reason) for a in found if a.outcome == "suppressed"}
    assert ends == {("m-1-1", "disabled"), ("m-2-2", "unknown_receiver"), ("m-3-3", "disabled")}
    assert len(seen(path)) == 4
    assert await parked(settings) == {}


async def test_each_change_counts_wherever_a_delivery_waited_also_over_a_restart(settings: Settings) -> None:
    """Head of a lane and behind it, parked as failed, held and delayed: all of them have waited for 40 s."""
    path = await define_sink(settings)
    await ensure_topics(settings, [deliveries("gone")])
    default = {"default": {"username": "moved"}}
    await define(settings, "at-work", {"type": "receiver_working"}, kind="filter")
    await define(
        settings, "all", {"consumers": ["sink", "gone"], "filters": ["at-work"]}, kind="configuration", revision=9
    )
    await define(settings, "night", {"consumers": ["sink"], "enabled": False}, kind="configuration", revision=9)
    await define(settings, "lea", {"additional_info": {"default": {"username": "l"}}, "on_leave": True}, kind="user")
    await define(settings, "moe", {"additional_info": default}, kind="user")
    await define(settings, "ben", {"additional_info": {"default": {"username": "b"}}}, kind="user")
    await define(settings, "gus", None, kind="user")
    cases = {  # why it ends → recipient, configuration, consumer
        "unknown_receiver": ("gus", "all", "sink"),
        "on_leave": ("lea", "all", "sink"),
        "disabled": ("ben", "night", "sink"),
        "consumer_deleted": ("ben", "all", "gone"),
        "ok": ("moe", "all", "sink"),
    }
    forms: tuple[tuple[str, dict[str, Any]], ...] = (
        ("head", {}),
        ("behind", {}),
        ("retry", {"why": "retry", "attempt": 2}),
        ("held", {"why": "held"}),
        ("delayed", {"why": "delayed"}),
    )
    for reason, (recipient, configuration, consumer) in cases.items():
        for form, fields in forms:
            delivery = make(f"{form} {reason}", consumer=consumer, lane=f"old {recipient} {configuration}", **fields)
            delivery = msgspec.structs.replace(delivery, recipient=recipient, configuration=configuration)
            if fields:
                await park(settings, msgspec.structs.replace(delivery, not_before=now()))
            else:
                await send(settings, [delivery], age_s=40)
    async with working(settings, Registry([Sink, *FILTERS])):
        await saw(path, 5)
        await wait_for_attempts(settings, 5, reason="consumer_deleted")
        await wait_for_attempts(settings, 15, outcome="suppressed")
        found = await wait_for_attempts(settings, 5, outcome="accepted")
    ends = {a.message.removeprefix("m-").removesuffix("-0"): a.reason for a in found}
    assert ends == {f"{form} {reason}": reason for form, _ in forms for reason in cases}
    assert {(line["content"].partition(" ")[0], line["address"]) for line in seen(path)} == {
        (form, "moved") for form, _ in forms
    }
    assert len(found) == 25
    assert await parked(settings) == {}
    keys = [record.key for record in await read_all(settings, "deliveries.sink") if b"ok" in record.value]
    assert keys == [b"old moe all"] * 2 + [b"moved"] * 3  # what was parked goes to the lane of the new address


@pytest.mark.parametrize(
    ("changes", "looked_at"),
    [
        pytest.param({"user/alice": None}, True, id="the user"),
        pytest.param({"configuration/all": OFF}, True, id="the configuration"),
        pytest.param({"user/bob": None}, False, id="another user"),
    ],
)
def test_a_change_that_comes_before_the_parked_record_is_read_is_seen(
    settings: Settings, changes: Changes, looked_at: bool
) -> None:
    catalog = Catalog(registry=Registry([Sink, *FILTERS]))
    consumers = Consumers(catalog, {}, Holds((), lambda *_: None, lambda _: None))
    parked_at_ms = 0
    for revision, changed in enumerate((BEFORE, changes), 1):
        catalog = catalog.with_changes([_change(key, spec, revision) for key, spec in changed.items()])
        consumers.follow(catalog)
        if revision == 1:
            time.sleep(0.01)  # all of them were new to it then
            parked_at_ms = int(now().timestamp() * 1000)
            time.sleep(0.01)
    delivery = to(why="retry", not_before=now() + timedelta(hours=1))
    record = ConsumerRecord("parked", 0, 7, parked_at_ms, 0, b"x", delivery.encode(), None, 1, 500, [])
    shelf = Shelf()
    Parking(settings, consumers)._take_in(shelf, [record])
    assert shelf.take_due(time.time() + 1, 10) == (["x"] if looked_at else [])
