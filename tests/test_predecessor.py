"""What the predecessor did, from pull requests to a chat, with every role a real process; and that no row lacks a test."""

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from notifier.attempt import Attempt
from notifier.settings import Settings
from streams.broker.ports import free_port
from tests.rigs.bot_api import GROUP, TOKEN, serving
from tests.rigs.delivery_rig import dead_letters
from tests.rigs.github_stub import REPOSITORY, pull, stub_running
from tests.rigs.kafka_tools import read_all, wait_until
from tests.rigs.repository import ROOT
from tests.rigs.roles import roles
from tests.rigs.rows import LINE, shown
from tests.test_end_to_end import api_client, apply, received

# Sections 1 to 13; the console and operation are other pages' concern.
FLOOR = [f"S-{number}" for number in range(1, 82)]

DEFINITIONS = f"""
users:
  - {{username: alice, additional_info: {{github: {{username: octocat}}, telegram: {{username: al, id: 1}}}}}}
  - {{username: bob, additional_info: {{github: {{username: hubot}}, telegram: {{username: bobby, id: 2}}}}}}
  - {{username: carol, additional_info: {{github: {{username: monalisa}}, telegram: {{username: mona, id: 3}}}}}}
  - {{username: dave, additional_info: {{github: {{username: author}}}}}}
  - {{username: erin}}
scripts:
  - {{name: append, executor: bash, content: "{{ cat; echo; }} >> INBOX/messages.jsonl"}}
  - {{name: fail, executor: bash, content: "echo out of order >&2; exit 1"}}
producers:
  - {{name: reviews, type: github, parameters: {{repository: {REPOSITORY}}}}}
filters:
  - {{name: no-wip, type: skip_keywords, parameters: {{skip_keywords: [wip]}}}}
  - {{name: in-the-team, type: receiver_exists}}
consumers:
  - {{name: broken, type: script, parameters: {{script: fail}}}}
  - {{name: chat, type: telegram, parameters: {{bot_token: "{TOKEN}", chat_id: {GROUP}}}}}
  - {{name: team-chat, type: telegram, parameters: {{bot_token: "{TOKEN}", chat_id: -7}}}}
  - {{name: to-file, type: script, parameters: {{script: append, write: ["INBOX"]}}}}
configurations:
  - {{name: all, users: [alice, bob, erin], producers: [reviews], filters: [no-wip], consumers: [broken, chat, to-file]}}
  - {{name: team, users: [alice, bob, erin], producers: [reviews], filters: [no-wip, in-the-team], consumers: [team-chat]}}
  - {{name: silent, users: [alice], producers: [reviews]}}
"""


async def attempts(settings: Settings) -> list[Attempt]:
    """All attempts; the counters beside them are left out."""
    values = [record.value for record in await read_all(settings, "attempts")]
    return [Attempt.decode(value) for value in values if b'"counters"' not in value]


@pytest.mark.slow
@pytest.mark.predecessor("S-10", "S-14", "S-15", "S-16", "S-22", "S-24", "S-25", "S-26", "S-28", "S-41", "S-42", "S-46")
async def test_pull_requests_reach_their_assignees(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inbox = tmp_path_factory.mktemp("inbox")
    inbox.chmod(0o777)
    link = f"https://github.com/{REPOSITORY}/pull/"
    async with stub_running() as github, serving() as telegram:
        github.pages = [
            [
                pull(1, ["octocat", "hubot", "monalisa"]),
                pull(2, ["octocat"], title="wip: not yet"),
                pull(3, ["author"]),
                pull(4, []),
            ]
        ]
        changes = {"http_port": free_port(), "github_api": github.url, "telegram_api": telegram.url}
        settings = settings.model_copy(update={**changes, "retry_schedule_s": (0.1,)})
        await apply(settings, DEFINITIONS.replace("INBOX", str(inbox)))
        async with roles(settings, "api", "router", "runner", "delivery"), api_client(settings) as api:
            for name in ("all", "team", "silent"):
                assert (await api.post(f"/api/v1/configurations/{name}/run")).status_code == 202

            async def settled() -> bool:
                # all: 4 items in the file, 4 in the chat, 4 given up; team: 2 in the chat;
                # dropped: wip twice, carol and dave by the team, 5 for nobody.
                ends = Counter(one.outcome for one in await attempts(settings) if one.outcome != "deferred")
                return ends == {"accepted": 10, "suppressed": 9, "refused": 4}

            await wait_until(settled, 120, lambda: f"{telegram.calls} {received(inbox)}")
        found = await attempts(settings)
    labels = "Labels: bug,good first issue"
    # Without receiver_exists a message for somebody else goes out too; with it, only those for users of the configuration.
    # Who caused it is known and has no name in Telegram: the name that it came with stays, and the message goes out.
    # The chat also gets what concerns dave, who has no name there, under the name that is known.
    expected = {GROUP: (("al", 1), ("bobby", 1), ("mona", 1), ("dave", 3)), -7: (("al", 1), ("bobby", 1))}
    assert sorted((form["chat_id"], form["text"]) for _, form in telegram.calls) == sorted(
        (str(chat), f"From author to {name}: Change {number} ({link}{number})\n{labels}")
        for chat, names in expected.items()
        for name, number in names
    )
    # The same messages reach the other consumer, in the words of its own world.
    assert sorted((item["sender"], item["receiver"], item["content"]) for item in received(inbox)) == [
        ("dave", "alice", f"Change 1 ({link}1)\n{labels}"),
        ("dave", "bob", f"Change 1 ({link}1)\n{labels}"),
        ("dave", "carol", f"Change 1 ({link}1)\n{labels}"),
        ("dave", "dave", f"Change 3 ({link}3)\n{labels}"),
    ]
    # A consumer that fails is told of and touches no other one.
    assert not [a for a in found if a.reason == "no_address"]
    letters = await dead_letters(settings)
    assert sorted((letter.reason, str(letter.delivery).rpartition("/")[2]) for letter in letters) == [
        ("exhausted", name) for name in ("alice", "bob", "carol", "dave")
    ]
    assert {letter.error for letter in letters} == {"script 'fail' ended with exit status 1: out of order"}
    silent = [a for a in found if a.configuration == "silent"]
    assert {(a.outcome, a.detail) for a in silent} == {("suppressed", "no consumer: silent")}
    assert len(silent) == 5


def test_each_row_is_shown_by_a_test(request: pytest.FixtureRequest) -> None:
    """`pytest.mark.predecessor` on a test that is really collected; the rows of the floor and no others."""
    session = request.session
    # A run of everything has collected everything; to do so again takes as long as a hundred tests.
    marks = [row for row, _ in shown(session.items)] if _is_of_everything(session) else _collected_anew()
    assert [row for row in FLOOR if row not in marks] == [], "no test shows these rows of the predecessor"
    assert set(marks) <= set(FLOOR), "these are no rows of the floor"


def _is_of_everything(session: pytest.Session) -> bool:
    options = session.config.option
    files = {item.path for item in session.items}
    return not options.keyword and not options.markexpr and files >= set((ROOT / "tests").rglob("test_*.py"))


def _collected_anew() -> list[str]:
    clean: dict[str, Any] = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = ["--collect-only", "-q", "-p", "tests.rigs.rows", "-p", "no:cacheprovider", "-p", "no:xdist"]
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", *command], cwd=ROOT, env=clean, capture_output=True, text=True, timeout=500
    )
    assert collected.returncode == 0, collected.stdout[-3000:] + collected.stderr[-3000:]
    return [line.removeprefix(LINE).split()[0] for line in collected.stdout.splitlines() if line.startswith(LINE)]
