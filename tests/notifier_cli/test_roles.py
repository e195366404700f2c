"""Each role as a real process: how it ends after a signal, early or late, and after a second Ctrl-C."""

import asyncio
import signal

import pytest

from notifier.settings import Settings
from streams.broker.ports import free_port
from tests.rigs.kafka_tools import wait_until
from tests.rigs.roles import start_role

STARTED = {  # what a role logs when it works
    "api": "The control API listens",
    "router": "The router has started",
    "runner": "The runner has started",
    "ticker": "The ticker waits for the database",
    "delivery": "elivery has started",
}


@pytest.mark.parametrize("role", STARTED)
async def test_a_signal_ends_each_role_in_order(settings: Settings, role: str) -> None:
    settings = settings.model_copy(update={"http_port": free_port()})
    running = await start_role(settings, role)
    await wait_until(
        lambda: '"action":"start"' in running.output() or STARTED[role] in running.output(), otherwise=running.output
    )
    assert await running.stop(signal.SIGTERM) == 0, running.output()
    assert "Traceback" not in running.output()


@pytest.mark.parametrize("role", STARTED)
async def test_a_second_ctrl_c_ends_each_role_soon(settings: Settings, role: str) -> None:
    settings = settings.model_copy(update={"http_port": free_port()})
    running = await start_role(settings, role)
    await wait_until(
        lambda: '"action":"start"' in running.output() or STARTED[role] in running.output(), otherwise=running.output
    )
    running.process.send_signal(signal.SIGINT)
    await asyncio.sleep(0.02)
    status = await running.stop(signal.SIGINT)
    # 0: it had ended by then. The others are one for a shell: the process's own status, or death by the signal at its very end.
    assert status in (0, 130, -signal.SIGINT), running.output()
    assert "Traceback" not in running.output()
