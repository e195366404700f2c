"""Who gets what a consumer does not take, as a table; and the same on a real broker: once, and never twice."""

from typing import Any

import msgspec
import pytest

from filters import BUILT_IN as FILTERS
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.message import Message
from notifier.record import now
from notifier.registry import Registry
from notifier.settings import Settings
from producers.push import Push
from streams.delivery.fallbacks import Fallbacks
from tests.rigs.delivery_rig import (
    attempts,
    dead_letters,
    define,
    define_sink,
    make,
    saw,
    seen,
    send,
    wait_for_attempts,
    with_,
    working,
)
from tests.rigs.kafka_tools import read_all
from tests.rigs.sink import Sink


class Lost(Sink):
    """A sink whose plugin is broken."""

    type = "lost"

    def fixed_address(self) -> bool:
        return False

    def address(self, user: Any) -> str | None:
        raise RuntimeError("out of order")


def _catalog() -> Catalog:
    path = {"path": "/tmp/sink"}
    people = {
        "alice": {"default": {"username": "al"}, "mail": {"username": "alice@mail"}},
        "bob": {"default": {"username": "bo"}, "mail": {"username": "bob@mail"}},
        "carol": {},
    }
    specs = {
        **{f"user/{name}": {"additional_info": info} for name, info in people.items()},
        "producer/ci": {"type": "push"},
        "consumer/chat": {"type": "sink", "parameters": path},
        "consumer/mail": {"type": "sink", "parameters": {**path, "world": "mail"}},
        "consumer/room": {"type": "sink", "parameters": {**path, "fixed": True, "world": "mail"}},
        "consumer/lost": {"type": "lost", "parameters": path},
        "consumer/broken": {"type": "sink", "parameters": {}},
    }
    found = Catalog(registry=Registry([Push, Sink, Lost, *FILTERS]))
    return found.with_changes(
        (kind, name, Definition(kind=kind, name=name, revision=1, spec=spec))  # type: ignore[arg-type, misc]
        for (kind, _, name), spec in ((key.partition("/"), spec) for key, spec in specs.items())
    )


def _delivery(recipient: str | None = "alice", **fields: Any) -> Delivery:
    message = Message(producer="ci", content="x", sender="AL", receiver=recipient)
    return msgspec.structs.replace(
        make("x", consumer="chat"),
        id=f"ci/m-x-0/all/chat/{recipient or '*'}",
        message=msgspec.Raw(message.encode()),
        recipient=recipient,
        attempt=7,
        spared=2,
        **fields,
    )


@pytest.mark.parametrize(
    ("delivery", "fallback", "made", "text"),
    [
        pytest.param(_delivery(), "mail", [("alice", "alice@mail", "alice@mail", "alice@mail", None)], "", id="to one"),
        pytest.param(_delivery(), "room", [("alice", "room", None, "alice@mail", None)], "", id="to a room"),
        pytest.param(_delivery("carol"), "mail", [], "carol has no address for the consumer mail", id="no address"),
        pytest.param(_delivery("nobody"), "mail", [], "nobody has no address", id="a user who is gone"),
        pytest.param(
            _delivery(None, recipients=("alice", "carol", "bob")), "mail",
            [("alice", "alice@mail", "alice@mail", "alice@mail", None), ("bob", "bob@mail", "bob@mail", "bob@mail", None)],
            "carol has no address", id="a group chat to each",
        ),
        pytest.param(
            _delivery(None, recipients=("alice", "bob")), "room", [(None, "room", None, None, ("alice", "bob"))], "",
            id="a group chat to a room",
        ),
        pytest.param(_delivery(None, recipients=()), "mail", [], "the configuration has no users", id="for nobody"),
        pytest.param(_delivery(), "lost", [], "its plugin failed: out of order", id="a plugin's fault"),
        pytest.param(_delivery(), "broken", [], "it cannot be used: /parameters/path", id="a wrong definition"),
        pytest.param(_delivery(), "none", [], "it cannot be used: it is not defined", id="none"),
        pytest.param(_delivery(), "chat", [], "chat did not take it before", id="itself"),
        pytest.param(_delivery(given_up_by=("mail",)), "mail", [], "mail did not take it before", id="a circle"),
    ],
)  # fmt: skip
def test_a_fallback_gets_it_as_the_router_would_give_it(
    delivery: Delivery, fallback: str, made: list[Any], text: str
) -> None:
    handover = Fallbacks(_catalog()).handover(delivery, fallback)
    found = [(each.recipient, each.lane, each.address, each.receiver, each.recipients) for each in handover.made]
    assert found == made
    assert text in handover.text
    assert bool(text) == bool(handover.text)
    for each in handover.made:
        assert each.id == f"ci/m-x-0/all/{fallback}/{each.recipient or '*'}"
        assert (each.consumer, each.attempt, each.spared, each.fallback_of) == (fallback, 1, 0, delivery.id)
        assert each.given_up_by == (*delivery.given_up_by, "chat")
        assert each.sender == "alice@mail"
        assert Delivery.decode(each.encode()) == each


