"""The script consumer, called as delivery calls it, with real scripts in the real sandbox."""

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from consumers.script import Script as ScriptConsumer
from consumers.script import ScriptParameters
from notifier import Context, Delivery, Permanent, Result, Retryable
from notifier.outcome import Outcome, Reason
from notifier.sandbox import Level, Sandbox, detect_sandbox
from notifier.script import Executor
from notifier.settings import load_settings
from notifier.testing import Case, hold
from tests.rigs.plugin_world import context_with_script, make_delivery


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The sandbox of this machine."""
    found = detect_sandbox(load_settings(env_file=None, data_dir=tmp_path_factory.mktemp("data")))
    if found.level is Level.none:
        pytest.skip(found.explanation)
    return found


def context(sandbox: Sandbox, content: str, executor: Executor = "python") -> Context:
    """A context in which the script `work` has that content."""
    return context_with_script("to-script", sandbox, content, executor)


def consumer(**parameters: Any) -> ScriptConsumer:
    return ScriptConsumer(ScriptParameters(**{"script": "work", **parameters}))


def make(number: int = 0, message: bytes | None = None, **fields: Any) -> Delivery:
    given = {"title": "a title", "labels": {"team": "infra"}, "severity": "error"}
    return make_delivery(f"text {number}", number=number, consumer="to-script", message=message or given, **fields)


@pytest.mark.parametrize(
    ("content", "outcome", "reason"),
    [
        pytest.param("", "accepted", "ok", id="done"),
        pytest.param("raise SystemExit(3)", "deferred", "script_failed", id="failed"),
        pytest.param("import nothing_of_that_name", "refused", "script_failed", id="never works"),
        pytest.param("import time; time.sleep(60)", "unknown", "timeout", id="too slow"),
        pytest.param(
            "import json, sys\n"
            "print(json.dumps([{'id': one['id'], 'outcome': 'refused'} for one in json.load(sys.stdin)]))",
            "refused",
            "script_failed",
            id="refused by its answer",
        ),
    ],
)
async def test_it_keeps_the_contract(sandbox: Sandbox, content: str, outcome: Outcome, reason: Reason) -> None:
    case = Case(name="", outcome=outcome, reason=reason)
    await hold(consumer(timeout_s=5), case, None, make(), context(sandbox, content))


ECHO = "import json, sys\nitems = json.load(sys.stdin)\n"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"batch": 0}, id="batch below 1"),
        pytest.param({"batch": 501}, id="batch above 500"),
        pytest.param({"timeout_s": 0}, id="no time"),
        pytest.param({"write": ["out"]}, id="relative path"),
        pytest.param({"write": ["/srv/../etc"]}, id="path with .."),
        pytest.param({"script": "No Name"}, id="not a name"),
        pytest.param({"colour": "red"}, id="unknown field"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        consumer(**wrong)


@pytest.mark.predecessor("S-10")
def test_defaults_are_those_of_the_contract() -> None:
    script = consumer()
    assert script.parameters.model_dump() == {
        "title": None,
        "world": None,
        "partitions": 4,
        "overtake": "none",
        "script": "work",
        "batch": 1,
        "timeout_s": 30.0,
        "memory_mb": 256,
        "network": False,
        "write": (),
        "tools": (),
    }
    assert (script.batch(), script.fixed_address(), script.world_of()) == (1, True, "default")


@pytest.mark.predecessor("S-50")
async def test_a_script_gets_the_fields_of_the_protocol(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    copy = "import sys; sys.stderr.write(sys.stdin.read())"
    everyone = make(1, recipient=None, receiver=None, recipients=("alice", "bob"), attempt=2)
    with caplog.at_level(logging.WARNING, "consumers.script"):
        results = await consumer(batch=5).deliver([make(0), everyone], context(sandbox, copy))
    assert results == [Result(), Result()]
    _, _, given_text = caplog.records[0].args or (None, None, None)  # standard error is logged
    given = json.loads(str(given_text))
    assert given == [
        {
            "id": "ci/0/all/to-script/alice",
            "attempt": 1,
            "sender": "octocat",
            "receiver": "al",
            "content": "text 0",
            "title": "a title",
            "url": None,
            "severity": "error",
            "labels": {"team": "infra"},
            "configuration": "all",
        },
        {
            "id": "ci/1/all/to-script/alice",
            "attempt": 2,
            "sender": "octocat",
            "receiver": None,
            "content": "text 1",
            "title": "a title",
            "url": None,
            "severity": "error",
            "labels": {"team": "infra"},
            "configuration": "all",
            "recipients": ["alice", "bob"],
        },
    ]


async def test_a_script_may_write_where_it_is_allowed_to(sandbox: Sandbox, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for folder in (out, *out.parents):
        if folder.stat().st_uid == out.stat().st_uid and folder.is_relative_to(Path("/tmp")) and folder != Path("/tmp"):
            folder.chmod(0o755)
    out.chmod(0o777)
    write = context(sandbox, f"cat >> {out}/got", "bash")
    assert await consumer(write=[str(out)]).deliver([make(0)], write) == [Result()]
    assert json.loads((out / "got").read_text())[0]["content"] == "text 0"


ANSWERS = ECHO + (
    "words = ['accepted', 'deferred', 'refused', 'unknown', 'suppressed']\n"
    "print(json.dumps([{'id': item['id'], 'outcome': word, 'detail': 'd'} for item, word in zip(items, words)]))\n"
)


@pytest.mark.predecessor("S-50")
@pytest.mark.parametrize("status", [0, 3])
async def test_what_a_script_answers_for_one_delivery_holds_for_that(sandbox: Sandbox, status: int) -> None:
    made = [make(n) for n in range(6)]
    results = await consumer(batch=10).deliver(made, context(sandbox, ANSWERS + f"sys.exit({status})"))
    assert [(result.outcome, result.reason, result.detail) for result in results[:5]] == [
        ("accepted", "ok", "d"),
        ("deferred", "script_failed", "d"),
        ("refused", "script_failed", "d"),
        ("unknown", "script_failed", "d"),
        ("suppressed", "filtered", "d"),
    ]
    assert (results[5].outcome, results[5].reason) == (
        ("accepted", "ok") if status == 0 else ("deferred", "script_failed")
    )


@pytest.mark.predecessor("S-51")
@pytest.mark.parametrize(
    ("content", "reason", "text"),
    [
        pytest.param("import sys; sys.exit('disk full')", "script_failed", "disk full", id="status and standard error"),
        pytest.param("print('not json'); raise SystemExit(2)", "script_failed", "2", id="status, output is no answer"),
        pytest.param("import time; time.sleep(60)", "timeout", "1 s", id="too long"),
    ],
)
async def test_a_failure_of_the_run_is_retryable_with_its_reason(
    sandbox: Sandbox, content: str, reason: str, text: str
) -> None:
    with pytest.raises(Retryable, match=text) as raised:
        await consumer(timeout_s=1).deliver([make(0)], context(sandbox, content))
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("executor", "content", "words"),
    [
        pytest.param("bash", "if true; then\necho a", "syntax error: unexpected end of file", id="if without fi"),
        pytest.param("bash", "echo a\ndone", "syntax error near", id="done without do"),
        pytest.param("bash", "echo 'a", "unexpected EOF", id="an open quote"),
        pytest.param("bash", "no-such-program-here --x", "exit status 127", id="no such program"),
        pytest.param("bash", "/etc/passwd", "exit status 126", id="no program"),
        pytest.param("python", "print(", "SyntaxError", id="an open bracket"),
        pytest.param("python", "if True:\nprint()", "IndentationError", id="no indentation"),
        pytest.param("python", "import no_such_module_here", "ModuleNotFoundError", id="no such module"),
        pytest.param("python", "from json import nothing_of_it", "ImportError", id="nothing of the name"),
    ],
)
async def test_a_script_that_cannot_work_is_not_tried_again(
    sandbox: Sandbox, executor: Executor, content: str, words: str
) -> None:
    with pytest.raises(Permanent, match=words) as raised:
        await consumer().deliver([make(0)], context(sandbox, content, executor))
    assert raised.value.reason == "script_failed"
    assert "another try would end the same" in str(raised.value)


async def test_what_a_broken_script_answered_holds_and_the_rest_is_given_up(sandbox: Sandbox) -> None:
    content = ECHO + "print(json.dumps([{'id': items[0]['id'], 'outcome': 'accepted'}]), flush=True)\nimport nowhere\n"
    results = await consumer(batch=2).deliver([make(0), make(1)], context(sandbox, content))
    assert [(result.outcome, result.reason) for result in results] == [("accepted", "ok"), ("refused", "script_failed")]


@pytest.mark.parametrize(
    ("executor", "content"),
    [
        pytest.param("bash", "exit 1", id="1"),
        pytest.param("bash", "echo 'syntax error' >&2; exit 2", id="2 that means something else"),
        pytest.param("bash", 'eval "if true"; exit 2', id="eval"),
        pytest.param("bash", "bash -c 'if true'; exit 2", id="another bash"),
        pytest.param("bash", "x=a+; echo $((x)); exit 2", id="arithmetic"),
        pytest.param("python", "exec('x = ')", id="exec"),
        pytest.param("python", "import sys; sys.exit('SyntaxError: of the answer')", id="words"),
        pytest.param("python", "raise FileNotFoundError('it')", id="a file"),
    ],
)
async def test_what_another_try_may_mend_is_tried_again(sandbox: Sandbox, executor: Executor, content: str) -> None:
    with pytest.raises(Retryable) as raised:
        await consumer().deliver([make(0)], context(sandbox, content, executor))
    assert raised.value.reason == "script_failed"


async def test_a_script_whose_interpreter_is_not_installed_is_not_tried_again(sandbox: Sandbox) -> None:
    assert sandbox.machine is not None
    without = replace(sandbox, machine=replace(sandbox.machine, interpreters={}))
    with pytest.raises(Permanent, match="needs bash, which is not installed here"):
        await consumer().deliver([make(0)], context(without, "true", "bash"))


NO_ANSWER = "printed what is no answer, so its exit status decides"


@pytest.mark.predecessor("S-50")
@pytest.mark.parametrize(
    ("printed", "logged"),
    [
        pytest.param("ok", "'ok'", id="a word"),
        pytest.param('{"ok":true}', "ok", id="what curl prints"),
        pytest.param("Already up to date.\n\x1b[1m 3%\r100%", "100%", id="progress"),
        pytest.param('{"id": "%s", "outcome": "deferred"}\n' * 2, "outcome", id="JSON Lines"),
        pytest.param("[" * 5000, "[[[", id="too deep"),
        pytest.param("[1e999999999, 2", "1e9", id="cut off"),
        pytest.param("\udcff", "\N{REPLACEMENT CHARACTER}", id="bytes"),
        pytest.param('[1, null, "%s", [], {"ok": 9999999999999999999999999}]', "and 2 more", id="an array of others"),
        pytest.param('[{"id": "other", "outcome": "refused"}]', '"other" is not the id', id="another id"),
        pytest.param('[{"id": ["%s"], "outcome": "refused"}]', "is not the id", id="an id that is no text"),
        pytest.param('[{"id": "%s", "attempt": 1}]', "the outcome of", id="its input"),
        pytest.param('[{"id": "%s", "outcome": "DEFERRED"}]', '"DEFERRED", not one of accepted,', id="capitals"),
        pytest.param(
            '[{"id": "%s", "outcome": ["deferred"]}]', "not one of accepted,", id="an outcome that is no text"
        ),
        pytest.param('[{"id": "%s", "outcome": "accepted", "detail": {}}]', "is not a text", id="a detail of its own"),
    ],
)
async def test_a_script_that_ended_with_status_0_is_done_whatever_it_printed(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, printed: str, logged: str
) -> None:
    made = [make(0), make(1)]
    output = printed.replace("%s", made[0].id).encode(errors="surrogateescape")
    content = f"import sys; sys.stdout.buffer.write({output!r})"
    with caplog.at_level(logging.INFO, "consumers.script"):
        results = await consumer(batch=2).deliver(made, context(sandbox, content))
    assert [result.outcome for result in results] == ["accepted", "accepted"]
    (line,) = caplog.messages
    assert NO_ANSWER in line
    assert logged in line
    if made[0].id not in line:  # an answer may name an item; a failure that names none is the whole batch's
        with pytest.raises(Retryable, match="exit status 3"):
            await consumer(batch=2).deliver(made, context(sandbox, content + "\nsys.exit(3)"))


async def test_wrong_fields_of_an_answer_are_a_warning_and_the_others_count(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    content = ECHO + (
        "answers = [{'outcome': 'deferred', 'detail': 5}, {'outcome': 'Done'}, {'outcome': 'refused', 'more': 1}]\n"
        "text = json.dumps([{**answer, 'id': item['id']} for item, answer in zip(items, answers)])\n"
        "sys.stdout.buffer.write(('\\ufeff' + text).encode())"
    )
    results = await consumer(batch=5).deliver([make(n) for n in range(4)], context(sandbox, content))
    assert [(result.outcome, result.detail) for result in results] == [
        ("deferred", "5"),
        ("accepted", None),
        ("refused", None),
        ("accepted", None),
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_message_that_cannot_be_read_is_refused_and_the_others_go(sandbox: Sandbox) -> None:
    results = await consumer(batch=2).deliver([make(0, message=b'{"content": 1}'), make(1)], context(sandbox, ECHO))
    assert [(result.outcome, result.reason) for result in results] == [
        ("refused", "invalid_content"),
        ("accepted", "ok"),
    ]


@pytest.mark.predecessor("S-54")
async def test_a_script_that_is_not_there_can_come_later(sandbox: Sandbox) -> None:
    with pytest.raises(Retryable, match="there is no script 'gone'"):
        await consumer(script="gone").deliver([make(0)], context(sandbox, ECHO))
    with pytest.raises(Permanent, match="there is no script 'gone'"):
        await consumer(script="gone").check(context(sandbox, ECHO))
    await consumer().check(context(sandbox, ECHO))


async def test_a_cancelled_call_leaves_no_process(sandbox: Sandbox) -> None:
    call = asyncio.create_task(consumer().deliver([make(0)], context(sandbox, "import time; time.sleep(60)")))
    await asyncio.sleep(0.5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
