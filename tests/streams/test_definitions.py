"""Following `definitions` over a broken connection, on a topic in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from notifier.catalog import Catalog
from notifier.definition import Definition, definition_key
from notifier.outcome import Kind
from notifier.settings import Settings
from streams import definitions as module
from streams.definitions import LAST, Definitions
from streams.delivery.changes import Changes
from tests.rigs.kafka_tools import wait_until
from tests.rigs.plugins import REGISTRY


class Topic:
    """Records, and the consumers of them. A fetch gives one record."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.end = 0
        self.broken = False  # the next fetch fails, once
        self.readings = 0

    def write(self, kind: Kind, name: str, revision: int | None, *headers: str) -> None:
        """Writes a definition, which says its revision, or a tombstone."""
        spec: dict[str, Any] = (
            {"type": "nothing"} if kind == "filter" else {"type": "chat", "parameters": {"token": "t"}}
        )
        made = None if revision is None else Definition(kind=kind, name=name, revision=revision, spec=spec)
        self._put(definition_key(kind, name).encode(), None if made is None else made.encode(), headers or (LAST,))

    def write_junk(self, kind: Kind, name: str) -> None:
        """Writes a record that is no definition."""
        self._put(definition_key(kind, name).encode(), b"junk", ())

    def _put(self, key: bytes, value: bytes | None, headers: tuple[str, ...]) -> None:
        place = {"topic": "definitions", "partition": 0, "offset": self.end, "timestamp": 1_700_000_000_000 + self.end}
        self.records.append(SimpleNamespace(**place, key=key, value=value, headers=[(one, b"1") for one in headers]))
        self.end += 1

    def consumer(self, *args: Any, **options: Any) -> "Reader":
        """In the place of `kafka_consumer`."""
        self.readings += 1
        return Reader(self)


class Reader:
    """What the follower asks of a Kafka consumer."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._at = 0

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def seek_to_beginning(self, *partitions: Any) -> None: ...
    def assign(self, partitions: Any) -> None: ...

    async def end_offsets(self, partitions: Any) -> dict[Any, int]:
        return dict.fromkeys(partitions, self._topic.end)

    async def position(self, partition: Any) -> int:
        return self._at

    def last_stable_offset(self, partition: Any) -> int:
        return self._topic.end

    async def getmany(self, partition: Any, timeout_ms: int) -> dict[Any, list[Any]]:
        await asyncio.sleep(0.001)
        if self._topic.broken:
            self._topic.broken = False
            raise KafkaConnectionError
        record = next((one for one in self._topic.records if one.offset >= self._at), None)
        self._at = self._topic.end if record is None else record.offset + 1
        return {} if record is None else {partition: [record]}


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic()

    async def nothing(*args: Any) -> None: ...

    monkeypatch.setattr(module, "kafka_consumer", made.consumer)
    monkeypatch.setattr(module, "ensure_topics", nothing)
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    return made


Seen = list[Catalog]


@asynccontextmanager
async def following(settings: Settings) -> AsyncIterator[tuple[Definitions, Seen]]:
    """Follows; gives the catalogs from the one that is loaded on."""
    definitions = Definitions(settings, Catalog(registry=REGISTRY))
    seen: Seen = []
    try:
        await definitions.load()
        definitions.on_change(seen.append)
        yield definitions, seen
    finally:
        await definitions.stop()


async def read_anew(topic: Topic, definitions: Definitions, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Breaks the connection, and returns when a definition that was written after that is there."""
    readings = topic.readings
    meanwhile()
    topic.broken = True
    await wait_until(lambda: topic.readings > readings)
    topic.write("filter", "after", readings + 100)
    await wait_until(lambda: "after" in definitions.catalog.filters)


async def test_a_broken_connection_changes_nothing(topic: Topic, settings: Settings) -> None:
    for revision in (1, 2):
        topic.write("consumer", "chat", revision)
    topic.write("consumer", "unusable", 2, "not the last")
    topic.write("filter", "f", 3)
    async with following(settings) as (definitions, seen):
        written_at = dict(definitions.written_at)
        changes = Changes(definitions.written_at)
        changes.follow(seen[0])
        await read_anew(topic, definitions)
        assert [changes.follow(catalog) for catalog in seen[1:]] == [frozenset()]
        assert definitions.catalog.consumers["chat"] is seen[0].consumers["chat"]
        assert definitions.written_at == written_at
        assert written_at["consumer/chat"] == datetime.fromtimestamp(1_700_000_000.001, UTC)


async def test_what_changed_meanwhile_is_taken_over_as_one_change(topic: Topic, settings: Settings) -> None:
    for name in ("kept", "new", "gone", "removed", "junk"):
        topic.write("consumer", name, 1)
    async with following(settings) as (definitions, seen):

        def meanwhile() -> None:
            topic.broken = True  # before any of this is read
            topic.write("consumer", "gone", None)
            topic.write("consumer", "new", 2)
            topic.write("consumer", "new", 3)
            topic.write_junk("consumer", "junk")
            # As compaction does: nothing of `removed`, and only the newest record of `junk`.
            topic.records = [
                one
                for one in topic.records
                if not one.key.endswith(b"/removed") and (not one.key.endswith(b"/junk") or one.value == b"junk")
            ]

        await read_anew(topic, definitions, meanwhile)
        names = [sorted(catalog.consumers) for catalog in seen[1:]]
        assert names == [["junk", "kept", "new"]] * len(names)
        assert len({id(catalog.consumers["new"]) for catalog in seen[1:]}) == 1
        assert seen[-1].consumers["kept"] is seen[0].consumers["kept"]
        assert seen[-1].consumers["new"] is not seen[0].consumers["new"]


async def test_an_empty_topic_of_a_new_broker_empties_nothing(topic: Topic, settings: Settings) -> None:
    for name in ("one", "two"):
        topic.write("consumer", name, 1)
    async with following(settings) as (definitions, seen):

        def meanwhile() -> None:
            topic.records.clear()
            topic.end = 0

        await read_anew(topic, definitions, meanwhile)
        assert definitions.catalog.consumers == seen[0].consumers
