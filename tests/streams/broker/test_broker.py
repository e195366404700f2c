"""The embedded broker: started, attached to, stopped, and killed together with the process that started it."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from notifier.errors import BrokerError
from notifier.kafka import broker_file, running_broker
from notifier.settings import Settings
from streams.broker import broker as broker_module
from streams.broker.probe import cluster_at
from tests.rigs.broker_rig import embedded, processes_of, values_at, write
from tests.rigs.kafka_tools import produce, read_all, wait_until

pytestmark = pytest.mark.usefixtures("own_settings")


# --- starting, attaching, stopping ---


def test_a_broker_is_started_attached_to_and_stopped_and_keeps_what_it_was_given(stopped: Path, tmp_path: Path) -> None:
    data_dir = shutil.copytree(stopped, tmp_path / "data dir, with a comma")
    cluster = meta(data_dir)
    first, second = embedded(data_dir), embedded(data_dir)
    try:
        address = first.start(die_with_parent=True)
        assert second.start(die_with_parent=True) == address
        assert (first.started_here, second.started_here) == (True, False)
        assert second.status() == address == running_broker(second.settings)
        state = json.loads(broker_file(first.settings).read_text())
        assert state["cluster_id"] == cluster == cluster_at(address, 5)
        assert asyncio.run(values_at(data_dir, address)) == [b"first", b"second", b"third"]
    finally:
        assert second.stop()  # not by who started it
    assert not first.stop()
    assert (first.status(), broker_file(first.settings).exists()) == (None, False)
    assert processes_of(data_dir) == []


def meta(data_dir: Path) -> str:
    lines = (data_dir / "kafka" / "data" / "meta.properties").read_text().splitlines()
    return next(line for line in lines if line.startswith("cluster.id=")).removeprefix("cluster.id=")


def test_two_that_start_at_once_get_the_same_broker(tmp_path: Path) -> None:
    brokers = [embedded(tmp_path), embedded(tmp_path)]
    try:
        with ThreadPoolExecutor(2) as threads:
            starts = [threads.submit(one.start, die_with_parent=True) for one in brokers]
            addresses = {start.result() for start in starts}
        assert len(addresses) == 1
        assert sorted(one.started_here for one in brokers) == [False, True]
        # The threads are gone, which PR_SET_PDEATHSIG would have taken for the death of the parent.
        assert brokers[0].status() in addresses
    finally:
        for one in brokers:
            one.stop()


def test_stopping_and_asking_where_nothing_was_ever_started_leaves_no_trace(tmp_path: Path) -> None:
    one = embedded(tmp_path / "none")
    assert (one.stop(), one.status(), (tmp_path / "none").exists()) == (False, None, False)


@pytest.mark.parametrize("pid", [2**22 + 1, os.getpid()], ids=["no such process", "another process has the pid"])
def test_a_stale_file_is_not_believed(stopped: Path, tmp_path: Path, pid: int) -> None:
    data_dir = shutil.copytree(stopped, tmp_path / "data")
    one = embedded(data_dir)
    stale = {"pid": pid, "address": "127.0.0.1:1", "cluster_id": "x", "started": 1.0}
    broker_file(one.settings).write_text(json.dumps(stale))
    (data_dir / "kafka" / "process.json").write_text(json.dumps(stale))
    assert one.status() is None
    assert one.stop() is False
    assert not broker_file(one.settings).exists()


# --- death of the parent ---

STARTER = """
import sys, threading, time
from pathlib import Path
from notifier.settings import load_settings
from streams.broker.broker import EmbeddedBroker

data_dir, how = sys.argv[1:]
broker = EmbeddedBroker(load_settings(env_file=None, data_dir=Path(data_dir), kafka_port=0))
if how == "thread":
    thread = threading.Thread(target=broker.start, kwargs={"die_with_parent": True})
    thread.start()
    thread.join()
else:
    broker.start(die_with_parent=how != "daemon")
