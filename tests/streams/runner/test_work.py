"""The work of a run: its producers are asked, each for itself, and what they give becomes messages."""

import json
from typing import Any

import pytest

from notifier.run import ProducerRun
from notifier.settings import Settings
from streams.runner.work import MAX_TAKEOVERS
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.runner_rig import (
    AT,
    Say,
    abandon,
    define,
    end_of,
    messages,
    running,
    says,
    tick,
    ticks,
)


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


async def test_lines_that_a_script_printed_stay_when_it_fails_later_and_its_use_is_told(settings: Settings) -> None:
    content = """echo '{"content": "a", "receiver": "alice"}'
        echo 'no JSON'
        echo '{"content": "'$NOTIFIER_DUE'"}'
        exit 7"""
    await define(
        settings,
        script={"lines": {"content": content}},
        producer={"lines": {"type": "script", "parameters": {"script": "lines"}}},
        configuration={"c": {"producers": ["lines"]}},
    )
    async with running(settings.model_copy(update={"script_sandbox": "off"}), sandbox=None) as (runner,):
        await runner.accept(await ticks(settings, tick(at=AT)))
        run = await end_of(settings)
    found = {record["id"]: record["content"] for record in await messages(settings)}
    assert found == {f"c/{AT}/lines/1": "a", f"c/{AT}/lines/3": AT}
    (letter,) = await read_all(settings, "dead_letters")
    assert json.loads(letter.value)["error"].startswith("producer lines: item 2: line 2 of the output is not JSON")
    (part,) = run.producers
    assert (part.state, part.messages) == ("failed", 2)
    assert "exit status 7" in (part.error or "")
    assert part.elapsed_s is not None
    assert part.cpu_s is not None
    assert part.memory_mb is not None
