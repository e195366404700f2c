"""What delivery writes down, where nothing can be written."""

import asyncio
import socket

import pytest

from notifier.settings import Settings
from notifier.testing import a_delivery
from streams.delivery import recording
from streams.delivery.recording import Note, Recording, Try
from streams.outputs.outputs import Outputs
from streams.writer import Writer


async def test_a_stop_does_not_wait_for_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_FLUSH_S", 0.1)
    with socket.socket() as taken:  # bound, and listens to nobody
        taken.bind(("127.0.0.1", 0))
        settings = Settings(_env_file=None, kafka=f"127.0.0.1:{taken.getsockname()[1]}")
        outputs = Outputs(settings)
        recorded = Recording(Writer(settings), outputs)
        cut_off = Try(outcome="unknown", reason="timeout", number=1)
        recorded.start(recorded.attempts([Note(a_delivery(), cut_off, None)]))
        await asyncio.sleep(0)
        async with asyncio.timeout(30.0):
            await recorded.finish()
        await outputs.stop()
