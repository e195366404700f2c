"""Requests that are written together: each gets its true answer, whatever happens to the others."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from control_api.intake import writer
from control_api.intake.outgoing import Outgoing
from control_api.intake.singles import Singles
from control_api.intake.transactions import Transactions
from control_api.intake.writer import AWAY, UNKNOWN, Writer
from control_api.look_up import MAX_KEYS, LookUp
from notifier.errors import BrokerError, RecordTooLarge
from notifier.kafka.clients import kafka_admin
from notifier.settings import Settings
from notifier.topics import MESSAGES
from tests.rigs.kafka_tools import read_all, wait_until


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that starts anew may take longer than a request waits, on a machine that has much to do."""
    monkeypatch.setattr(writer, "WAIT_S", 60.0)


class Counted(Writer):
    """Before a writer's class: counts the groups, and can be held before the next one."""

    def __init__(self, settings: Settings, *given: Any, **options: Any) -> None:
        super().__init__(settings, *given, **options)
        self.groups: list[int] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def _put(self, producer: Any, group: Any) -> None:
        self.groups.append(len(group))
        await self.go_on.wait()
        await super()._put(producer, group)


class Held(Writer):
    """Before a writer's class: is held in the middle of the first group."""

    def __init__(self, settings: Settings, *given: Any, **options: Any) -> None:
        super().__init__(settings, *given, **options)
        self.inside = asyncio.Event()

    async def _send(self, *rest: Any) -> None:
        await super()._send(*rest)
        self.inside.set()
        await asyncio.Event().wait()


class CountedSingles(Counted, Singles):
    records = 1  # of each request


class CountedTransactions(Counted, Transactions):
    records = 2


class HeldSingles(Held, Singles):
    records = 1


class HeldTransactions(Held, Transactions):
    records = 2


Kind = type[CountedSingles] | type[CountedTransactions]


def outgoing(name: str, count: int = 2, size: int = 20) -> list[Outgoing]:
    """The records of one request, on several partitions."""
    return [
        Outgoing(
            MESSAGES, json.dumps({"id": f"{name}/{number}", "content": "x" * size}).encode(), f"k{number}".encode()
        )
        for number in range(count)
    ]


@asynccontextmanager
async def working(settings: Settings, kind: Kind, *given: str) -> AsyncIterator[Counted]:
    intake = kind(settings, *given)
    await intake.start()
    try:
        await wait_until(lambda: intake.connected)
        yield intake
    finally:
        intake.go_on.set()
        await intake.stop()


async def written(settings: Settings) -> dict[str, int]:
    """How many records of each request lie on the topic."""
    found: dict[str, int] = {}
    for record in await read_all(settings, "messages"):
        name = json.loads(record.value or b"")["id"].partition("/")[0]
        found[name] = found.get(name, 0) + 1
    return found


async def answers(writes: Sequence["asyncio.Task[None]"]) -> list[BaseException | None]:
    return list(await asyncio.gather(*writes, return_exceptions=True))


