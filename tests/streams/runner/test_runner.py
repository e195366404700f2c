"""The runner on a real broker: ticks become runs, runs become messages, and a runner that dies is replaced."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from aiokafka import ConsumerRecord
from pydantic import SecretStr

from notifier import Context, JsonObject, Parameters, Producer
from notifier.catalog import Catalog
from notifier.definition import Definition, definition_key
from notifier.errors import UnsupportedVersion
from notifier.kafka import ensure_topics, kafka_consumer, kafka_producer
from notifier.outcome import Kind
from notifier.record import now
from notifier.registry import Registry
from notifier.run import ProducerRun, Run
from notifier.sandbox import Level, Sandbox
from notifier.settings import Settings
from notifier.topics import DEFINITIONS
from producers import BUILT_IN
from streams.definitions import Definitions
from streams.runner.leases import CLAIM, OWNER, Leases
from streams.runner.produced import read_items, sum_up
from streams.runner.runner import Runner
from streams.runner.work import MAX_TAKEOVERS
from tests.rigs.kafka_tools import create_topic, produce, read_all, wait_until
from tests.rigs.repository import ROOT

AT = "2026-11-23T09:00:00Z"
LEASE_S = 1.5  # short, so that a lease that ended is seen soon; renewals have two thirds of it to arrive


class SayParameters(Parameters):
    """Parameters of Say."""

    items: tuple[Any, ...] = ()
    gate: str = ""  # name of the gate that it waits at
    error: str = ""  # what it raises
    limit_s: float = 60.0
    token: SecretStr | None = None


class Say(Producer[SayParameters]):
    """Says what its parameters say, once its gate is open, and keeps who asked."""

    type = "say"
    Parameters = SayParameters
    asked: ClassVar[list[str]] = []
    closed: ClassVar[int] = 0
    gates: ClassVar[dict[str, asyncio.Event]] = {}

    def timeout_s(self) -> float:
        return self.parameters.limit_s

    async def produce(self, context: Context) -> list[JsonObject]:
        self.asked.append(context.name)
        if self.parameters.gate:
            await self.gates.setdefault(self.parameters.gate, asyncio.Event()).wait()
        if self.parameters.error:
            raise RuntimeError(self.parameters.error)
        return list(self.parameters.items)

    async def close(self) -> None:
        type(self).closed += 1


REGISTRY = Registry((*BUILT_IN, Say))


@pytest.fixture(autouse=True)
def _fresh_fakes() -> None:
    Say.asked.clear()
    Say.gates.clear()
    Say.closed = 0


async def define(settings: Settings, **kinds: dict[str, dict[str, Any] | None]) -> None:
    """Publishes definitions as one transaction: `configuration={"c": {...}}`; None deletes."""
    await ensure_topics(settings, [DEFINITIONS])
    revision = next(_revisions)
    changes = [(kind, name, spec) for kind, specs in kinds.items() for name, spec in specs.items()]
    async with (
        kafka_producer(settings, transactional_id=settings.topic_prefix + "outbox") as kafka,
        kafka.transaction(),
    ):
        for number, (kind, name, spec) in enumerate(changes, 1):
            headers = [("revision", b"%d" % revision)] + ([("last", b"1")] if number == len(changes) else [])
            await kafka.send(
                settings.topic_prefix + DEFINITIONS.name,
                key=definition_key(_kind(kind), name).encode(),
                value=None
                if spec is None
                else Definition(kind=_kind(kind), name=name, revision=revision, spec=spec).encode(),
                headers=headers,
            )


_revisions = itertools.count(1)


def _kind(text: str) -> Kind:
    assert text in ("user", "script", "producer", "filter", "consumer", "configuration")
    return text  # type: ignore[return-value]  # mypy does not narrow a str to a Literal by `in`


def says(*items: Any, **parameters: Any) -> dict[str, Any]:
    return {"type": "say", "parameters": {"items": list(items), **parameters}}


def tick(configuration: str = "c", at: str = AT, **more: Any) -> dict[str, Any]:
    return {"configuration": configuration, "scheduled_at": at, **more}


async def ticks(settings: Settings, *values: Any) -> list[ConsumerRecord]:
    """Writes ticks and reads them back as an agent would get them."""
    await produce(settings, "ticks", values, key="c")
    return (await read_all(settings, "ticks"))[-len(values) :]


@contextlib.asynccontextmanager
async def running(settings: Settings, count: int = 1, **options: Any) -> AsyncIterator[list[Runner]]:
    """Some runners, each with its own definitions, started and in the end stopped."""
    sandbox = options.pop("sandbox", Sandbox(level=Level.none, explanation="this test runs no script"))
    followed = [Definitions(settings, Catalog(registry=REGISTRY)) for _ in range(count)]
    runners = [
        Runner(settings, definitions, sandbox, **{"lease_s": LEASE_S, "unknown_wait_s": 0.2, **options})
        for definitions in followed
    ]
    try:
        await asyncio.gather(*[runner.start() for runner in runners])
        yield runners
    finally:
        await asyncio.gather(*[runner.stop(0) for runner in runners])
        await asyncio.gather(*[definitions.stop() for definitions in followed])


async def end_of(settings: Settings, id_: str = f"c/{AT}") -> Run:
    """The run once it has ended."""
    return await state_of(settings, id_, lambda run: run.state != "running")


async def state_of(settings: Settings, id_: str, fits: Callable[[Run], bool]) -> Run:
    """The state of the run on the log, once it fits."""
    found: Run | None = None

    async def there() -> bool:
        nonlocal found
        leases = Leases()
        for record in sorted(await read_all(settings, "runs"), key=lambda record: (record.partition, record.offset)):
            leases.apply(record)
        lease = leases.get(id_)
        found = lease.run if lease else leases.end_of(id_)
        return found is not None and fits(found)

    await wait_until(there, otherwise=lambda: f"the run is {found}")
    assert found is not None
    return found


async def messages(settings: Settings) -> list[JsonObject]:
    return [json.loads(record.value) for record in await read_all(settings, "messages")]


async def dead_letters(settings: Settings, count: int) -> list[JsonObject]:
    found: list[JsonObject] = []

    async def enough() -> bool:
        nonlocal found
        found = [json.loads(record.value) for record in await read_all(settings, "dead_letters")]
        return len(found) >= count

    await wait_until(enough, otherwise=lambda: f"{len(found)} dead letters of {count}")
    return sorted(found, key=lambda letter: str(letter["id"]))


# ---- what a run does


@pytest.mark.predecessor("S-29")
async def test_a_tick_becomes_messages_with_the_ids_of_the_tick(settings: Settings) -> None:
    await define(
        settings,
        producer={
            "prs": says(
                {"id": "42", "sender": "octocat", "receiver": "alice", "content": "review", "extra": {"kept": True}},
                {"content": "to all", "producer": "forged", "configuration": "other"},
            )
        },
        configuration={"c": {"producers": ["prs"]}},
    )
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick(at="2026-11-23T12:00:00+03:00", trigger="manual")))
        run = await end_of(settings)
    records = {record.key: json.loads(record.value) for record in await read_all(settings, "messages")}
    assert records == {
        b"alice": {
            "id": f"c/{AT}/prs/42",
            "producer": "prs",
            "configuration": "c",
            "sender": "octocat",
            "receiver": "alice",
            "content": "review",
            "extra": {"kept": True},
        },
        None: {"id": f"c/{AT}/prs/2", "producer": "prs", "configuration": "c", "content": "to all"},
    }
    assert (run.state, run.trigger, run.error) == ("done", "manual", None)
    (part,) = run.producers
    assert (part.producer, part.state, part.messages, part.error) == ("prs", "done", 2, None)
    assert run.started_at is not None
    assert part.started_at is not None
    assert part.ended_at is not None
    assert run.ended_at is not None
    assert run.started_at <= part.started_at <= part.ended_at <= run.ended_at


@pytest.mark.predecessor("S-27")
async def test_the_same_tick_is_one_run_in_a_batch_in_two_batches_and_after_a_restart(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    async with running(settings) as (runner,):
        batch = await ticks(settings, tick(), tick(at="2026-11-23T10:00:00+01:00"))
        await asyncio.gather(runner.accept(batch), runner.accept(batch))
        await end_of(settings)
        await runner.accept(batch)
    async with running(settings) as (runner,):
        await runner.accept(batch)
        await runner.accept(await ticks(settings, tick(at="2026-11-23T09:01:00Z")))
        await end_of(settings, "c/2026-11-23T09:01:00Z")
    assert Say.asked == ["p", "p"]  # once for each of two ticks
    assert len(await messages(settings)) == 2


async def test_two_runners_that_get_the_same_tick_run_it_once(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    async with running(settings, 3) as runners:
        batch = await ticks(settings, tick())
        await asyncio.gather(*[runner.accept(batch) for runner in runners])
        await end_of(settings)
    assert Say.asked == ["p"]


async def test_ticks_that_cannot_be_read_become_dead_letters_and_stop_nothing(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    async with running(settings) as (runner,):
        batch = await ticks(
            settings,
            "no tick",
            None,
            b"\xff",
            {"v": 9},
            {"configuration": "c", "scheduled_at": "now"},
            tick(at="0001-01-01T00:00:00+12:00"),
            tick("x" * 900_000),
            b"\0" * 300_000,  # six times as long as JSON
            tick(),
        )
        await runner.accept(batch)
        letters = await dead_letters(settings, 8)
        assert (await end_of(settings)).state == "done"
    assert [letter["reason"] for letter in letters] == [
        "invalid",
        "invalid",
        "invalid",
        "unsupported_version",
        "invalid",
        "invalid",
        "unknown_configuration",
        "invalid",
    ]
    assert {letter["stage"] for letter in letters} == {"run"}
    assert [(letter["topic"], letter["partition"], letter["offset"]) for letter in letters] == [
        (record.topic, record.partition, record.offset) for record in batch[:-1]
    ]
    assert letters[0]["value"] == "no tick"
    assert "value_base64" in letters[2]
    assert letters[7]["value"] == "\0" * 300_000


async def test_a_tick_of_an_unknown_configuration_is_a_dead_letter(settings: Settings) -> None:
    async with running(settings) as (runner,):
        (record,) = await ticks(settings, tick("nobody", trigger="manual"))
        await runner.accept([record])
        (letter,) = await dead_letters(settings, 1)
        run = await end_of(settings, f"nobody/{AT}")
    assert (run.state, run.error) == ("refused", "there is no configuration 'nobody'")
    assert (letter["reason"], letter["stage"], letter["id"]) == ("unknown_configuration", "run", f"nobody/{AT}")
    assert (letter["topic"], letter["partition"], letter["offset"]) == (record.topic, record.partition, record.offset)
    assert json.loads(letter["value"]) == tick("nobody", trigger="manual")
    assert letter["key"] == "nobody"


async def test_a_redriven_tick_that_was_refused_is_judged_again(settings: Settings) -> None:
    async with running(settings) as (runner,):
        batch = await ticks(settings, tick())
        await runner.accept(batch)
        assert (await end_of(settings)).state == "refused"
        await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
        await wait_until(lambda: runner.busy == 0)
        await runner.accept(batch)
        await state_of(settings, f"c/{AT}", lambda run: run.state == "done")
    assert len(await messages(settings)) == 1


async def test_a_tick_that_comes_before_its_configuration_waits_for_it(settings: Settings) -> None:
    async with running(settings, unknown_wait_s=60) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        await wait_until(lambda: runner.busy == 1)
        await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
        assert (await end_of(settings)).state == "done"
    assert await read_all(settings, "dead_letters") == []


@pytest.mark.predecessor("S-22")
@pytest.mark.parametrize(
    ("configuration", "error"),
    [
        pytest.param({"producers": ["p"], "enabled": False}, "disabled", id="disabled"),
        pytest.param({"producers": ["hooks"]}, "no producer that can be asked", id="only push"),
        pytest.param({}, "no producer that can be asked", id="no producer"),
    ],
)
async def test_a_run_with_nothing_to_do_is_refused_which_is_no_error(
    settings: Settings, configuration: dict[str, Any], error: str
) -> None:
    await define(
        settings, producer={"p": says({"content": "a"}), "hooks": {"type": "push"}}, configuration={"c": configuration}
    )
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        run = await end_of(settings)
    assert run.state == "refused"
    assert error in (run.error or "")
    assert await messages(settings) == []
    assert await read_all(settings, "dead_letters") == []


@pytest.mark.predecessor("S-28", "S-29")
async def test_producers_that_fail_hang_or_are_broken_do_not_touch_the_others(settings: Settings) -> None:
    await define(
        settings,
        script={"hang": {"content": "sleep 600"}, "talk": {"content": "echo oh no >&2; exit 7"}},
        producer={
            "fails": says(error="the token s3cret-token\nis wrong", token="s3cret-token"),
            "hangs": says(gate="never", limit_s=0.3),
            "hanging-script": {"type": "script", "parameters": {"script": "hang", "timeout_s": 0.5}},
            "failing-script": {"type": "script", "parameters": {"script": "talk"}},
            "no-such-type": {"type": "nothing-knows-it"},
            "works": says({"content": "a"}),
            "hooks": {"type": "push"},
        },
        configuration={
            "c": {
                "producers": [
                    "fails", "hangs", "hanging-script", "failing-script", "no-such-type", "missing", "hooks", "works",
                ]
            }
        },
    )  # fmt: skip
    async with running(settings.model_copy(update={"script_sandbox": "off"}), sandbox=None) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        run = await end_of(settings)
    parts = {part.producer: part for part in run.producers}
    assert run.state == "failed"
    assert list(parts) == ["fails", "hangs", "hanging-script", "failing-script", "no-such-type", "missing", "works"]
    assert parts.pop("works").state == "done"
    assert {part.state for part in parts.values()} == {"failed"}
    errors = {name: part.error or "" for name, part in parts.items()}
    assert errors["fails"] == "RuntimeError: the token *** is wrong"
    assert errors["hangs"] == "gave nothing within 0.3 s and was stopped"
    assert "0.5" in errors["hanging-script"]
    assert "oh no" in errors["failing-script"]
    assert "nothing-knows-it" in errors["no-such-type"]
    assert errors["missing"] == "there is no producer 'missing'"
    assert [message["content"] for message in await messages(settings)] == ["a"]


@pytest.mark.predecessor("S-31", "S-34")
async def test_what_is_no_message_is_a_dead_letter_and_the_rest_goes_out(settings: Settings) -> None:
    await define(
        settings,
        producer={
            "p": says(
                {"content": "a"}, {"receiver": "bob"}, {"content": 5}, {"content": "x" * 900_000}, {"content": "b"}
            )
        },
        configuration={"c": {"producers": ["p"]}},
    )
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        run = await end_of(settings)
        letters = await dead_letters(settings, 3)
    (part,) = run.producers
    assert (run.state, part.state, part.messages) == ("failed", "failed", 2)
    assert part.error == (
        "item 2: `content` is required (3 of 5 items are wrong); see the dead letters; the others went out"
    )
    assert sorted(message["id"] for message in await messages(settings)) == [f"c/{AT}/p/1", f"c/{AT}/p/5"]
    assert [(letter["id"], letter["stage"], letter["reason"]) for letter in letters] == [
        (f"c/{AT}/p/2", "run", "invalid"),
        (f"c/{AT}/p/3", "run", "invalid"),
        (f"c/{AT}/p/4", "run", "too_large"),
    ]
    assert letters[1]["error"] == "producer p: item 3: `content` must be text, not a number"
    assert json.loads(letters[1]["value"])["content"] == 5


@pytest.mark.predecessor("S-23")
async def test_two_producers_that_give_the_same_message_give_it_twice(settings: Settings) -> None:
    same = {"id": "7", "sender": "octocat", "receiver": "alice", "content": "the same"}
    await define(
        settings,
        producer={"one": says(same, {**same, "id": "8"}), "two": says(same)},
        configuration={"c": {"producers": ["one", "two"]}},
    )
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        run = await end_of(settings)
    assert [(part.producer, part.messages) for part in run.producers] == [("one", 2), ("two", 1)]
    found = await messages(settings)
    assert [message["content"] for message in found] == ["the same"] * 3
    assert sorted((message["producer"], message["id"]) for message in found) == [
        ("one", f"c/{AT}/one/7"),
        ("one", f"c/{AT}/one/8"),
        ("two", f"c/{AT}/two/7"),
    ]


async def test_messages_of_one_receiver_keep_their_order(settings: Settings) -> None:
    items = [{"receiver": f"user-{number % 3}", "content": str(number)} for number in range(1200)]
    await define(settings, producer={"p": says(*items)}, configuration={"c": {"producers": ["p"]}})
    async with running(settings, lease_s=30.0) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        assert (await end_of(settings)).state == "done"
    by_key: dict[bytes, list[int]] = {}
    for record in sorted(await read_all(settings, "messages"), key=lambda record: (record.partition, record.offset)):
        by_key.setdefault(record.key, []).append(int(json.loads(record.value)["content"]))
    assert by_key == {b"user-%d" % number: list(range(number, 1200, 3)) for number in range(3)}


async def test_a_producer_that_a_change_replaced_is_closed_once_no_run_uses_it(settings: Settings) -> None:
    await define(
        settings, producer={"p": says({"content": "old"}, gate="g")}, configuration={"c": {"producers": ["p"]}}
    )
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        await wait_until(lambda: Say.asked == ["p"])
        await define(settings, producer={"p": says({"content": "new"}), "q": says()})
        await define(settings, producer={"q": None})
        await wait_until(lambda: Say.closed == 1)  # q; p is in use
        Say.gates["g"].set()
        await end_of(settings)
        await wait_until(lambda: Say.closed == 2)
        assert [message["content"] for message in await messages(settings)] == ["old"]
    assert Say.closed == 3


# ---- leases

ID = f"c/{AT}"


def a_run(**fields: Any) -> Run:
    return Run(configuration="c", scheduled_at=datetime(2026, 11, 23, 9, tzinfo=UTC), **fields)


async def write_run(settings: Settings, run: Run, writer: str, claim: bytes | None = None) -> int:
    """Writes a state of the run as a runner would; answers its offset."""
    await create_topic(settings, "runs")
    headers = [(OWNER, writer.encode())] + ([] if claim is None else [(CLAIM, claim)])
    async with kafka_producer(settings) as kafka:
        sent = await kafka.send_and_wait(settings.topic_prefix + "runs", run.encode(), key=ID.encode(), headers=headers)
        return int(sent.offset)


async def abandon(settings: Settings, **fields: Any) -> int:
    """A run whose owner went away a minute ago."""
    run = a_run(owner="ghost", lease_until=now() - timedelta(minutes=1), **fields)
    return await write_run(settings, run, "ghost", b"")


async def test_of_many_runners_one_takes_an_abandoned_run_over(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    await abandon(settings)
    async with running(settings, 4) as runners:
        run = await end_of(settings)
        assert run.owner in {runner.owner for runner in runners}
    assert (run.state, run.takeovers) == ("done", 1)
    assert Say.asked == ["p"]
    assert len(await messages(settings)) == 1


async def test_who_takes_a_run_over_does_only_what_was_not_done(settings: Settings) -> None:
    await define(
        settings,
        producer={name: says({"content": name}) for name in ("first", "second", "third")},
        configuration={"c": {"producers": ["first", "second", "third"]}},
    )
    done = ProducerRun(producer="first", state="done", messages=1)
    failed = ProducerRun(producer="third", state="failed", error="it broke")
    await abandon(settings, producers=(done, ProducerRun(producer="second"), failed))
    async with running(settings):
        run = await end_of(settings)
    assert Say.asked == ["second"]
    assert [(part.producer, part.state) for part in run.producers] == [
        ("first", "done"), ("second", "done"), ("third", "failed"),
    ]  # fmt: skip
    assert run.state == "failed"


async def test_a_run_that_outlives_no_runner_is_given_up(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"})}, configuration={"c": {"producers": ["p"]}})
    await abandon(settings, takeovers=MAX_TAKEOVERS)
    async with running(settings):
        run = await end_of(settings)
    assert run.state == "failed"
    assert "given up" in (run.error or "")
    assert Say.asked == []


async def test_a_lease_is_renewed_for_as_long_as_the_work_takes(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"}, gate="g")}, configuration={"c": {"producers": ["p"]}})
    lease_s = 3.0
    async with running(settings, 2, lease_s=lease_s) as runners:
        await runners[0].accept(await ticks(settings, tick()))
        first = await state_of(settings, ID, lambda run: bool(run.producers))
        assert first.lease_until is not None
        later = first.lease_until + timedelta(seconds=lease_s)  # so the first lease has passed
        renewed = await state_of(settings, ID, lambda run: run.lease_until is not None and run.lease_until > later)
        Say.gates["g"].set()
        ended = await end_of(settings)
    assert first.owner == renewed.owner == ended.owner == runners[0].owner
    assert Say.asked == ["p"]


async def test_a_runner_whose_run_was_taken_over_stops_working_on_it(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"}, gate="g")}, configuration={"c": {"producers": ["p"]}})
    async with running(settings) as (runner,):
        await runner.accept(await ticks(settings, tick()))
        await wait_until(lambda: Say.asked == ["p"])
        owner = "rival"
        rival = a_run(owner=owner, lease_until=now() + timedelta(hours=1))

        async def taken() -> bool:  # a renewal may come before the claim, which has then lost
            leases = Leases()
            for record in await read_all(settings, "runs"):
                leases.apply(record)
            await write_run(settings, rival, owner, b"%d" % (leases.replaces(ID) or 0))
            return bool((await state_of(settings, ID, lambda run: True)).owner == owner)

        await wait_until(taken)
        await wait_until(lambda: runner.busy == 0)
        Say.gates["g"].set()
    assert await messages(settings) == []
    assert (await state_of(settings, ID, lambda run: True)).owner == owner


async def test_a_claim_that_came_after_the_end_leaves_the_end_as_the_newest_value(settings: Settings) -> None:
    async with running(settings, lease_s=30.0) as (runner,):
        offset = await abandon(settings)  # no configuration: it is refused... unless it ended before the claim
        await write_run(settings, a_run(state="done", owner="ghost"), "ghost")
        await write_run(settings, a_run(owner=runner.owner), runner.owner, b"%d" % offset)

        async def mended() -> bool:
            newest = max(
                (record for record in await read_all(settings, "runs") if record.key == ID.encode()),
                key=lambda record: record.offset,
            )
            return Run.decode(newest.value).state == "done"

        await wait_until(mended)
        assert runner.busy == 0


async def test_a_stopped_runner_lets_runs_end_and_hands_the_others_over(settings: Settings) -> None:
    await define(
        settings,
        producer={"slow": says({"content": "slow"}, gate="slow"), "stuck": says({"content": "stuck"}, gate="stuck")},
        configuration={"c": {"producers": ["slow"]}, "d": {"producers": ["stuck"]}},
    )
    async with running(settings, lease_s=600.0) as (runner,):
        await runner.accept(await ticks(settings, tick(), tick("d")))
        await wait_until(lambda: sorted(Say.asked) == ["slow", "stuck"])
        stopping = asyncio.create_task(runner.stop(1.0))
        await asyncio.sleep(0)  # let it begin to stop
        Say.gates["slow"].set()
        await stopping
        assert (await end_of(settings)).state == "done"
        handed_over = await state_of(settings, f"d/{AT}", lambda run: run.owner is None)
        assert handed_over.state == "running"
    Say.gates["stuck"].set()
    async with running(settings, lease_s=600.0):  # no lease of that length is waited for
        run = await end_of(settings, f"d/{AT}")
    assert (run.state, run.takeovers) == ("done", 0)
    assert [message["content"] for message in await messages(settings)] == ["slow", "stuck"]


async def test_runs_that_wait_for_a_free_place_are_handed_over_at_once(settings: Settings) -> None:
    await define(settings, producer={"p": says({"content": "a"}, gate="g")}, configuration={"c": {"producers": ["p"]}})
    times = [f"2026-11-23T09:0{minute}:00Z" for minute in range(5)]
    async with running(settings, lease_s=600.0, concurrency=1) as (runner,):
        await runner.accept(await ticks(settings, *[tick(at=at) for at in times]))
        await wait_until(lambda: runner.busy == 5)
        await wait_until(lambda: Say.asked == ["p"])
        await runner.stop(0)
    Say.gates["g"].set()
    async with running(settings, lease_s=600.0):
        for at in times:
            assert (await end_of(settings, f"c/{at}")).state == "done"
    assert len(await messages(settings)) == 5


async def test_a_run_on_the_log_that_is_newer_than_this_program_ends_the_runner(settings: Settings) -> None:
    await produce(settings, "runs", [{"v": 2}], key=ID)
    with pytest.raises(UnsupportedVersion):
        async with running(settings):
            pass


async def test_a_record_on_the_log_that_is_no_run_is_passed_over(settings: Settings) -> None:
    await produce(settings, "runs", ["no run", {"configuration": 5}], key="x")
    async with running(settings) as (runner,):
        assert runner.failed is None


async def test_a_run_whose_runner_is_killed_is_done_by_another_with_the_same_ids(settings: Settings) -> None:
    """SIGKILL while a producer still works and another has sent its messages but, for all the log says, may not have."""
    await define(
        settings,
        producer={
            "quick": says({"content": "q"}),
            "slow": says({"content": "a"}, {"id": "7", "content": "b"}, gate="g"),
        },
        configuration={"c": {"producers": ["quick", "slow"]}},
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NOTIFIER_")},
        "NOTIFIER_KAFKA": settings.kafka or "",
        "NOTIFIER_TOPIC_PREFIX": settings.topic_prefix,
        "NOTIFIER_DATA_DIR": str(settings.data_dir),
        "PYTHONPATH": str(ROOT),
    }
    await ticks(settings, tick())
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.streams.runner.test_runner", env=environment
    )
    try:
        begun = await state_of(settings, ID, lambda run: [part.state for part in run.producers] == ["done", "running"])
    finally:
        victim.send_signal(signal.SIGKILL)
        await victim.wait()
    Say.gates["g"] = asyncio.Event()
    Say.gates["g"].set()
    async with running(settings) as (runner,):
        run = await end_of(settings)
        assert run.owner == runner.owner != begun.owner
        # the tick was never committed, so it comes again
        await runner.accept(await read_all(settings, "ticks"))
    assert (run.state, run.takeovers) == ("done", 1)
    assert Say.asked == ["slow"]
    assert sorted(message["id"] for message in await messages(settings)) == [
        f"c/{AT}/quick/1",
        f"c/{AT}/slow/1",
        f"c/{AT}/slow/7",
    ]


async def _run_until_killed() -> None:
    settings = Settings()
    async with running(settings) as (runner,), kafka_consumer(settings, settings.topic_prefix + "ticks") as consumer:
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                await runner.accept(records)


# ---- the two pure parts


class Log:
    """Records of one run on one partition, as a reader gets them."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.offset = -1

    def add(self, run: Run | None, writer: str = "", claim: bytes | None = None) -> bool:
        """Appends a record; answers whether it was taken."""
        self.offset += 1
        headers = ([(OWNER, writer.encode())] if writer else []) + ([] if claim is None else [(CLAIM, claim)])
        value = None if run is None else run.encode()
        step = self.leases.apply(
            ConsumerRecord(
                "runs", 0, self.offset, int(now().timestamp() * 1000), 0, ID.encode(), value, None,
                len(ID), len(value or b""), tuple(headers),
            )
        )  # fmt: skip
        return step is not None and step.taken