print("started", flush=True)
time.sleep(0 if how == "daemon" else 600)
"""


def starter(data_dir: Path, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", STARTER, str(data_dir), how], stdout=subprocess.PIPE)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "first process": lambda data_dir: bool(processes_of(data_dir / "kafka")),
    "format": lambda data_dir: any(data_dir.glob("kafka/format-*/data")),
    "begun": lambda data_dir: (data_dir / "kafka" / "process.json").exists(),
    "loading": lambda data_dir: (data_dir / "kafka" / "data" / "__cluster_metadata-0").exists(),
    "started": lambda data_dir: (data_dir / "kafka" / "broker.json").exists(),
}


@pytest.mark.parametrize(("how", "moments"), [("main", list(MOMENTS)), ("thread", ["format", "started"])])
@pytest.mark.slow
async def test_the_broker_dies_with_a_parent_that_is_killed_at_any_moment(
    tmp_path: Path, how: str, moments: list[str]
) -> None:
    for name in moments:
        reached = MOMENTS[name]
        parent = starter(tmp_path, how)
        try:
            await wait_until(partial(reached, tmp_path), 120, name)
            if name == "started":
                assert parent.stdout is not None
                await asyncio.to_thread(parent.stdout.readline)
                address = embedded(tmp_path).status()
                assert address is not None
                await write(tmp_path, address, "kept")
        finally:
            kill(parent)
        await wait_until(lambda: not processes_of(tmp_path), 120, f"still there after {name}")
        assert embedded(tmp_path).status() is None
    one = embedded(tmp_path)
    try:
        address = one.start(die_with_parent=True)
        assert await values_at(tmp_path, address) == [b"kept"]
    finally:
        one.stop()
    assert not list(tmp_path.glob("kafka/format-*"))


async def test_a_daemon_outlives_who_started_it_and_is_adopted_when_that_was_killed(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = shutil.copytree(stopped, tmp_path / "data")
    (data_dir / "kafka" / "process.json").unlink()
    parent = starter(data_dir, "daemon")
    one = embedded(data_dir)
    try:
        await wait_until((data_dir / "kafka" / "process.json").exists, 120)
        kill(parent)  # before it could write down where the broker is
        assert one.status() is None
        address = one.start(die_with_parent=True)
        assert (one.started_here, one.status()) == (False, address)
        (daemon,) = processes_of(data_dir)

        daemon.send_signal(signal.SIGSTOP)  # it lives, and answers nobody
        await wait_until(lambda: daemon.status() == psutil.STATUS_STOPPED)
        monkeypatch.setattr(broker_module, "START_LIMIT_S", 0.2)
        monkeypatch.setattr(broker_module, "STOP_LIMIT_S", 0.2)
        with pytest.raises(BrokerError, match=r"has not answered .* `notifier kafka stop`"):
            one.start(die_with_parent=True)
        monkeypatch.setattr(broker_module, "STOP_LIMIT_S", 30)
        daemon.send_signal(signal.SIGCONT)
        assert one.stop()
    finally:
        for process in processes_of(data_dir):
            process.kill()
    assert processes_of(data_dir) == []


def test_a_daemon_is_there_when_start_returns_and_is_killed_when_it_does_not_stop(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = shutil.copytree(stopped, tmp_path / "data")
    parent = starter(data_dir, "daemon")
    one = embedded(data_dir)
    try:
        assert parent.communicate(timeout=120)[0] == b"started\n"
        assert parent.returncode == 0
        assert one.status() is not None
        (daemon,) = processes_of(data_dir)
        daemon.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(broker_module, "STOP_LIMIT_S", 1)
        assert one.stop()
        assert not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE
    finally:
        kill(parent)
        for process in processes_of(data_dir):
            process.kill()


# --- the fixtures that all tests share ---


async def test_settings_of_a_test_are_alone_on_the_shared_broker(settings: Settings, broker: str) -> None:
    assert settings.kafka == broker
    assert settings.database_url is None
    await produce(settings, "messages", [{"a": 1}, "text", None], key="k")
    assert [record.value for record in await read_all(settings, "messages")] == [b'{"a": 1}', b"text", None]
    assert await read_all(settings, "ticks") == []
