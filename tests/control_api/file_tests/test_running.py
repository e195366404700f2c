"""Tests that stand in files are tried by the definitions beside them, without secrets, a broker or a database."""

from pathlib import Path

import pytest

from control_api.definitions.documents import load
from control_api.file_tests.running import run_tests
from control_api.registry import load_registry
from notifier.errors import InputError
from notifier.plugin import Candidate, Filter, FilterParameters

DEFINITIONS = """
users:
  - {username: alice, working_time: {start: "09:00", end: "18:00", timezone: UTC}}
  - {username: Bob, on_leave: true}
producers:
  - {name: ci, type: push}
  - {name: reviews, type: github, parameters: {repository: owner/name, token: "${NOBODY_SETS_THIS}"}}
filters:
  - {name: no-wip, type: skip_keywords, parameters: {skip_keywords: [wip]}}
  - {name: at-work, type: receiver_working}
consumers:
  - {name: chat, type: telegram, parameters: {bot_token: "${NOBODY_SETS_THIS}", chat_id: -7}}
  - {name: mail, type: telegram, parameters: {chat_id: -8}}
configurations:
  - {name: builds, users: [alice, bob], producers: [ci], filters: [no-wip, at-work], consumers: [chat]}
  - {name: all, producers: [reviews], consumers: [chat, mail]}
  - {name: off, enabled: false, producers: [ci], consumers: [chat]}
"""
MONDAY = '"2026-11-30T10:00:00Z"'


def written(folder: Path, *tests: str, definitions: str = DEFINITIONS) -> Path:
    file = folder / "notifier.yaml"
    file.write_text(definitions + "tests:\n" + "".join(f"  - {test}\n" for test in tests))
    return file


ALICE = "message: {producer: ci, receiver: alice, content: done}"


@pytest.mark.parametrize(
    "test",
    [
        f"{{name: t, {ALICE}, at: {MONDAY}, expect: [{{recipient: alice, consumer: chat}}]}}",
        f"{{name: t, at: {MONDAY}, message: {{producer: ci, content: x}}, expect: [{{recipient: alice, consumer: chat}}]}}",
        f"{{name: t, at: {MONDAY}, message: {{producer: ci, receiver: ALICE, content: wip}}, expect: {{dropped_by: no-wip}}}}",
        f"{{name: t, at: {MONDAY}, message: {{producer: ci, receiver: bob, content: x}}, expect: {{dropped_by: at-work}}}}",
        f'{{name: t, {ALICE}, at: "2026-11-30T20:00:00Z", expect: {{dropped_by: at-work}}}}',
        f"{{name: t, {ALICE}, configuration: all, expect: []}}",
        "{name: t, message: {producer: reviews, content: x}, expect: [{consumer: chat}, {consumer: mail}]}",
        "{name: t, message: {producer: ci, receiver: stranger, content: x}, expect: {reason: unknown_receiver}}",
        "{name: t, message: {producer: unknown, content: x, colour: red}, expect: {reason: unknown_producer}}",
        "{name: t, message: {producer: ci, configuration: off, content: x}, expect: {reason: disabled}}",
        "{name: t, message: {producer: ci, configuration: off, content: x}, expect: []}",
    ],
)
def test_what_is_expected_passes(tmp_path: Path, test: str) -> None:
    (outcome,) = run_tests(written(tmp_path, test))
    assert outcome.passed, outcome.why


