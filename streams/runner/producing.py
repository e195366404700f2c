"""Producing: asks the pull producers of the newest definitions for messages, each within its limits.

Whatever a producer does, it answers for itself alone: an error becomes a line of text in which its secrets are masked.
When and for which run they are asked is the runner's; what they gave is read by `streams.runner.produced`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from traceback import format_exception
from typing import Any

from notifier.catalog import Catalog
from notifier.errors import NotifierError, ScriptFailed
from notifier.plugin import Context, Producer
from notifier.sandbox import Sandbox

logger = logging.getLogger(__name__)

MAX_ERROR_CHARACTERS = 1000


class Producing:
    """The producers of a catalog. One that a newer catalog replaced is closed as soon as nobody waits for it."""

    def __init__(self, sandbox: Sandbox, catalog: Catalog, services: Mapping[str, str]) -> None:
        self._sandbox = sandbox
        self._catalog = catalog
        self._services = services  # base URLs, see `Context`
        self._retired: list[Producer[Any]] = []
        self._uses: Counter[int] = Counter()  # by identity of the producer
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, name: str) -> tuple[list[object], str | None]:
        """What a producer gave, or nothing and why; as long as its time limit at most. Raises CancelledError only."""
        catalog = self._catalog
        plugin = catalog.producers.get(name)
        if plugin is None:
            return [], catalog.problems.get(f"producer/{name}") or f"there is no producer {name!r}"
        context = Context(name=name, sandbox=self._sandbox, script=catalog.script, services=self._services)
        limit = plugin.timeout_s()
        with self._use(plugin):
            try:
                async with asyncio.timeout(limit) as timeout:
                    return list(await plugin.produce(context)), None
            except TimeoutError as error:
                if timeout.expired():
                    return [], f"gave nothing within {limit:g} s and was stopped"
                return [], _one_line(error, plugin)
            except NotifierError as error:
                return [], _one_line(error, plugin)
            except Exception as error:  # the supervisor of one producer, which may be anybody's code
                logger.warning(
                    "The producer %s raised:\n%s",
                    name,
                    plugin.mask("".join(format_exception(error))),
                    extra={"action": "produce"},
                )
                return [], _one_line(error, plugin)

    def change(self, catalog: Catalog) -> None:
        """From now on asks the producers of this catalog."""
        kept = {id(plugin) for plugin in catalog.producers.values()}
        self._retire(plugin for plugin in self._catalog.producers.values() if id(plugin) not in kept)
        self._catalog = catalog

    async def close(self) -> None:
        """Closes all producers; nobody may be waiting for one."""
        self._retire(self._catalog.producers.values())
        await asyncio.gather(*self._closing)

    @contextmanager
    def _use(self, plugin: Producer[Any]) -> Iterator[None]:
        self._uses[id(plugin)] += 1
        try:
            yield
        finally:
            self._uses[id(plugin)] -= 1
            self._retire(())

    def _retire(self, plugins: Iterable[Producer[Any]]) -> None:
        self._retired += plugins
        ready = [plugin for plugin in self._retired if not self._uses[id(plugin)]]
        self._retired = [plugin for plugin in self._retired if self._uses[id(plugin)]]
        for plugin in ready:
            del self._uses[id(plugin)]
            task = asyncio.create_task(_close(plugin))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(plugin: Producer[Any]) -> None:
    try:
        await plugin.close()
    except Exception:  # somebody else's code, and nothing depends on its end
        logger.exception("A producer of type %s did not close.", plugin.type, extra={"action": "close_plugin"})


def _one_line(error: Exception, plugin: Producer[Any]) -> str:
    """An error for people, without line ends and without the producer's secrets."""
    text = str(error) or type(error).__name__
    if not isinstance(error, NotifierError):
        text = f"{type(error).__name__}: {error}"
    elif isinstance(error, ScriptFailed) and error.stderr.strip() and error.stderr.strip() not in text:
        text = f"{text}; standard error: {error.stderr.strip()[-MAX_ERROR_CHARACTERS // 2 :]}"
    text = " ".join(plugin.mask(text).split())
    return text if len(text) <= MAX_ERROR_CHARACTERS else text[: MAX_ERROR_CHARACTERS - 1] + "…"
