"""The Faust apps: agents that route `messages` and run `ticks`, and what a worker process needs around them.

`notifier router` runs the agent `route` alone, `notifier runner` the agent `run` alone, each app with its own consumer group;
`faust -A streams.app worker` runs both in one process, the runner's app as a service of the router's. No worker opens a port.
What the agents do is left to `streams.router` and `streams.runner`; how batches reach them, to `streams.inputs.transport`.

A worker that cannot go on (definitions newer than the program, a stream that stands still) ends with an error, so that its
supervisor starts another; SIGTERM and SIGINT finish the batch at work, commit it and leave the group.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Literal, Protocol

import faust
from faust.app.base import BootStrategy
from faust.types.transports import TransportT

from notifier.catalog import Catalog
from notifier.errors import NotifierError
from notifier.kafka import ensure_topics
from notifier.registry import Registry
from notifier.role import run_role
from notifier.settings import Settings, load_settings
from notifier.topics import MESSAGES, TICKS, TOPICS, Topic
from streams.definitions import Definitions
from streams.inputs.batch import Batch
from streams.inputs.monitor import RecordMonitor
from streams.inputs.progress import Progress
from streams.inputs.transport import OPEN_BATCHES, SERVICES, BatchTransport, broker_urls
from streams.registry import load_registry
from streams.reporting import reported
from streams.router.router import Router

logger = logging.getLogger(__name__)

Role = Literal["router", "runner"]

HEALTH_EVERY_S = 1.0
RETRY_S = 1.0


class StreamStalled(NotifierError):
    """A stream stands still while its topic grows; the process ends so that its supervisor starts another."""


class BatchWorker(Protocol):
    """The work of an agent."""

    @property
    def failed(self) -> Exception | None:
        """Why it cannot go on for good; None while it can."""

    @property
    def worked(self) -> int:
        """How far it has come: a number that grows whenever its work goes on, also within a batch."""

    async def start(self) -> None:
        """Makes it ready; called once, before any batch."""

    async def accept(self, batch: Batch, finished: Callable[[], None]) -> None:
        """Works on a batch; when it returns, the next batch may come.

        `finished` is called when all work for this batch is done; only then is it committed.
        """

    async def stop(self) -> None:
        """Called once, after the last batch."""


class _Routing:
    """The agent `route`."""

    failed: Exception | None = None

    def __init__(self, settings: Settings, definitions: Definitions) -> None:
        self._router = Router(settings, definitions)
        self.start = self._router.start
        self.accept = self._router.accept
        self.stop = self._router.stop

    @property
    def worked(self) -> int:
        """The router's."""
        return self._router.worked


class _Running:
    """The agent `run`."""

    def __init__(self, settings: Settings, definitions: Definitions) -> None:
        from streams.runner.runner import Runner  # here, so that a router does not load what scripts need

        self._definitions = definitions
        self._runner = Runner(settings, definitions)

    @property
    def failed(self) -> Exception | None:
        """The runner's."""
        return self._runner.failed

    @property
    def worked(self) -> int:
        """The runner's."""
        return self._runner.worked

    async def start(self) -> None:
        await self._definitions.load()
        await self._runner.start()

    async def accept(self, batch: Batch, finished: Callable[[], None]) -> None:
        await self._runner.accept(batch.consumer_records())
        finished()

    async def stop(self) -> None:
        await self._runner.stop()


class _Boot(BootStrategy):
    """No web server, which Faust's worker command would otherwise switch on, and no Kafka producer: agents have their own."""

    enable_web = False
    enable_kafka_producer = False