@pytest.mark.parametrize(
    ("test", "why"),
    [
        (
            f"{{name: t, at: {MONDAY}, message: {{producer: ci, receiver: alice, content: a wip}},"
            " expect: [{recipient: alice, consumer: chat}]}",
            "alice by chat was expected: alice would not get it: builds would drop it, because no-wip says that the content"
            " contains 'wip'.",
        ),
        (
            f"{{name: t, {ALICE}, at: {MONDAY}, expect: []}}",
            "alice by chat was not expected: builds would pass it on to chat for alice.",
        ),
        (
            f"{{name: t, {ALICE}, at: {MONDAY}, expect: {{dropped_by: no-wip}}}}",
            "no-wip was expected to drop it, but it goes to alice by chat: builds would pass it on to chat for alice.",
        ),
        (
            f"{{name: t, at: {MONDAY}, message: {{producer: ci, receiver: bob, content: x}}, expect: {{dropped_by: no-wip}}}}",
            "no-wip was expected to drop it: Bob would not get it: builds would drop it, because at-work says that Bob is on"
            " leave.",
        ),
        (
            "{name: t, message: {producer: c1, receiver: alice, content: x}, expect: []}",
            "there is no producer 'c1'; where that is meant, write `expect: {reason: unknown_producer}`",
        ),
        (
            "{name: t, message: {producer: ci, receiver: alcie, content: x}, expect: []}",
            "nobody is called 'alcie' in the world 'default'; where that is meant, write `expect: {reason: unknown_receiver}`",
        ),
        (
            "{name: t, message: {producer: ci, configuration: bilds, content: x}, expect: {dropped_by: no-wip}}",
            "there is no configuration 'bilds'; where that is meant, write `expect: {reason: unknown_configuration}`",
        ),
        (
            "{name: t, message: {producer: ci, receiver: alcie, content: x}, expect: {reason: unknown_producer}}",
            "unknown_producer was expected: Nobody would get it: nobody is called 'alcie' in the world 'default'.",
        ),
        (
            f"{{name: t, {ALICE}, at: {MONDAY}, expect: {{reason: unknown_receiver}}}}",
            "unknown_receiver was expected: builds would pass it on to chat for alice.",
        ),
    ],
    ids=[
        "dropped",
        "delivered",
        "not dropped",
        "dropped by another",
        "no producer",
        "no receiver",
        "no configuration",
        "another problem",
        "no problem",
    ],
)
def test_what_is_not_expected_says_why(tmp_path: Path, test: str, why: str) -> None:
    (outcome,) = run_tests(written(tmp_path, test))
    assert outcome.why == [why]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("{name: t, mesage: {}, expect: []}", "notifier.yaml:19 test t /mesage: is not a field here"),
        ("{name: t, message: {content: x}, expect: []}", "test t /message: Object missing required field `producer`"),
        (f"{{name: t, {ALICE}}}", "notifier.yaml:19 test t /expect: is required"),
        (f"{{name: t, {ALICE}, expect: yes}}", "notifier.yaml:19 test t /expect: must be a list of"),
        (f"{{name: t, {ALICE}, expect: [{{recipient: alice}}]}}", "notifier.yaml:19 test t /expect/0/consumer: is required"),
        (f"{{name: t, {ALICE}, expect: {{dropped: x}}}}", "notifier.yaml:19 test t /expect/dropped_by: is required"),
        (f"{{name: t, message: {{producer: ci, content: {'x' * 900_000}}}, expect: []}}", "test t /message: a message has"),
        (f"{{name: t, {ALICE}, expect: {{dropped_by: x}}}}", "test t /expect/dropped_by: there is no filter 'x' in these files"),
        (f"{{name: t, {ALICE}, at: noon, expect: []}}", "notifier.yaml:19 test t /at: "),
        ("7", "notifier.yaml:19 test"),
        (f"{{name: t, {ALICE}, expect: {{reason: odd}}}}", "notifier.yaml:19 test t /expect/reason: must be 'unknown_producer'"),
        ("{name: t, name: u}", "the field 'name' is there already"),
    ],
)  # fmt: skip
def test_what_does_not_fit_names_line_and_field(tmp_path: Path, test: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        run_tests(written(tmp_path, test))
    assert any(said in str(error) for error in caught.value.errors), caught.value.errors


def test_what_the_files_do_not_have_is_named(tmp_path: Path) -> None:
    for there, gone, said in (
        ("consumers: [chat]", "consumers: [gone]", "configuration builds /consumers/0: there is no consumer 'gone'"),
        ("type: receiver_working", "type: odd", "notifier.yaml:10 filter at-work /type: there is no filter type 'odd'"),
        ("users: [alice, bob]", "users: [eve]", "/users/0: there is no user 'eve'"),
        ("chat_id: -8", "chat_id: x", "notifier.yaml:13 consumer mail: /parameters/chat_id"),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            run_tests(written(tmp_path, definitions=DEFINITIONS.replace(there, gone)))
        assert said in str(caught.value)


class Broken(Filter[FilterParameters]):
    """Fails."""

    type = "broken"
    Parameters = FilterParameters

    def accepts(self, candidate: Candidate) -> bool:
        raise RuntimeError("boom")


@pytest.mark.parametrize("expected", ["{dropped_by: at-work}", "[]"])
def test_a_filter_that_fails_drops_nothing(tmp_path: Path, expected: str) -> None:
    file = written(
        tmp_path,
        f"{{name: t, {ALICE}, at: {MONDAY}, expect: {expected}}}",
        definitions=DEFINITIONS.replace("receiver_working", "broken"),
    )
    (outcome,) = run_tests(file, load_registry().with_plugins(Broken))
    assert outcome.why == ["at-work cannot judge it: the filter at-work failed: RuntimeError: boom"]


def test_tests_are_no_definitions(tmp_path: Path) -> None:
    file = written(tmp_path, f"{{name: t, {ALICE}, expect: []}}")
    assert len(load(file)) == DEFINITIONS.count("  - {")
    file.write_text("tests: {}\n")
    with pytest.raises(InputError, match="tests must be a list"):
        load(file)
    file.write_text("tests:\n")
    assert load(file) == []


def test_groups_are_known(tmp_path: Path) -> None:
    definitions = (
        DEFINITIONS.replace("users: [alice, bob]", "users: ['group:ops']")
        + "groups:\n  - {name: ops, members: [ALICE]}\n"
    )
    to_all = f"{{name: t, at: {MONDAY}, message: {{producer: ci, content: x}}, expect: [{{recipient: alice, consumer: chat}}]}}"
    to_group = to_all.replace("content: x", "content: x, receiver: 'group:ops'")
    outcomes = run_tests(written(tmp_path, to_all, to_group, definitions=definitions))
    assert [outcome.why for outcome in outcomes] == [[], []]
    for there, gone, said in (
        ("group:ops", "group:devs", "configuration builds /users/0: there is no group 'devs'"),
        ("members: [ALICE]", "members: [eve]", "group ops /members/0: there is no user 'eve'"),
    ):
        with pytest.raises(InputError) as caught:
            run_tests(written(tmp_path, definitions=definitions.replace(there, gone)))
        assert said in str(caught.value)
