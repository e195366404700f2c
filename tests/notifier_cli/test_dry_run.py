"""`notifier dry-run` with a real broker and no API."""

import json
from pathlib import Path

import pytest

from notifier.bounds import FIRST
from notifier.settings import Settings
from notifier_cli.moment import Moment
from tests.rigs.kafka_tools import produce
from tests.rigs.roles import run

STORED = """
users: [{username: alice}, {username: bob, on_leave: true}]
producers: [{name: ci, type: push}]
consumers: [{name: chat, type: telegram, parameters: {bot_token: "123:abc", chat_id: -5}}]
configurations:
  - {name: builds, users: [alice, bob], producers: [ci], consumers: [chat]}
  - {name: all, producers: [ci], consumers: [chat]}
"""
DRAFT = """
filters: [{name: at-work, type: receiver_working}]
configurations: [{name: builds, users: [alice, bob], producers: [ci], filters: [at-work], consumers: [chat]}]
"""


@pytest.mark.parametrize("ago", ["100000d", "9999999w", "99999999w"])
def test_so_long_ago_that_nothing_was_is_the_first_time_there_is(ago: str) -> None:
    assert Moment().convert(ago, None, None) == FIRST


async def test_a_draft_is_told_in_words_and_as_json(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "stored.yaml").write_text(STORED)
    draft = tmp_path / "draft.yaml"
    draft.write_text(DRAFT)
    assert (await run(settings, "apply", "-f", str(tmp_path / "stored.yaml")))[0] == 0
    values = [
        {"producer": "ci", "id": f"m{number}", "receiver": "bob" if number % 3 else "alice", "content": "done"}
        for number in range(30)
    ]
    await produce(settings, "messages", [*map(json.dumps, values), "{"], partition=0)

    status, out, err = await run(settings, "dry-run", "-f", str(draft), "--since", "1h")
    assert (status, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[1:6] == [
        "31 messages, 30 of its producers",
        "1 records that are no messages",
        "10 deliveries by the draft, 30 as it is stored",
        "+       0 added",
        "-      20 dropped",
    ]
    assert lines[6].endswith(
        "to bob by chat: bob would not get it: builds would drop it, because at-work says that bob is on leave."
    )
    assert lines[-1] == "and 10 more"

    status, out, _ = await run(settings, "dry-run", "--configuration", "all", "--json")
    found = json.loads(out)
    assert (status, found["state"], found["progress"]) == (0, "done", 1)
    assert (found["messages"], found["would_deliver"], found["samples"]) == (31, 30, {"added": [], "dropped": []})

    for arguments, status, said in (
        (["-f", str(tmp_path / "stored.yaml")], 2, "say which configuration is meant: one of all, builds"),
        (["--configuration", "gone"], 1, "there is no configuration 'gone'"),
        (["--configuration", "all", "--since", "noon"], 2, "is no time"),
        (["--configuration", "all", "--until", "9999999w"], 2, "must be earlier than `until`"),
        (["--configuration", "all", "--since", "2999-01-01T00:00:00Z"], 2, "must be earlier than now"),
        ([], 2, "say which configuration is meant"),
    ):
        ended, _, err = await run(settings, "dry-run", *arguments)
        assert (ended, said in err) == (status, True), (arguments, err)
