"""Listening: hears what people answer in the chats of consumers, and hands it on.

One worker listens for each credential, the one that has partition 0 of its consumers' topics: all partitions of a credential go
to one worker (`streams.delivery.assignor`). During a rebalance two may listen for a moment; services allow one, and what is heard
twice has the same key. What people press is a record on `answers`, and a message of every producer of the type `answers`; what
they ask is a `Wish` on `status`, which the API does.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from aiokafka.errors import KafkaError

from notifier.answer import Answer
from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.errors import NotifierError, RecordError, RecordTooLarge
from notifier.folded import folded
from notifier.kafka import ensure_topics
from notifier.message import MAX_BYTES, Message, read_message
from notifier.one_line import one_line
from notifier.record import JsonObject
from notifier.seldom import Seldom
from notifier.settings import Settings
from notifier.topics import ANSWERS, MESSAGES, STATUS, deliveries
from notifier.user import User
from notifier.wish import Wish
from streams.delivery.calling import Calling
from streams.delivery.tickets import delivery_of
from streams.writer import Writer

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

LOOK_S = 0.5  # between two looks at who is to listen
_WAITS_S = (1.0, 5.0, 15.0, 60.0)  # after a failure, growing
_LONGEST_S = 3600.0  # that a service may ask to wait
_MOST_REPLIES = 10_000  # that wait to be told; any client may write more


class Replies:
    """The wishes that were answered and not told yet, by key, as the topic `status` says."""

    def __init__(self) -> None:
        self._waiting: dict[str, Wish] = {}
        self._changed = asyncio.Event()

    def take(self, key: str, value: bytes | None) -> None:
        """Takes a record of the topic."""
        self._waiting.pop(key, None)
        if value is None:
            return
        try:
            wish = Wish.decode(value)
        except RecordError as error:  # of a newer version, too: no reason to end a worker
            logger.debug("A record of the key %s is no wish: %s", key[:200], error)
            return
        if wish.key == key and wish.state != "asked" and len(self._waiting) < _MOST_REPLIES:
            self._waiting[key] = wish
            self._changed.set()

    async def next_of(self, consumers: Iterable[str]) -> Wish:
        """Waits for one of these consumers."""
        names = frozenset(consumers)
        while True:
            for wish in self._waiting.values():
                if wish.consumer in names:
                    return wish
            self._changed.clear()
            await self._changed.wait()

    def drop(self, wish: Wish) -> None:
        """It was told."""
        if self._waiting.get(wish.key) == wish:
            del self._waiting[wish.key]


@dataclass(kw_only=True)
class _Heard:
    """The hearing of one credential's consumers, see `notifier.plugin.Hearing`."""

    name: str
    names: tuple[str, ...]  # of all consumers of the credential
    listening: "Listening"

    def works(self) -> None:
        self.listening.problems.pop(self.name, None)

    def user(self, address: str) -> User | None:
        return self.listening.user(self.name, address)

    async def delivery(self, ticket: str) -> Delivery | None:
        return await delivery_of(self.listening.settings, ticket, self.names)

    async def answer(self, answer: Answer, delivery: Delivery) -> None:
        await self.listening.answer(answer, delivery)

    async def ask(self, wish: Wish) -> None:
        await self.listening.writer.write(STATUS.name, wish.key, wish.encode())

    async def next_reply(self) -> Wish:
        return await self.listening.replies.next_of(self.names)

    async def told(self, wish: Wish) -> None:
        self.listening.replies.drop(wish)
        await self.listening.writer.write(STATUS.name, wish.key, None)


@dataclass(kw_only=True)
class _Listener:
    """One running call of `listen`."""

    names: tuple[str, ...]
    instances: tuple[object, ...]  # of those names, when it began
    task: asyncio.Task[None]


