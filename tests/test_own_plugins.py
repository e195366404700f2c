"""The plugins of the docs' pages, run as they stand there."""

import re  # for our own constant pattern
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.definition import Definition
from notifier.delivery import Delivery
from notifier.errors import InputError, Permanent
from notifier.message import Message
from notifier.plugin import Candidate, Consumer, Filter, Plugin, Producer
from notifier.record import now
from notifier.registry import Registry
from notifier.user import User
from tests.rigs.repository import ROOT

DOCS = ROOT / "docs"


def plugin_of(page: str, base: type[Plugin[Any]]) -> type[Plugin[Any]]:
    """The plugin class that a page's code defines."""
    found = re.search(
        r"<!-- tested: tests/test_own_plugins\.py -->\n```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL
    )
    assert found is not None
    names: dict[str, Any] = {"__name__": f"docs.{page}"}
    exec(compile(found[1], page, "exec"), names)
    (plugin,) = [
        value
        for value in names.values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == f"docs.{page}"
    ]
    return plugin


async def test_the_producer_of_its_page_tells_each_person_their_duty(tmp_path: Path) -> None:
    registry = Registry([plugin_of("own-producer.md", Producer)])
    roster = tmp_path / "roster"
    roster.write_text("alice: coffee\nbob: releases\n")
    producer = registry.build("producer", "duties", "duty-roster", {"path": str(roster), "limit": 1}, None)
    assert isinstance(producer, Producer)
    made = list(await producer.produce(None))  # type: ignore[arg-type]  # it asks nothing of its context
    assert made == [{"id": "1", "receiver": "alice", "content": "Your duty: coffee"}]
    for value in made:
        Message.from_object({**value, "producer": "duties"})
    with pytest.raises(InputError, match=r"/parameters/limit"):
        registry.check("producer", "duty-roster", {"path": "x", "limit": 0})


@pytest.mark.parametrize(
    ("content", "negate", "passes"), [("short", False, True), ("long" * 100, False, False), ("short", True, False)]
)
def test_the_filter_of_its_page_lets_short_messages_pass(content: str, negate: bool, passes: bool) -> None:
    registry = Registry([plugin_of("own-filter.md", Filter)])
    filter_ = registry.build("filter", "brief", "short", {"negate": negate}, None)
    assert isinstance(filter_, Filter)
    candidate = Candidate(message=Message(producer="ci", content=content), users=frozenset(), at=now())
    assert filter_.passes(candidate) is passes
    assert "at most 280 characters" in filter_.says(candidate)


async def test_the_consumer_of_its_page_writes_to_mailboxes(tmp_path: Path) -> None:
    registry = Registry([plugin_of("own-consumer.md", Consumer)])
    consumer = registry.build("consumer", "boxes", "mailbox", {"folder": str(tmp_path)}, None)
    assert isinstance(consumer, Consumer)
    alice = User(username="alice")
    assert not consumer.fixed_address()
    delivery = Delivery(
        id="ci/1/builds/boxes/alice",
        configuration="builds",
        configuration_version=1,
        consumer="boxes",
        lane="alice",
        message=msgspec.Raw(Message(producer="ci", content="done").encode()),
        message_id="1",
        recipient="alice",
        address=consumer.address(alice),
    )
    with pytest.raises(Permanent, match="alice has no mailbox"):
        await consumer.deliver([delivery], None)  # type: ignore[arg-type]  # it asks nothing of its context
    (tmp_path / "alice.txt").touch()
    (result,) = await consumer.deliver([delivery], None)  # type: ignore[arg-type]  # as above
    assert result.outcome == "accepted"
    assert (tmp_path / "alice.txt").read_text() == "done\n"


def test_a_definition_of_such_a_plugin_is_part_of_a_catalog(tmp_path: Path) -> None:
    from notifier.catalog import Catalog

    catalog = Catalog(registry=Registry([plugin_of("own-filter.md", Filter)]))
    spec = {"type": "short", "parameters": {"characters": 10}}
    catalog = catalog.with_changes(
        [("filter", "brief", Definition(kind="filter", name="brief", revision=1, spec=spec))]
    )
    assert set(catalog.filters) == {"brief"}
    assert catalog.problems == {}


def test_the_filters_that_declare_their_rule_decide_as_they_say() -> None:
    """The second piece of code of the filter's page: what each declares is what it accepts."""
    pieces = re.findall(
        r"<!-- tested: tests/test_own_plugins\.py -->\n```python\n(.*?)```",
        (DOCS / "own-filter.md").read_text(),
        re.DOTALL,
    )
    names: dict[str, Any] = {"__name__": "docs.own-filter"}
    exec(compile(pieces[1], "own-filter.md", "exec"), names)
    of_team, titled, even_hours = (
        names[name](names["FilterParameters"]()) for name in ("OfTeam", "Titled", "EvenHours")
    )
    at = now().replace(hour=11, minute=59, second=30, microsecond=0)
    for message in (
        Message(producer="ci", content="x", labels={"team": "infra"}),
        Message(producer="ci", content="x", title="x", labels={"team": "web"}),
        Message(producer="ci", content="x"),
    ):
        candidate = Candidate(message=message, users=frozenset(), at=at)
        lookup = of_team.lookup(frozenset())
        assert (message.labels.get("team", "") in lookup.values) is of_team.accepts(candidate)
        assert titled.test()(message) is titled.accepts(candidate)
        until = even_hours.holds_until(candidate)
        for moment in (at, until - timedelta(microseconds=1), until):
            asked = even_hours.accepts(Candidate(message=message, users=frozenset(), at=moment))
            assert asked is (moment >= until)
