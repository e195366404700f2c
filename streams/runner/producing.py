"""Producing: asks the pull producers of the newest definitions for messages, each within its limits.

A producer's fault fails that producer alone: it becomes a line of text in which its secrets are masked. When and for which run
they are asked is left to `streams.runner.runner`, reading what they gave to `streams.runner.produced`, and the lifetimes of
producers to `streams.instances`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from traceback import format_exception
from typing import Any

from notifier.allowed_files import AllowedFiles
from notifier.catalog import Catalog
from notifier.errors import InvalidRecord, NotifierError, ScriptFailed
from notifier.folded import folded
from notifier.network import Network
from notifier.one_line import one_line
from notifier.plugin import Context, Feed, Producer
from notifier.record import JsonObject
from notifier.sandbox import Sandbox, Usage
from streams.instances import Instances
from streams.runner.slots import Slots
from streams.runner.source_states import SourceStates

logger = logging.getLogger(__name__)

MAX_ERROR_CHARACTERS = 1000
CONCURRENCY = 8  # producers of one runner that work at the same time


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a producer gave when it was asked."""

    items: Sequence[object] = ()
    error: str | None = None  # why it gave nothing
    state: JsonObject | None = None  # what it keeps for the next time; None: what it kept before
    notice: str | None = None  # what it says of its source, in a line


@dataclass(frozen=True, kw_only=True)
class Asked:
    """For which run a producer is asked, and what takes what it tells meanwhile; see `Context`."""

    cursor: JsonObject | None = None  # what it kept the last time
    due: datetime | None = None
    emit: Callable[[Sequence[JsonObject | InvalidRecord]], Awaitable[None]] | None = None
    measured: Callable[[Usage], None] = lambda usage: None