@dataclass(kw_only=True)
class Listening:
    """Listens for the consumers of one worker; `follow` takes each new catalog."""

    settings: Settings
    calling: Calling
    writer: Writer
    catalog: Catalog
    replies: Replies = field(default_factory=Replies)
    problems: dict[str, str] = field(default_factory=dict)  # by consumer: why it cannot be heard now
    _listeners: dict[str, _Listener] = field(default_factory=dict)  # by credential
    _made: set[str] = field(default_factory=set)  # consumers whose topic is there

    def follow(self, catalog: Catalog) -> None:
        """Takes a new catalog."""
        self.catalog = catalog

    @property
    def notice(self) -> str | None:
        """What people should know of consumers that cannot be heard; None where there is nothing."""
        said = [f"the consumer {name} does not hear people: {why}" for name, why in sorted(self.problems.items())]
        return "; ".join(said) or None

    async def run(self, led: Callable[[], Iterable[str]]) -> None:
        """Listens until it is cancelled. `led` says of which consumers this worker does what is to be done once."""
        try:
            while True:
                await self._make_topics()
                wanted = self._wanted(led())
                for credential, listener in list(self._listeners.items()):
                    names = wanted.get(credential, ())
                    if listener.names != names or not self._is_current(listener) or listener.task.done():
                        del self._listeners[credential]
                        await _end(listener.task)
                for credential, names in wanted.items():
                    if credential not in self._listeners:
                        instances = tuple(self.calling.instance(name) for name in names)
                        task = asyncio.create_task(self._listen(names), name=f"listen {names[0]}")
                        self._listeners[credential] = _Listener(names=names, instances=instances, task=task)
                await asyncio.sleep(LOOK_S)
        finally:
            for listener in self._listeners.values():
                await _end(listener.task)

    def _is_current(self, listener: _Listener) -> bool:
        now = (self.calling.instance(name) for name in listener.names)
        return all(one is before for one, before in zip(now, listener.instances, strict=True))

    def _wanted(self, led: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """The consumers that listen, by credential."""
        found: dict[str, list[str]] = {}
        for name in sorted(led):
            if self._listens(name):
                found.setdefault(self.calling.credential(name) or f"consumer {name}", []).append(name)
        self.problems = {
            name: why for name, why in self.problems.items() if any(name in names for names in found.values())
        }
        return {credential: tuple(names) for credential, names in found.items()}

    def _listens(self, consumer: str) -> bool:
        instance = self.calling.instance(consumer)
        try:
            return instance is not None and bool(instance.listens())
        except Exception:  # a plugin's fault
            return False

    async def _make_topics(self) -> None:
        """Makes the topics of consumers that listen: people are linked before anything was sent to them."""
        missing = [name for name in self.catalog.consumers if name not in self._made and self._listens(name)]
        if not missing:
            return
        topics = [deliveries(name, self.catalog.consumers[name].parameters.partitions) for name in missing]
        try:
            await ensure_topics(self.settings, [*topics, ANSWERS])
        except (KafkaError, NotifierError, OSError) as error:
            logger.debug("The topics of consumers that listen cannot be made now: %s", error)
        else:
            self._made.update(missing)

    async def _listen(self, names: tuple[str, ...]) -> None:
        """Listens with the first of these consumers, again and again."""
        name, failures = names[0], 0
        while True:
            with self.calling.lent(name) as instance:
                if instance is None:
                    return
                context = self.calling.context(name)
                wait_s: float | None = None
                began = asyncio.get_running_loop().time()
                try:
                    await instance.listen(_Heard(name=name, names=names, listening=self), context)
                    why = "it has stopped by itself"
                except Exception as error:  # a plugin may raise anything, and is tried again
                    why = one_line(instance.mask(str(error) or type(error).__name__))
                    wait_s = getattr(error, "retry_after_s", None)
            if asyncio.get_running_loop().time() - began > _WAITS_S[-1]:
                failures = 0
            self.problems[name] = why
            text = "The consumer %s does not hear people now, and tries again: %s"
            _seldom.log(logging.WARNING, text, name, why, extra={"action": "listen", "consumer": name})
            await asyncio.sleep(max(min(wait_s or 0.0, _LONGEST_S), _WAITS_S[min(failures, len(_WAITS_S) - 1)]))
            failures += 1

    def user(self, consumer: str, address: str) -> User | None:
        """Whom a consumer reaches at an address."""
        instance = self.calling.instance(consumer)
        if instance is None:
            return None
        found = self.catalog.directory.world(instance.world_of()).get(folded(address))
        return found if isinstance(found, User) and instance.address(found) == address else None

    def _sender(self, message: Message) -> User | None:
        producer = self.catalog.producers.get(message.producer)
        if producer is None or message.sender is None:
            return None
        found = self.catalog.directory.world(producer.world_of()).get(folded(message.sender))
        return found if isinstance(found, User) else None

    async def answer(self, answer: Answer, delivery: Delivery) -> None:
        """Writes an answer, and the messages that producers make of it."""
        await self.writer.write(ANSWERS.name, answer.delivery, answer.encode())
        try:
            message = delivery.read_message()
        except RecordError:
            return
        sender = self._sender(message)
        for name, producer in list(self.catalog.producers.items()):
            try:
                made = producer.answered(answer, message, sender)
                value = None if made is None else _message(name, answer, made)
            except Exception as error:  # a plugin may raise anything, and fails alone
                text = "The producer %s makes no message of an answer: %s: %s"
                extra = {"action": "listen", "producer": name}
                _seldom.log(
                    logging.WARNING, text, name, type(error).__name__, one_line(producer.mask(str(error))), extra=extra
                )
            else:
                if value is not None:
                    await self.writer.write(MESSAGES.name, value[0], value[1])


def _message(producer: str, answer: Answer, made: JsonObject) -> tuple[str | None, bytes]:
    """The key and the value of a message on its topic. An answer that is heard twice makes one id. Raises RecordError."""
    message, value = read_message(msgspec.json.encode({**made, "producer": producer, "id": answer.id}))
    if len(value) > MAX_BYTES:
        raise RecordTooLarge(f"{len(value)} bytes are too many for a message", value)
    return message.receiver, value


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