def test_the_first_claim_wins_and_the_others_are_passed_over() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert not log.add(a_run(owner="b"), "b", b"")
    assert log.add(a_run(owner="c"), "c", b"0")
    assert not log.add(a_run(owner="d"), "d", b"0")
    assert log.leases.held_by("c") == [ID]


def test_a_renewal_before_a_claim_defeats_it() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="a"), "a")
    assert not log.add(a_run(owner="b"), "b", b"0")
    assert log.leases.held_by("a") == [ID]


def test_who_lost_the_lease_can_neither_renew_nor_end() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="b"), "b", b"0")
    assert not log.add(a_run(owner="a"), "a")
    assert not log.add(a_run(owner="a", state="done"), "a")
    assert log.leases.held_by("b") == [ID]


def test_a_run_that_was_handed_over_has_no_owner_until_it_is_claimed() -> None:
    log = Log()
    assert log.add(a_run(owner="a", lease_until=now() + timedelta(hours=1)), "a", b"")
    assert list(log.leases.expired(now())) == []
    assert log.add(a_run(), "a")
    assert [id_ for id_, _ in log.leases.expired(now())] == [ID]
    assert not log.add(a_run(owner="a"), "a")  # its lease is gone, with its own consent
    assert log.add(a_run(owner="b"), "b", b"1")


