"""The command line as a person meets it: help that teaches, one line for each error, exit statuses."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from notifier.kafka import broker_file
from notifier.settings import PREFIX, Settings
from notifier_cli.commands import COMMANDS, cli
from streams.broker.ports import free_port
from tests.rigs.api_rig import client, is_ready
from tests.rigs.kafka_tools import wait_until
from tests.rigs.roles import environment, run, start_role


def teaches(status: int, out: str, err: str) -> None:
    assert status == 0
    assert out.startswith("Usage: ")
    assert len(out.splitlines()) >= 5
    assert err == ""


async def test_help_teaches_in_a_process(settings: Settings) -> None:
    teaches(*await run(settings, "--help"))


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("kafka", "start"), ("token", "create")])
def test_help_teaches(own_settings: None, command: tuple[str, ...]) -> None:
    asked = CliRunner().invoke(cli, [*command, "--help"])
    teaches(asked.exit_code, asked.stdout, asked.stderr)


async def test_an_unknown_command_is_refused(settings: Settings) -> None:
    status, _, err = await run(settings, "aply")
    assert status == 2
    assert "aply" in err


async def test_a_bad_setting_is_one_line_that_names_the_variable(settings: Settings) -> None:
    status, out, err = await run(settings, "router", env={**environment(settings), "NOTIFIER_HTTP_PORT": "many"})
    assert (status, out) == (2, "")
    assert err.startswith("notifier: NOTIFIER_HTTP_PORT ")
    assert len(err.splitlines()) == 1


async def test_an_unknown_variable_is_a_warning_with_the_nearest_name(settings: Settings) -> None:
    env = {**environment(settings), "NOTIFIER_HTTP_PROT": "1"}
    status, _, err = await run(settings, "kafka", "status", env=env)
    assert "NOTIFIER_HTTP_PROT is not a setting of Notifier; did you mean NOTIFIER_HTTP_PORT?" in err
    assert status == 2  # because NOTIFIER_KAFKA is set here


@pytest.mark.parametrize("role", ["router", "runner", "delivery"])
async def test_a_role_without_a_broker_exits_with_3_and_names_the_mend(settings: Settings, role: str) -> None:
    env = environment(settings)
    del env["NOTIFIER_KAFKA"]
    status, _, err = await run(settings, role, env=env)
    assert status == 3
    last = err.splitlines()[-1]
    assert "notifier kafka start" in last
    assert "NOTIFIER_KAFKA" in last


async def test_a_token_is_the_only_thing_on_standard_output(settings: Settings) -> None:
    status, out, err = await run(
        settings, "token", "create", "--name", "ci", "--scope", "push", "--scope", "read", "--expires", "90d"
    )
    assert status == 0, err
    assert len(out.split()) == 1
    status, listed, _ = await run(settings, "token", "list")
    assert status == 0
    assert "ci" in listed
    assert out.strip() not in listed
    assert (await run(settings, "token", "create", "--name", "ours", "--scope", "read", "--team", "red"))[0] == 0
    assert " red " in (await run(settings, "token", "list"))[1]
    status, _, err = await run(settings, "token", "create", "--name", "x", "--scope", "read", "--team", "No Team")
    assert (status, "/team" in err) == (2, True)
    assert (await run(settings, "token", "revoke", "ci"))[0] == 0
    assert (await run(settings, "token", "revoke", "nobody"))[0] == 1


async def test_a_token_may_be_for_one_producer_alone(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "ci.yaml").write_text("producers: [{name: ci, type: push}]\n")
    assert (await run(settings, "apply", "-f", str(tmp_path / "ci.yaml")))[0] == 0
    status, out, err = await run(settings, "token", "create", "--producer", "ci")
    assert (status, len(out.split())) == (0, 1), err
    row = (await run(settings, "token", "list"))[1].splitlines()[-1].split()
    assert row[1:5] == ["ci", "push", "-", "ci"]
    status, _, err = await run(settings, "token", "create", "--producer", "cl")
    assert (status, "there is no producer 'cl'" in err) == (2, True)
    for missing, given in (("--name", ("--scope", "read")), ("--scope", ("--name", "x"))):
        status, _, err = await run(settings, "token", "create", *given)
        assert (status, f"'{missing}'" in err) == (2, True)


async def test_a_duration_that_is_none_is_refused(settings: Settings) -> None:
    status, _, err = await run(settings, "token", "create", "--name", "x", "--scope", "read", "--expires", "soon")
    assert status == 2
    assert "'soon' is not a duration; write 12h, 90d or 4w" in err


async def test_accounts_are_added_and_their_password_changed(settings: Settings) -> None:
    long = "correct horse battery"
    assert (await run(settings, "account", "add", "eve", "--role", "editor", "--password", long))[0] == 0
    status, _, err = await run(settings, "account", "add", "eve", "--role", "editor", "--password", long)
    assert status == 1
    assert "eve" in err
    assert (await run(settings, "account", "password", "eve", "--password", long + "!"))[0] == 0
    assert (await run(settings, "account", "add", "kay", "--team", "red", "--password", long))[0] == 0
    assert (await run(settings, "account", "password", "nobody", "--password", long))[0] == 1
    assert (await run(settings, "account", "role", "eve", "admin"))[0] == 0
    status, out, _ = await run(settings, "account", "list")
    assert (status, out.split()[5:8]) == (0, ["eve", "admin", "-"])
    status, _, err = await run(settings, "account", "remove", "eve")
    assert status == 1
    assert "last admin" in err
    assert (await run(settings, "account", "team", "kay", "blue"))[0] == 0
    assert " blue " in (await run(settings, "account", "list"))[1]
    assert (await run(settings, "account", "remove", "kay", "--revoke-tokens"))[
        2
    ] == "removed kay\nrevoked 0 tokens made by kay\n"
    assert (await run(settings, "account", "add", "kay", "--team", "blue", "--password", long))[0] == 0
    assert (await run(settings, "account", "team", "kay"))[0] == 0
    assert " blue " not in (await run(settings, "account", "list"))[1]
    assert (await run(settings, "account", "team", "kay", "No Team"))[0] == 2
    assert (await run(settings, "account", "add", "ada", "--role", "admin", "--password", long))[0] == 0
    assert (await run(settings, "account", "remove", "eve"))[0] == 0
    status, out, _ = await run(settings, "audit", "--kind", "account", "--limit", "1", "--since", "1h")
    assert status == 0
    assert "remove_account" in out
    assert "account eve" in out
    for command in (("messages", "-q", "build", "--since", "1h"), ("attempts", "--recipient", "eve"), ("counters",)):
        status, out, err = await run(settings, *command, "--json")
        assert (status, json.loads(out)) == (0, {"items": [], "next_cursor": None}), err
    assert (await run(settings, "messages", "-q", "*"))[::2] == (
        2,
        "notifier: /q: needs a letter or a digit: texts are found by their words\n",
    )


async def test_a_definition_goes_back_to_a_version(settings: Settings) -> None:
    file = settings.data_dir / "definitions.yaml"
    file.write_text("filters: [{name: short, type: skip_keywords, parameters: {skip_keywords: [one]}}]\n")
    assert (await run(settings, "apply", "-f", str(file)))[0] == 0
    file.write_text("filters: [{name: short, type: skip_keywords, parameters: {skip_keywords: [two]}}]\n")
    assert (await run(settings, "apply", "-f", str(file)))[0] == 0
    status, out, err = await run(settings, "history", "filter", "short", "--json")
    assert status == 0, err
    later, first = json.loads(out)["items"]
    assert later["changes"][0]["pointer"] == "/parameters/skip_keywords"
    status, out, err = await run(settings, "rollback", "filter", "short", "--version", str(first["version"]))
    assert status == 0, err
    assert out.endswith("is published\n")
    assert "already" in (await run(settings, "rollback", "filter", "short", "--version", str(first["version"])))[1]
    status, out, err = await run(settings, "history", "filter", "short", "--limit", "1")
    assert '~ /parameters/skip_keywords ["two"] → ["one"]' in out
    assert "rollback  by cli" in out
    assert "--cursor" in err
    assert (await run(settings, "rollback", "filter", "short", "--version", "999"))[0] == 2
    assert (await run(settings, "history", "filter", "nobody"))[0] == 1


async def test_what_was_applied_is_exported_and_applied_again_without_a_change(settings: Settings) -> None:
    file = settings.data_dir / "definitions.yaml"
    file.write_text("users: [{username: alice}]\nproducers: [{name: ci, type: push}]\n")
    status, out, err = await run(settings, "apply", "-f", str(file))
    assert status == 0, err
    assert "alice" in out
    status, exported, _ = await run(settings, "export")
    assert status == 0
    file.write_text(exported)
    status, out, err = await run(settings, "apply", "-f", str(file), "--prune")
    assert status == 0, err
    assert "2 unchanged" in out


async def test_a_field_that_does_not_fit_is_named(settings: Settings) -> None:
    file = settings.data_dir / "definitions.yaml"
    file.write_text("consumers: [{name: out, type: script, parameters: {script: x, timeout_s: soon}}]\n")
    status, _, err = await run(settings, "apply", "-f", str(file))
    assert status == 2
    assert "definitions.yaml" in err
    assert "timeout_s" in err


async def test_each_fault_has_a_line_of_its_own(settings: Settings) -> None:
    file = settings.data_dir / "definitions.yaml"
    file.write_text("users:\n- {username: 5}\n- {username: a, on_leave: soon}\nscripts: [{name: s, content: ''}]\n")
    status, _, err = await run(settings, "apply", "-f", str(file))
    assert status == 2
    assert [line.partition(": must")[0] for line in err.splitlines()] == [
        "notifier: definitions.yaml:2 user /username",
        "notifier: definitions.yaml:3 user a /on_leave",
        "notifier: definitions.yaml:4 script s /content",
    ]


async def test_check_says_what_is_missing_and_what_mends_it(settings: Settings) -> None:
    settings = settings.model_copy(update={"http_port": free_port()})
    status, out, _ = await run(settings, "check")
    assert status == 1  # no API runs
    lines = {line.split()[1]: line for line in out.splitlines()}
    assert lines["broker"].startswith("ok")
    assert lines["database"].startswith("ok")
    assert "notifier up" in lines["api"]
    assert lines["scripts"].startswith("ok")


def _embedded(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """Settings without a given broker or key, on free ports."""
    settings = settings.model_copy(update={"http_port": free_port(), "kafka_port": free_port()})
    env = environment(settings)
    for name in ("KAFKA", "SECRET_KEY", "TOPIC_PREFIX"):
        del env[PREFIX + name]
    return settings, env


def _marked(folder: Path) -> list[psutil.Process]:
    """The living processes that carry the data folder in their environment or arguments."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), *process.environ().values(), process.cwd()]
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found += [process] if any(str(folder) in text for text in texts) else []
        except (psutil.Error, OSError):
            continue
    return found


