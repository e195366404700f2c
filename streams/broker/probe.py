"""The probe: does a broker answer at an address, and which process runs the broker of a data folder. It changes nothing."""

import fcntl
import json
import socket
import struct
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from notifier.errors import BrokerError
from streams.broker.faults import OTHER_FOLDER


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that runs, or is starting, a broker on the data folder."""

    process: psutil.Process
    address: str  # `host:port`


def find_holder(file: Path, limit_s: float) -> Holder | None:
    """The process that holds `process.json`, told by the lock that only a living process has.

    Call it under the folder's `lock`. Raises BrokerError when the file is locked for `limit_s` seconds by something that is no
    broker.
    """
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            with file.open() as opened:
                try:
                    fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return None
                except BlockingIOError:
                    state = json.load(opened)
            holder = Holder(process=psutil.Process(int(state["pid"])), address=str(state["address"]))
            if not ends_within(holder.process, 0):
                return holder
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, psutil.NoSuchProcess):
            pass
        # The process is writing the file at this moment, or it has ended and its files are not all closed yet.
        time.sleep(0.05)
    raise BrokerError(f"{file} is in use by what is no broker: end that, or {OTHER_FOLDER}")


def ends_within(process: psutil.Process, limit_s: float) -> bool:
    """Whether a process, our child or not, has ended or ends within the limit."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def cluster_at(address: str, timeout_s: float) -> str | None:
    """The id of the cluster that answers Kafka's protocol at `host:port` and has a broker for clients; None otherwise.

    An open port is not enough: the broker listens for some time before it serves.
    """
    host, _, port = address.rpartition(":")
    # A Metadata request, version 2, about no topic: length, then api key, version, correlation id, client id, topics.
    body = struct.pack(">hhih8si", 3, 2, 1, 8, b"notifier", 0)
    try:
        with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.makefile("rb")
            with closing(answer):
                (length,) = struct.unpack(">i", answer.read(4))
                return _cluster(answer.read(length))
    except (OSError, ValueError, struct.error):
        return None


def _cluster(answer: bytes) -> str | None:
    """The cluster id in a Metadata answer, version 2, if it names a broker."""
    _correlation_id, brokers = struct.unpack_from(">ii", answer)
    position = 8
    for _ in range(brokers):
        position += 4  # node id
        position += 2 + struct.unpack_from(">h", answer, position)[0]  # host
        position += 4  # port
        position += 2 + max(0, struct.unpack_from(">h", answer, position)[0])  # rack, or -1
    (length,) = struct.unpack_from(">h", answer, position)
    return answer[position + 2 : position + 2 + length].decode() if brokers and length > 0 else None
