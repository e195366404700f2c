"""The Faust app as the `faust` command starts it."""

import subprocess
import sys

import psutil

from notifier.dead_letter import DeadLetter
from notifier.settings import Settings
from tests.rigs.kafka_tools import produce, wait_for_records
from tests.rigs.repository import ROOT
from tests.rigs.router_rig import (
    publish,
    routers,
    write_messages,
)


async def test_the_faust_command_runs_both_agents_and_opens_no_port(settings: Settings) -> None:
    await publish(settings, {"producer/ci": {"type": "push"}})
    await write_messages(settings, [b"broken"])
    await produce(settings, "ticks", [b"broken"])
    async with routers(settings, command=["faust", "-A", "streams.app", "worker", "-l", "info"]) as (worker,):
        letters = [DeadLetter.decode(record.value) for record in await wait_for_records(settings, "dead_letters", 2)]
        assert {letter.stage for letter in letters} == {"route", "run"}
        connections = psutil.Process(worker.process.pid).net_connections()
        assert [connection for connection in connections if connection.status == psutil.CONN_LISTEN] == []
        assert await worker.end() == 0


async def test_importing_the_app_does_nothing() -> None:
    code = "import threading, streams.app as it; assert 'app' not in vars(it) and len(threading.enumerate()) == 1"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
