"""What a run cannot use is a dead letter: ticks, ticks of unknown configurations, items that are no messages."""

import json

import pytest

from notifier.settings import Settings
from tests.rigs.runner_rig import (
    AT,
    dead_letters,
    define,
    end_of,
    messages,
    running,
    says,
    tick,
    ticks,
)


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