class StreamApp(faust.App):
    """One agent over one topic, in the consumer group `<prefix><role>`."""

    BootStrategy = _Boot
    logger = SERVICES

    def __init__(self, settings: Settings, role: Role, definitions: Definitions) -> None:
        self.settings = settings
        self.role = role
        self.definitions = definitions
        self.companions: list[StreamApp] = []  # apps that live as long as this one
        worker = _Routing if role == "router" else _Running
        self._worker: BatchWorker = worker(settings, definitions)
        super().__init__(
            settings.topic_prefix + role,
            monitor=RecordMonitor(),
            broker=broker_urls(settings),
            autodiscover=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,  # with it Faust uses aiokafka's assignor in place of its own
            processing_guarantee="at_least_once",
            stream_wait_empty=True,
            stream_buffer_maxsize=2 * OPEN_BATCHES,
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=10.0,
            broker_heartbeat_interval=1.0,
            broker_rebalance_timeout=20.0,
            broker_request_timeout=30.0,
            broker_commit_interval=0.5,
            producer_acks=-1,
            producer_request_timeout=30.0,
            producer_threaded=False,
        )
        topic: Topic = MESSAGES if role == "router" else TICKS
        self.agent(
            self.topic(
                settings.topic_prefix + topic.name, value_type=bytes, key_serializer="raw", value_serializer="raw"
            ),
            name="route" if role == "router" else "run",
        )(self._process)

    def _new_transport(self) -> TransportT:
        return BatchTransport(self, self.settings)

    def _create_directories(self) -> None:
        """Nothing: no tables, so no folder for them."""

    async def _process(self, batches: Any) -> None:
        # `noack`: the worker acknowledges a batch, maybe after the next one has begun.
        async for event in batches.noack().events():
            while True:
                try:
                    await self._worker.accept(event.value, partial(self._finish, event))
                    break
                except Exception:  # Faust would drop the batch and acknowledge it
                    logger.exception(
                        "A batch of %s records failed and is tried again.",
                        len(event.value),
                        extra={"action": self.role},
                    )
                    await asyncio.sleep(RETRY_S)

    def _finish(self, event: Any) -> None:
        message = event.message
        if event.ack():
            self.sensors.on_message_out(message.tp, message.offset, message)
        # Faust's own objects refer to each other in circles, and would keep the records until the garbage collector comes.
        event.value = message.value = None

    async def on_start(self) -> None:
        """Makes topics and definitions ready before the Kafka consumer joins its group."""
        await ensure_topics(self.settings, TOPICS)
        await self._worker.start()
        await super().on_start()

    async def on_started(self) -> None:
        """Begins to watch itself."""
        await super().on_started()
        logger.info("The %s has started.", self.role, extra={"action": "start"})
        self.add_future(self._watch())
        for companion in self.companions:
            await self.add_runtime_dependency(companion)

    async def on_shutdown(self) -> None:
        """After the last batch is finished and committed."""
        await super().on_shutdown()
        await self._worker.stop()
        await self.definitions.stop()
        logger.info("The %s has stopped.", self.role, extra={"action": "stop"})

    async def _watch(self) -> None:
        progress = Progress()
        while not self.should_stop:
            await self.sleep(HEALTH_EVERY_S)
            if failed := self.definitions.failed or self._worker.failed:
                await self.crash(failed)
                continue
            worked = self._worker.worked + self.consumer.handed
            if stalled := progress.stalled(self.consumer.progress(), monotonic(), worked):
                names = ", ".join(f"{topic}/{partition}" for topic, partition in stalled)
                logger.critical(
                    "%s stand still while they grow; this worker ends, to be started anew.",
                    names,
                    extra={"action": "health"},
                )
                await self.crash(StreamStalled(f"{names} stand still while they grow; start the {self.role} anew"))


def create_app(
    settings: Settings, roles: Sequence[Role] = ("router", "runner"), registry: Registry | None = None
) -> StreamApp:
    """The app of the first role; those of the others live and end with it. Opens nothing; raises BrokerError.

    `registry` has the plugin types; by default our own and the installed ones.
    """
    catalog = Catalog(registry=registry or load_registry(), seal=_seal(settings, roles))
    definitions = Definitions(settings, catalog)
    first, *others = [StreamApp(settings, role, definitions) for role in roles]
    first.companions = others
    return first


def _seal(settings: Settings, roles: Sequence[Role]) -> Any:
    if "runner" not in roles:
        return None  # a router opens no secrets
    from notifier.seal import load_seal

    return load_seal(settings)


async def run_roles(
    settings: Settings, roles: Sequence[Role], stop: asyncio.Event, registry: Registry | None = None
) -> None:
    """Runs the agents until `stop` is set; then finishes and commits what is at work. Raises what ended them before."""
    app = create_app(settings, roles, registry)
    async with reported(settings, roles, app.definitions):
        try:
            await app.start()
            await app.wait(stop)
        finally:
            await app.stop()
        if app.crash_reason is not None:
            raise app.crash_reason


def run_process(settings: Settings, roles: Sequence[Role], registry: Registry | None = None) -> int:
    """Runs the agents as this process; returns the exit status."""
    return run_role(settings, "+".join(roles), lambda stop: run_roles(settings, roles, stop, registry))


def __getattr__(name: str) -> Any:
    """`app`, for `faust -A streams.app`: made when it is first asked for, so that importing this module does nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = create_app(load_settings())
    globals()["app"] = app
    return app
