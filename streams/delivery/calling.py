"""Calling: one call of a consumer with what it needs around it.

A call gets a context, a time limit and a turn among the calls of its consumer. It ends with one Result for each delivery,
also where the plugin raises. Faults are told apart by type; secrets are masked in what they say. What follows from a Result is
decided by `streams.delivery.retry`, and done by `streams.delivery.conclusions`.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from traceback import format_exception
from typing import Any, get_args

from consumers.text.template import Renderer
from consumers.text.texts import Texts
from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.errors import NotifierError, Permanent
from notifier.network import Network
from notifier.outcome import Outcome, Reason
from notifier.plugin import Consumer, Context, Result, result_of
from notifier.rendered import Rendered
from notifier.sandbox import Sandbox
from notifier.topics import is_own
from streams.delivery.moved import Moved
from streams.delivery.pacing import FREE, Permit, credential_of
from streams.delivery.turns import Turns
from streams.instances import Instances

logger = logging.getLogger(__name__)

_OUTCOMES, _REASONS = frozenset(get_args(Outcome)), frozenset(get_args(Reason))

CALLS = 32  # of one consumer at the same time, in one process


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a call ended with."""

    results: Sequence[Result]  # one for each delivery, in their order
    failed_together: bool = False  # one of the deliveries may be what failed all


class Calling:
    """Calls the consumers of the newest catalog; `change` takes each new one."""

    def __init__(
        self,
        sandbox: Sandbox,
        catalog: Catalog,
        services: Mapping[str, str],
        network: Network | None = None,
        moved: Moved | None = None,
        topic_prefix: str = "",
    ) -> None:
        self._sandbox = sandbox
        self._catalog = catalog
        self._services = services  # base URLs, see `Context`
        self._network = network or Network()
        self._moved = moved
        self._topic_prefix = topic_prefix
        self._instances: Instances[Consumer[Any]] = Instances()
        self.change(catalog)
        self._renderer = Renderer()
        self._turns: defaultdict[str, Turns] = defaultdict(lambda: Turns(CALLS))

    def change(self, catalog: Catalog) -> None:
        """Calls the consumers of this catalog from now on."""
        self._catalog = catalog
        if self._moved is not None:
            for name, instance in catalog.consumers.items():
                instance.moves = self._moved.of(name)
        self._instances.replace(catalog.consumers)

    async def close(self) -> None:
        """Closes the consumers and ends what renders templates; no call may be under way."""
        await self._instances.close()
        await self._renderer.close()

    def has_lanes(self, consumer: str) -> bool:
        """Whether its deliveries are in more than one lane: it exists, and its parameters do not fix the address."""
        instance = self._instances.get(consumer)
        try:
            return instance is not None and not instance.fixed_address()
        except Exception:  # a plugin's fault; the call itself says more
            return False

    def instance(self, consumer: str) -> Consumer[Any] | None:
        """The consumer, to be asked what it is like."""
        return self._instances.get(consumer)

    def overtakes(self, consumer: str) -> bool:
        """Whether what is critical overtakes what is not, among what is sent to it."""
        instance = self._instances.get(consumer)
        return getattr(getattr(instance, "parameters", None), "overtake", "none") == "critical"

    def credential(self, consumer: str) -> str | None:
        """The credential at whose pace it sends; None where it has none, or does not exist."""
        instance = self._instances.get(consumer)
        return None if instance is None else credential_of(instance)

    def is_current(self, consumer: str, instance: Consumer[Any]) -> bool:
        """Whether a consumer is still this instance, and was not changed or deleted."""
        return self._instances.get(consumer) is instance

    @asynccontextmanager
    async def turn(self, consumer: str, critical: bool = False) -> AsyncIterator[Consumer[Any] | None]:
        """Waits until fewer than `CALLS` calls of a consumer are under way and lends its instance; None where it has none."""
        async with self._turns[consumer].turn(critical):
            with self._instances.use(consumer) as instance:
                yield instance

    @contextmanager
    def lent(self, consumer: str) -> Iterator[Consumer[Any] | None]:
        """Lends the instance of a consumer for what is no delivery; None where it has none."""
        with self._instances.use(consumer) as instance:
            yield instance

    def context(self, consumer: str) -> Context:
        """The context of what is no delivery."""
        return self._context(consumer, {})

    async def call(
        self,
        instance: Consumer[Any],
        deliveries: Sequence[Delivery],
        permit: Permit = FREE,
        ticket: Callable[[Delivery], str | None] | None = None,
    ) -> Answer:
        """Hands deliveries of one consumer over; `ticket` is the context's. Raises CancelledError only."""
        failed_templates: dict[str, str] = {}
        limit: asyncio.Timeout | None = None

        async def permit_more() -> None:
            """Waits for another permit; the time limit stands still meanwhile."""
            assert limit is not None
            when, began = limit.when(), asyncio.get_running_loop().time()
            limit.reschedule(None)
            await permit.renew()
            if when is not None:
                limit.reschedule(when + asyncio.get_running_loop().time() - began)

        context = replace(self._context(deliveries[0].consumer, failed_templates), permit=permit_more)
        if ticket is not None:
            context = replace(context, ticket=ticket)
        together = True
        try:
            timeout_s = instance.timeout_s()
            limit = asyncio.timeout(timeout_s)
            permit.use()
            async with limit:
                results = list(await instance.deliver(deliveries, context))
            distinct = {id(result): result for result in results}  # of a batch, often one
            if len(results) == len(deliveries) and all(map(is_result, distinct.values())):
                details = [failed_templates.get(delivery.id) for delivery in deliveries]
                return Answer(results=list(map(_with_detail, results, details)))
            text = f"the consumer answered {len(results)} results for {len(deliveries)} deliveries"
            if len(results) == len(deliveries):
                text = "the consumer answered what is no Result, or one with words that nobody knows; it may have been delivered"
            result = Result(outcome="unknown", reason="server_error", detail=text)
        except (Exception, asyncio.CancelledError) as error:  # a plugin may raise anything
            if isinstance(error, asyncio.CancelledError):
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # by us, not by the plugin
                    raise
                error = RuntimeError("it cancelled itself")
            if limit is not None and limit.expired() and isinstance(error, TimeoutError):
                text = f"no answer within {timeout_s:g} s; it may have been delivered"
                result = Result(outcome="unknown", reason="timeout", detail=text)
            else:
                result = _fault(error, instance, context.name)
                together = not isinstance(error, Permanent)
        finally:
            permit.end()
        return Answer(results=[result] * len(deliveries), failed_together=together)

    def _context(self, consumer: str, failed_templates: dict[str, str]) -> Context:
        """The context of one call. Why a template failed during it is put into `failed_templates`, by delivery id."""
        texts = Texts(self._renderer, self._catalog)

        async def rendered(delivery: Delivery) -> Rendered:
            found, failed = await texts.of(delivery)
            if failed is not None:  # the message goes out with the default text
                failed_templates[delivery.id] = failed
                logger.warning(
                    "A text of the configuration %s: %s",
                    delivery.configuration,
                    failed,
                    extra={"action": "render", "configuration": delivery.configuration},
                )
            return found

        async def text(delivery: Delivery) -> str | None:
            found = await rendered(delivery)
            return found.body.plain() if found.templated else None

        return Context(
            name=consumer,
            sandbox=self._sandbox,
            script=self._catalog.script,
            services=self._services,
            text=text,
            rendered=rendered,
            render=texts.render,
            network=self._network,
            own_topic=partial(is_own, prefix=self._topic_prefix),
        )