async def test_what_a_consumer_does_not_take_goes_down_the_chain_once(settings: Settings) -> None:
    settings = with_(settings, lane_wait_s=60.0)
    refused = {"0": ["refuse"], "1": ["fail"], "2": ["refuse"], "3": ["unknown"], "4": ["unauthorized", "accept"]}
    spec = {"fallback": "second", "retry": {"schedule_s": [0.1]}, "unknown": "give_up"}
    first = await define_sink(settings, "first", plan=refused, spec=spec)
    second = await define_sink(settings, "second", plan={"1": ["refuse"], "2": ["refuse"]}, spec={"fallback": "third"})
    third = await define_sink(settings, "third", plan={"2": ["refuse"]})
    await define(settings, "all", {"consumers": ["first"]}, kind="configuration")
    *made, held = [make(str(n), consumer="first", number=n, lane=f"lane{n}") for n in range(5)]
    await send(settings, made)
    late = make("5", consumer="first", number=5, lane="lane2", expires_at=now())
    own = make("0", consumer="second", number=0, lane="lane0")
    async with working(settings):
        await saw(third, 2)
        await wait_for_attempts(settings, 1, outcome="unknown")
        await send(settings, [held])  # not before: what fails while a consumer is paused spends no try
        await wait_for_attempts(settings, 1, message="m-4-4", outcome="accepted")
        await wait_for_attempts(settings, 1, consumer="second", outcome="accepted")
        # The same id again, as where the configuration names the fallback, or it is written twice at a crash.
        again = msgspec.structs.replace(own, fallback_of="x", given_up_by=("first",))
        await send(settings, [again, late])
        await wait_for_attempts(settings, 1, outcome="suppressed", reason="duplicate")
        await wait_for_attempts(settings, 1, outcome="suppressed", reason="expired")
        found = await attempts(settings)
    assert sorted(line["content"] for line in seen(first)) == ["0", "1", "1", "2", "3", "4", "4"]
    assert sorted(line["content"] for line in seen(second)) == ["0", "1", "2"]
    assert sorted(line["content"] for line in seen(third)) == ["1", "2"]
    ends = {(a.message, a.consumer, a.outcome, a.detail): a for a in found if a.outcome in ("accepted", "refused")}
    assert ends.keys() == {
        ("m-0-0", "first", "refused", "the service answered 403; second gets it, as the fallback"),
        ("m-0-0", "second", "accepted", None),
        ("m-1-1", "first", "refused", "the service answered 500; second gets it, as the fallback"),
        ("m-1-1", "second", "refused", "the service answered 403; third gets it, as the fallback"),
        ("m-1-1", "third", "accepted", None),
        ("m-2-2", "first", "refused", "the service answered 403; second gets it, as the fallback"),
        ("m-2-2", "second", "refused", "the service answered 403; third gets it, as the fallback"),
        ("m-2-2", "third", "refused", "the service answered 403; before that it was given up by first, second"),
        ("m-4-4", "first", "accepted", None),
    }
    for (_, consumer, _, _), attempt in ends.items():
        before = {"first": None, "second": "first", "third": "second"}[consumer or ""]
        assert attempt.fallback_of == (before and attempt.delivery.replace(f"/{consumer}/", f"/{before}/"))
    handed_over = {
        Delivery.decode(record.value).fallback_of: record.timestamp
        for record in await read_all(settings, "deliveries.second")
        if b"m-0-0" not in record.value  # which came twice
    }
    ended = {
        record.key.decode(): record.timestamp
        for record in await read_all(settings, "attempts")
        if b'"refused"' in record.value
    }
    assert len(handed_over) == 2
    assert all(at <= ended[first] for first, at in handed_over.items() if first)  # a crash in between loses nothing
    (repeat,) = [a for a in found if a.reason == "duplicate"]
    assert repeat.detail == "second has accepted it already; it came again as the fallback of first"
    letters = {letter.id: letter for letter in await dead_letters(settings)}
    assert {id_: letter.reason for id_, letter in letters.items()} == {
        "ci/m-2-2/all/third/lane2": "forbidden",
        "ci/m-3-3/all/first/lane3": "connection",  # it may have arrived
    }
    assert letters["ci/m-2-2/all/third/lane2"].error == (
        "the service answered 403; before that it was given up by first, second"
    )
    (unknown,) = [a for a in found if a.message == "m-3-3"]
    assert (unknown.outcome, unknown.reason, unknown.detail) == ("unknown", "connection", "the connection broke")


async def test_a_fallback_that_does_not_reach_somebody_says_so(settings: Settings) -> None:
    spec = {"fallback": "mail"}
    path = await define_sink(settings, plan={"0": ["refuse"]}, fixed=True, spec=spec)
    mail = await define_sink(settings, "mail", world="mail")
    await define(settings, "all", {"consumers": ["sink"]}, kind="configuration")
    await define(settings, "alice", {"additional_info": {"mail": {"username": "alice@mail"}}}, kind="user")
    await define(settings, "bob", {}, kind="user")
    to_all = msgspec.structs.replace(make("0"), lane="sink", recipient=None, recipients=("alice", "bob"), address=None)
    to_all = msgspec.structs.replace(to_all, id="ci/m-0-0/all/sink/*")
    to_bob = msgspec.structs.replace(make("0", number=1), lane="sink", recipient="bob", address=None)
    await send(settings, [to_all, to_bob])
    async with working(settings):
        await saw(path, 2)
        assert [line["address"] for line in await saw(mail, 1)] == ["alice@mail"]
        (lacking,) = [
            a for a in await wait_for_attempts(settings, 1, outcome="suppressed") if a.outcome == "suppressed"
        ]
        await wait_for_attempts(settings, 2, outcome="refused")
    assert (lacking.delivery, lacking.reason, lacking.recipient) == ("ci/m-0-0/all/mail/bob", "no_address", "bob")
    assert lacking.fallback_of == to_all.id
    (letter,) = await dead_letters(settings)
    assert (letter.id, letter.reason) == (to_bob.id, "forbidden")
    why = "bob has no address for the consumer mail (world 'mail')"
    assert letter.error == f"the service answered 403; its fallback mail does not get it: {why}"