async def _is_ready(settings: Settings) -> bool:
    async with client(f"http://127.0.0.1:{settings.http_port}") as asking:
        try:
            return await is_ready(asking)
        except httpx.TransportError:
            return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at other processes' environment")
@pytest.mark.slow
async def test_up_starts_everything_and_stops_it_in_order(settings: Settings) -> None:
    settings, env = _embedded(settings)
    up = await start_role(settings, "up", env=env)
    try:
        await wait_until(lambda: "Notifier is up" in up.output(), 120, up.output)
        assert "The account `admin` was made" in up.output()
        second = await run(settings, "up", env=env)
        assert second[0] == 1
        assert "already" in second[2]
        status, address, _ = await run(settings, "kafka", "status", env=env)
        assert (status, address.strip()) == (0, f"127.0.0.1:{settings.kafka_port}")
    finally:
        assert await up.stop() == 0
    assert _marked(settings.data_dir) == []
    assert (await run(settings, "kafka", "status", env=env))[0] == 1
    assert "Traceback" not in up.output()


@pytest.mark.slow
async def test_up_starts_a_broker_again_that_was_killed(settings: Settings) -> None:
    settings, env = _embedded(settings)
    up = await start_role(settings, "up", env=env)
    try:
        await wait_until(lambda: "Notifier is up" in up.output(), 120, up.output)
        assert broker_file(settings).is_file()
        os.kill(json.loads(broker_file(settings).read_text())["pid"], signal.SIGKILL)
        await wait_until(lambda: up.output().count("the broker accepts clients") == 2, 120, up.output)
        assert "the broker has ended and is started again" in up.output()
        said = ""

        async def all_is_well() -> bool:  # a role that ended for want of a broker is started again after a pause
            nonlocal said
            if not await _is_ready(settings):  # which costs less than to ask by a process
                return False
            status, said, _ = await run(settings, "check", "broker", "topics", "api", env=env)
            return status == 0

        await wait_until(all_is_well, otherwise=lambda: said + up.output())
    finally:
        assert await up.stop() == 0
    assert "Traceback" not in up.output()


@pytest.mark.skipif(sys.platform != "linux", reason="only there a child dies with its parent at once")
@pytest.mark.parametrize("moment", ["early", "when the broker starts", "when all is up"])
async def test_up_that_is_killed_leaves_no_process(settings: Settings, moment: str) -> None:
    settings, env = _embedded(settings)
    up = await start_role(settings, "up", env=env)
    if moment == "early":
        await asyncio.sleep(0.5)
    elif moment == "when the broker starts":
        await wait_until(lambda: "starting the Kafka broker" in up.output(), 120, up.output)
        await asyncio.sleep(1)
    else:
        await wait_until(lambda: "Notifier is up" in up.output(), 120, up.output)
    await up.stop(signal.SIGKILL)
    await wait_until(lambda: not _marked(settings.data_dir), 120, lambda: str(_marked(settings.data_dir)))