def _fault(error: Exception, instance: Consumer[Any], consumer: str) -> Result:
    """What an exception of a consumer says, without its secrets; one that no consumer should raise is logged."""
    result = result_of(error)
    if not isinstance(error, NotifierError):
        logger.warning(
            "The consumer %s raised what it should not: %s",
            consumer,
            instance.mask("".join(format_exception(error))),
            extra={"action": "deliver", "consumer": consumer},
        )
    # A service or a library may quote the address or the header that held a secret.
    return _with_detail(replace(result, detail=None if result.detail is None else instance.mask(result.detail)), None)


def batch_of(instance: Consumer[Any]) -> int:
    """How many deliveries a consumer takes at once; 1 where it does not say."""
    try:
        return max(1, int(instance.batch()))
    except Exception:  # a plugin's fault must not end the worker; the call itself says more
        return 1


def all_accepted(results: Sequence[Result]) -> bool:
    """Whether all deliveries of a call were accepted."""
    distinct = {id(result): result for result in results}  # of a batch, often one
    return all(result.outcome == "accepted" for result in distinct.values())


def is_result(answer: object) -> bool:
    """Whether what a plugin answered for a delivery can be recorded: nobody else checks its types."""
    return (
        isinstance(answer, Result)
        and isinstance(answer.outcome, str)
        and answer.outcome in _OUTCOMES
        and isinstance(answer.reason, str)
        and answer.reason in _REASONS
        and isinstance(answer.detail, str | None)
        and isinstance(answer.retry_after_s, int | float | None)
    )


def _with_detail(result: Result, more: str | None) -> Result:
    if result.detail is not None and not result.detail.isascii():
        # No record can hold a lone surrogate, as a file name or a program's output may have one.
        result = replace(result, detail=result.detail.encode(errors="replace").decode())
    return result if more is None else replace(result, detail="; ".join(filter(None, (result.detail, more))))
