"""The API as a process: how it starts, drains, refuses to start, and is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from control_api.access import tokens
from control_api.serve import listen
from notifier.settings import Settings
from tests.rigs.api_rig import GOOD, client, define, is_ready
from tests.rigs.kafka_tools import WAIT_S, read_all, wait_for_records, wait_until

PROGRAM = """
import sys
from control_api import app
from control_api.serve import run_api_process
from notifier.settings import load_settings
from tests.rigs.api_rig import REGISTRY
app.load_registry = lambda: REGISTRY
sys.exit(run_api_process(load_settings(env_file=None)))
"""


def process(settings: Settings, **variables: str) -> subprocess.Popen[str]:
    """The API as a process of its own, on a free port unless told otherwise."""
    assert settings.secret_key is not None
    assert settings.kafka is not None
    environment = {
        **os.environ,
        "NOTIFIER_KAFKA": settings.kafka,
        "NOTIFIER_TOPIC_PREFIX": settings.topic_prefix,
        "NOTIFIER_DATA_DIR": str(settings.data_dir),
        "NOTIFIER_SECRET_KEY": settings.secret_key.get_secret_value(),
        "NOTIFIER_HTTP_PORT": "0",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def url_of(api_process: subprocess.Popen[str]) -> str:
    """The address that it logs; fails when it ends instead."""
    assert api_process.stderr is not None
    for line in api_process.stderr:
        entry = json.loads(line)
        if "port" in entry:
            assert entry["role"] == "api"
            threading.Thread(target=api_process.stderr.read, daemon=True).start()  # a full pipe would stop it
            return f"http://127.0.0.1:{entry['port']}"
    raise AssertionError("the process ended without listening")


def ended(api_process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its status and what it said."""
    _, said = api_process.communicate(timeout=120)
    return api_process.returncode, said


async def test_the_process_drains_and_ends_with_status_0_on_sigterm(settings: Settings) -> None:
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["push"])
    running_process = process(settings)
    try:
        async with client(await asyncio.to_thread(url_of, running_process), token) as asking:
            await wait_until(lambda: is_ready(asking))
            inside = asyncio.Event()

            async def slowly() -> AsyncIterator[bytes]:
                yield b'{"producer":"ci",'
                inside.set()
                await asyncio.sleep(1)
                yield b'"content":"x","id":"last"}'

            sending = asyncio.create_task(
                asking.post("/api/v1/messages", content=slowly(), headers={"Content-Type": "application/json"})
            )
            await inside.wait()
            running_process.send_signal(signal.SIGTERM)
            assert (await sending).status_code == 202
        assert await asyncio.to_thread(running_process.wait, 120) == 0
    finally:
        running_process.kill()
        running_process.wait()
        assert running_process.stderr is not None
        running_process.stderr.close()
    assert [orjson.loads(record.value)["id"] for record in await read_all(settings, "messages")] == ["last"]


async def test_it_refuses_to_listen_to_others_while_nobody_can_sign_in(settings: Settings) -> None:
    status, said = await asyncio.to_thread(ended, process(settings, NOTIFIER_HTTP_HOST="0.0.0.0"))
    assert status == 2
    assert "notifier token create" in said
    await tokens.create_token(settings, name="t", scopes=["read"])
    allowed = process(settings, NOTIFIER_HTTP_HOST="0.0.0.0")
    try:
        await asyncio.to_thread(url_of, allowed)
    finally:
        allowed.terminate()
        assert allowed.wait(WAIT_S) == 0
        assert allowed.stderr is not None
        allowed.stderr.close()


async def test_a_port_that_is_taken_is_one_line(settings: Settings) -> None:
    listener = listen("127.0.0.1", 0)
    try:
        port = str(listener.getsockname()[1])
        status, said = await asyncio.to_thread(ended, process(settings, NOTIFIER_HTTP_PORT=port))
    finally:
        listener.close()
    assert status == 2
    assert f"127.0.0.1:{port} cannot be listened on" in said
    assert "Traceback" not in said


async def test_without_a_database_it_does_not_start_and_keeps_the_password_to_itself(settings: Settings) -> None:
    url = "postgresql+asyncpg://me:canary@127.0.0.1:1/notifier"
    status, said = await asyncio.to_thread(ended, process(settings, NOTIFIER_DATABASE_URL=url))
    assert status == 3
    assert "127.0.0.1:1 does not answer" in said
    assert "canary" not in said
    assert "Traceback" not in said


@pytest.mark.slow
async def test_a_killed_api_leaves_every_request_whole_or_not_at_all(settings: Settings) -> None:
    await define(settings)
    token = await tokens.create_token(settings, name="t", scopes=["push"])
    acknowledged: set[str] = set()
    first = process(settings)
    url = await asyncio.to_thread(url_of, first)
    port = url.rsplit(":", 1)[1]

    async def push(asking: httpx.AsyncClient, name: str) -> None:
        body = [{**GOOD, "id": f"{name}/{number}", "receiver": f"user{number}"} for number in range(20)]
        try:
            if (await asking.post("/api/v1/messages", json=body)).status_code == 202:
                acknowledged.add(name)
        except httpx.TransportError:
            pass  # killed in the middle of it

    async with client(url, token) as asking:
        await wait_until(lambda: is_ready(asking))

        async def load(worker: int) -> None:
            for turn in range(10_000):
                await push(asking, f"{worker}-{turn}")
                if first.poll() is not None:
                    return

        workers = [asyncio.create_task(load(worker)) for worker in range(4)]
        await wait_until(lambda: len(acknowledged) > 20)
        first.kill()
        await asyncio.to_thread(first.wait)
        await asyncio.gather(*workers)
    assert first.stderr is not None
    first.stderr.close()

    # Its successor at the same address aborts what it left open, so that readers are not held up.
    second = process(settings, NOTIFIER_HTTP_PORT=port)
    try:
        async with client(await asyncio.to_thread(url_of, second), token) as asking:
            await wait_until(lambda: is_ready(asking))
            await push(asking, "after")
        assert "after" in acknowledged
        found: dict[str, int] = {}
        for record in await wait_for_records(settings, "messages", 20 * len(acknowledged)):
            name = orjson.loads(record.value)["id"].split("/")[0]
            found[name] = found.get(name, 0) + 1
    finally:
        second.terminate()
        assert second.wait(WAIT_S) == 0
        assert second.stderr is not None
        second.stderr.close()
    assert {found[name] for name in acknowledged} == {20}
    assert set(found.values()) == {20}