@pytest.mark.parametrize("kind", [CountedSingles, CountedTransactions])
async def test_requests_that_wait_are_one_group_and_one_that_hangs_up_is_not_written(
    settings: Settings, kind: Kind
) -> None:
    count = kind.records
    async with working(settings, kind) as intake:
        intake.go_on.clear()
        first = asyncio.create_task(intake.write(outgoing("first", count)))
        await wait_until(lambda: intake.groups)
        writes = [asyncio.create_task(intake.write(outgoing(f"r{number}", count))) for number in range(40)]
        gone = asyncio.create_task(intake.write(outgoing("gone", count)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert not first.done()  # 202 is not said before it is written
        intake.go_on.set()
        assert await answers([first, *writes]) == [None] * 41
        assert intake.groups == [1, 40]
        found = await written(settings)
    assert set(found.values()) == {count}
    assert len(found) == 41
    assert "gone" not in found


@pytest.mark.parametrize("kind", [CountedSingles, CountedTransactions])
async def test_a_request_that_the_topic_does_not_take_takes_no_other_along(settings: Settings, kind: Kind) -> None:
    count = kind.records
    async with kafka_admin(settings) as admin:
        await admin.create_topics(
            [
                NewTopic(
                    settings.topic_prefix + MESSAGES.name,
                    MESSAGES.partitions,
                    1,
                    topic_configs={"max.message.bytes": "20000"},
                )
            ]
        )
    async with working(settings, kind) as intake:
        intake.go_on.clear()
        first = asyncio.create_task(intake.write(outgoing("first", count)))
        await wait_until(lambda: intake.groups)
        good = [asyncio.create_task(intake.write(outgoing(f"r{number}", count))) for number in range(5)]
        large = asyncio.create_task(intake.write([*outgoing("large", count - 1), *outgoing("large", 1, 50_000)]))
        more = asyncio.create_task(intake.write(outgoing("more", count)))
        await asyncio.sleep(0)
        intake.go_on.set()
        said = await answers([first, *good, large, more])
        assert isinstance(said[-2], RecordTooLarge), said
        assert said[:-2] == [None] * 6
        assert said[-1] is None
        await intake.write(outgoing("after", count))
        found = await written(settings)
    assert "large" not in found
    assert found == dict.fromkeys(["first", "r0", "r1", "r2", "r3", "r4", "more", "after"], count)


async def test_a_group_whose_producer_is_fenced_is_refused_whole_and_the_next_is_written(settings: Settings) -> None:
    async with working(settings, CountedTransactions, "same") as first:
        await first.write(outgoing("before"))
        first.go_on.clear()
        waiting = [asyncio.create_task(first.write(outgoing(f"r{number}"))) for number in range(5)]
        await wait_until(lambda: len(first.groups) == 2)
        async with working(settings, CountedTransactions, "same") as second:
            await second.write(outgoing("other"))
            first.go_on.set()
            said = await answers(waiting)
        for answer in said:
            assert isinstance(answer, BrokerError)
            assert str(answer) in (AWAY, UNKNOWN)

        async def goes_on() -> bool:
            try:
                await first.write(outgoing("after"))
            except BrokerError:
                return False
            return True

        await wait_until(goes_on)
        found = await written(settings)
    assert {found.pop(name) for name in ("before", "other", "after")} == {2}
    assert not found  # of those that were refused


@pytest.mark.parametrize("kind", [HeldSingles, HeldTransactions, CountedSingles, CountedTransactions])
async def test_a_shutdown_gives_each_that_waits_its_true_answer(
    settings: Settings, kind: Kind | type[HeldSingles] | type[HeldTransactions]
) -> None:
    count = kind.records
    intake = kind(settings)
    await intake.start()
    await wait_until(lambda: intake.connected)
    writes = [asyncio.create_task(intake.write(outgoing(f"r{number}", count))) for number in range(20)]
    await wait_until(lambda: intake.inside.is_set() if isinstance(intake, Held) else intake.groups)
    late = asyncio.create_task(intake.write(outgoing("late", count)))
    await asyncio.sleep(0)
    await intake.stop()
    said = await answers([*writes, late])
    names = [*(f"r{number}" for number in range(20)), "late"]
    found = await written(settings)
    for name, answer in zip(names, said, strict=True):
        if answer is None:
            assert found[name] == count
        elif str(answer) == UNKNOWN:
            assert found.get(name, 0) in (0, count)
        else:
            assert str(answer) == AWAY
            assert name not in found


async def test_questions_at_the_same_moment_are_one_query_and_none_is_older_than_its_question() -> None:
    queries: list[list[int]] = []
    go_on = asyncio.Event()

    async def fetch(keys: list[int]) -> dict[int, int]:
        queries.append(sorted(keys))
        await go_on.wait()
        if 13 in keys:
            raise BrokerError("unlucky")
        return {key: key * 10 for key in keys if key != 7}

    look_up = LookUp(fetch)
    first = asyncio.create_task(look_up.get(1))
    await wait_until(lambda: queries)
    others = [asyncio.create_task(look_up.get(key)) for key in (1, 2, 7, 2)]
    gone = asyncio.create_task(look_up.get(2))
    many = asyncio.create_task(look_up.get_many([3, 7]))
    await asyncio.sleep(0)
    gone.cancel()
    go_on.set()
    assert await first == 10
    assert [await one for one in others] == [10, 20, None, 20]
    assert await many == {3: 30}
    assert queries == [
        [1],
        [1, 2, 3, 7],
    ]  # 1 anew, since the first query may not have seen what was there when it was asked
    with pytest.raises(BrokerError):
        await look_up.get(13)
    assert await look_up.get(2) == 20
    assert await look_up.get_many([]) == {}
    assert len(await look_up.get_many(range(100, 100 + 2 * MAX_KEYS))) == 2 * MAX_KEYS
