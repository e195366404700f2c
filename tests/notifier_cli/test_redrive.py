"""`notifier redrive` with a real broker and no API."""

import json
from pathlib import Path

from notifier.settings import Settings
from tests.rigs.delivery_rig import make
from tests.rigs.kafka_tools import produce, read_all
from tests.rigs.redrive_rig import buried
from tests.rigs.roles import run

STORED = """
scripts: [{name: say, executor: bash, content: "true"}]
consumers: [{name: sink, type: script, parameters: {script: say}}]
"""


async def test_letters_on_the_topic_are_counted_and_sent_again(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "stored.yaml").write_text(STORED)
    assert (await run(settings, "apply", "-f", str(tmp_path / "stored.yaml")))[0] == 0
    letters = [buried(settings, make("x", number=number)) for number in range(5)]
    letters.append(buried(settings, make("x", consumer="gone")))
    await produce(settings, "dead_letters", [letter.encode() for letter in letters])

    status, out, _ = await run(settings, "redrive", "--since", "1h", "--dry-run")
    assert status == 0
    assert [line.split() for line in out.splitlines()] == [
        ["6", "dead", "letters"], ["6", "exhausted"], ["5", "sink"], ["1", "gone"],
    ]  # fmt: skip
    assert await read_all(settings, "deliveries.sink") == []
    status, out, err = await run(settings, "redrive", "--since", "1h", "--reason", "exhausted", "--per-second", "1000")
    assert (status, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "5 of 6 dead letters were sent again."
    assert lines[1] == "1 not: the consumer gone is not defined any more"
    assert lines[2] == make("x", consumer="gone").id
    again = [json.loads(record.value) for record in await read_all(settings, "deliveries.sink")]
    assert {value["id"] for value in again} == {letter.id for letter in letters[:5]}

    for arguments, status, said in (
        (["--consumer", "sink"], 0, "No dead letter is like that"),
        (["--consumer", "sink", "--json"], 0, '"matched": 0'),
        ([], 2, "say which"),
        (["--reason", "tired"], 2, "'tired' is not one of"),
        (["--since", "noon"], 2, "is no time"),
        (["--since", "1h", "--until", "2h"], 2, "must be before"),
    ):
        found = await run(settings, "redrive", *arguments)
        assert (found[0], said in found[1] + found[2]) == (status, True), (arguments, found)
    away = settings.model_copy(update={"kafka": "127.0.0.1:1"})
    assert (await run(away, "redrive", "--since", "1h"))[0] == 3