class Producing:
    """Asks the producers of the newest catalog; `change` takes each new one."""

    def __init__(
        self,
        sandbox: Sandbox,
        catalog: Catalog,
        services: Mapping[str, str],
        network: Network | None = None,
        *,
        files: AllowedFiles | None = None,  # None: none
        concurrency: int = CONCURRENCY,
        sources: SourceStates | None = None,  # are told how each source answered
    ) -> None:
        self.slots = Slots(concurrency)  # one is to be held by those who ask, until they are done with the answer
        self._sandbox = sandbox
        self._catalog = catalog
        self._services = services  # base URLs, see `Context`
        self._network = network or Network()
        self._files = files or AllowedFiles()
        self._sources = sources
        self._instances: Instances[Producer[Any]] = Instances()
        self._instances.replace(catalog.producers)

    async def ask(self, name: str, asked: "Asked | None" = None) -> Given:
        """What a producer gave besides what it emitted, or nothing and why, within its time limit.

        Raises CancelledError only.
        """
        asked = asked or Asked()
        catalog = self._catalog
        with self._instances.use(name) as plugin:
            if plugin is None:
                return Given(error=catalog.problems.get(f"producer/{name}") or f"there is no producer {name!r}")
            kept: list[JsonObject] = []
            notices: list[str] = []
            context = Context(
                name=name,
                sandbox=self._sandbox,
                script=catalog.script,
                services=self._services,
                network=self._network,
                files=self._files,
                cursor=asked.cursor,
                keep=kept.append,
                knows=lambda name: folded(name) in catalog.directory.world(plugin.world_of()),
                notice=notices.append,
                due=asked.due,
                emit=asked.emit,
                measured=asked.measured,
            )
            items, error = await self._produce(plugin, context)
            notice = one_line(plugin.mask("; ".join(notices)), MAX_ERROR_CHARACTERS) if notices else None
            if self._sources is not None:
                self._sources.tell(name, error, notice)
            if error is not None:
                return Given(error=error)
            return Given(items=items, state=kept[-1] if kept else None, notice=notice)

    async def _produce(self, plugin: Producer[Any], context: Context) -> tuple[Sequence[object], str | None]:
        """What a producer gives within its time limit, or nothing and why."""
        limit = plugin.timeout_s()
        try:
            async with asyncio.timeout(limit) as timeout:
                return list(await plugin.produce(_without_writing(context, timeout))), None
        except TimeoutError as error:
            if timeout.expired():
                return [], f"gave nothing within {limit:g} s and was stopped"
            return [], _explain(error, plugin)
        except NotifierError as error:
            return [], _explain(error, plugin)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            return [], "it was cancelled by itself"  # as a library may say where a connection is lost
        except Exception as error:  # a plugin may raise anything, and fails alone
            logger.warning(
                "The producer %s raised:\n%s",
                context.name,
                plugin.mask("".join(format_exception(error))),
                extra={"action": "produce"},
            )
            return [], _explain(error, plugin)

    async def follow(self, name: str, feed: Feed, notice: Callable[[str], None], **told: Any) -> str:
        """Has a producer follow its source; answers why it ended. `told` are fields of its context. Raises CancelledError only.

        One that ends by itself, or says that it was cancelled where nobody did so, has ended as one that failed.
        """
        with self._instances.use(name) as plugin:
            if plugin is None:
                return f"there is no producer {name!r}"
            context = Context(
                name=name,
                sandbox=self._sandbox,
                script=self._catalog.script,
                services=self._services,
                network=self._network,
                notice=lambda text: notice(plugin.mask(text)),
                **told,
            )
            try:
                await plugin.follow(context, feed)
            except NotifierError as error:
                return _explain(error, plugin)
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                return "it ended by itself"
            except Exception as error:  # a plugin may raise anything, and fails alone
                logger.warning(
                    "The producer %s raised:\n%s",
                    name,
                    plugin.mask("".join(format_exception(error))),
                    extra={"action": "follow"},
                )
                return _explain(error, plugin)
            return "it ended by itself"

    def change(self, catalog: Catalog) -> None:
        """Asks the producers of this catalog from now on."""
        self._catalog = catalog
        self._instances.replace(catalog.producers)
        if self._sources is not None:
            self._sources.change(catalog)

    def is_failing(self, name: str) -> bool:
        """Whether a producer's source did not answer as it should the last time that any runner asked it."""
        return self._sources is not None and self._sources.is_failing(name)

    async def close(self) -> None:
        """Closes all producers; none may be asked any more."""
        await self._instances.close()


def _without_writing(context: Context, limit: asyncio.Timeout) -> Context:
    """The context where the time that writing takes does not count for the limit: the broker may be away, and nothing is lost."""
    emit, writing, left_s = context.emit, 0, 0.0
    if emit is None:
        return context
    clock = asyncio.get_running_loop().time

    async def emit_beside(items: Sequence[JsonObject | InvalidRecord]) -> None:
        nonlocal writing, left_s
        writing += 1
        if writing == 1:
            left_s = (limit.when() or clock()) - clock()
            _reschedule(limit, None)
        try:
            await emit(items)
        finally:
            writing -= 1
            if not writing:
                _reschedule(limit, clock() + left_s)

    return replace(context, emit=emit_beside)


def _reschedule(limit: asyncio.Timeout, when: float | None) -> None:
    with suppress(RuntimeError):  # it is over already
        limit.reschedule(when)


def _is_cancelled() -> bool:
    """Whether somebody has cancelled this task, and not only a plugin says so."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _explain(error: Exception, plugin: Producer[Any]) -> str:
    """An error as one line for people, without the producer's secrets."""
    text = str(error) or type(error).__name__
    if not isinstance(error, NotifierError):
        text = f"{type(error).__name__}: {error}"
    elif isinstance(error, ScriptFailed) and error.stderr.strip() and error.stderr.strip() not in text:
        text = f"{text}; standard error: {error.stderr.strip()[-MAX_ERROR_CHARACTERS // 2 :]}"
    return one_line(plugin.mask(text), MAX_ERROR_CHARACTERS)