@pytest.mark.parametrize("state", ["done", "failed"])
def test_nothing_comes_after_the_end(state: Any) -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="a", state=state), "a")
    assert not log.leases.open(ID)
    assert not log.add(a_run(owner="a"), "a")
    assert not log.add(a_run(owner="b"), "b", b"1")
    assert not log.add(a_run(owner="b"), "b", b"")
    end = log.leases.end_of(ID)
    assert end is not None
    assert end.state == state


def test_a_refused_run_may_be_claimed_again_by_whoever_saw_the_refusal() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="a", state="refused"), "a")
    assert log.leases.open(ID)
    assert not log.add(a_run(owner="b"), "b", b"")
    assert log.add(a_run(owner="b"), "b", b"1")
    assert not log.leases.open(ID)


def test_what_ended_long_ago_and_what_was_deleted_is_forgotten() -> None:
    log = Log()
    log.add(a_run(owner="a", state="done"), "a")
    log.leases.forget_old(now() + timedelta(days=7))
    assert not log.leases.open(ID)
    log.leases.forget_old(now() + timedelta(days=9))
    assert log.leases.open(ID)
    log.add(a_run(owner="a"), "a", b"")
    log.add(None)
    assert log.leases.open(ID)


@pytest.mark.parametrize(
    ("item", "reason", "error"),
    [
        ({}, "invalid", "`content` is required"),
        ({"content": None}, "invalid", "`content` must be text, not null"),
        ({"content": {"a": 1}}, "invalid", "`content` must be text, not an object"),
        ({"content": "x", "sender": ""}, "invalid", "`sender` must not be empty"),
        ({"content": "x", "severity": "bad"}, "invalid", "`severity` must be debug, info, warning, error or critical"),
        ({"content": "x", "labels": {"a": 1}}, "invalid", "a value of `labels` must be text, not a number"),
        ({"content": "x", "not_before": "2026-01-01T00:00:00"}, "invalid", "`not_before` must be a time with a zone"),
        ({"content": "x", "id": 4}, "invalid", "`id` must be text, not a number"),
        ({"content": "x", "id": ""}, "invalid", "`id` must not be empty"),
        ({"content": "x", "id": "x" * 500}, "invalid", "`id` is too long: with 'c/"),
        ({"content": "x", "id": "x" * 600}, "invalid", "`id` is too long"),
        ({"content": "x", "receiver": "x" * 600}, "invalid", "`receiver` is too long"),
        ({"content": "x", "v": 2}, "unsupported_version", "version 2"),
        ({"content": "\ud800"}, "invalid", "UTF-8"),
        ({"content": "x", "id": "\ud800"}, "invalid", "UTF-8"),
        ({"content": "x", "extra": object()}, "invalid", "object"),
        ("text", "invalid", "must be an object"),
        ({"content": "x" * 900_000}, "too_large", "900000"),
    ],
)
def test_an_item_that_is_no_message_says_which_and_why(item: object, reason: str, error: str) -> None:
    good, bad = read_items([{"content": "fine"}, item], ID, "p", "c")
    assert good.error is None
    assert bad.reason == reason
    assert bad.error is not None
    assert bad.error.startswith("item 2: ")
    assert error in bad.error
    assert "\n" not in bad.error
    assert bad.id == f"{ID}/p/2"
    assert sum_up([good, bad]) == f"{bad.error}; see the dead letters; the others went out"


def test_a_position_never_takes_the_id_of_another_item() -> None:
    items = read_items([{"content": "a"}, {"content": "b", "id": "1"}, {"content": "c", "id": "1~"}], ID, "p", "c")
    assert [item.id for item in items] == [f"{ID}/p/1~~", f"{ID}/p/1", f"{ID}/p/1~"]


if __name__ == "__main__":  # the runner that is killed
    asyncio.run(_run_until_killed())
