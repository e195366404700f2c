"""Consumer: how messages reach people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

from pydantic import Field

from notifier.delivery import Delivery
from notifier.errors import DeliveryError, Retryable
from notifier.outcome import Outcome, Reason
from notifier.plugin.context import Context
from notifier.plugin.hearing import Hearing
from notifier.plugin.limit import Limit
from notifier.plugin.moves import Moves
from notifier.plugin.parameters import WorldParameters
from notifier.plugin.plugin import Plugin
from notifier.policy import USUAL, Policy, Unknown
from notifier.rendered import Rendered
from notifier.user import DEFAULT_WORLD, User
from notifier.wording import NO_WORDING, Wording


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The outcome of one delivery that was handed to a consumer."""

    outcome: Outcome = "accepted"
    reason: Reason = "ok"
    detail: str | None = None  # for people; never a secret
    retry_after_s: float | None = None  # seconds, where the service said so


ACCEPTED = Result()


def result_of(error: Exception) -> Result:
    """The Result that an exception of a consumer stands for; anything but Retryable and Permanent is retryable."""
    if isinstance(error, Retryable):
        return Result(
            outcome="unknown" if error.reason == "timeout" else "deferred",
            reason=error.reason,
            detail=str(error),
            retry_after_s=error.retry_after_s,
        )
    if isinstance(error, DeliveryError):
        return Result(outcome="refused", reason=error.reason, detail=str(error))
    return Result(outcome="deferred", reason="server_error", detail=f"{type(error).__name__}: {error}")


class ConsumerParameters(WorldParameters):
    """The base of every consumer's parameters."""

    partitions: int = Field(
        1, ge=1, le=100, description="Partitions of its topic: so many workers share it. More can be added, not fewer."
    )
    overtake: Literal["none", "critical"] = Field(
        "none", description="`critical`: what has `severity: critical` goes before what waits and has not."
    )


C = TypeVar("C", bound=ConsumerParameters)


class Consumer(Plugin[C]):
    """Delivers messages to people.

    The delivery worker calls `deliver` with at most `batch` deliveries of one lane, in order, one call at a time for each
    lane, and again with the same deliveries after a crash: at least once. It returns one Result for each, or raises
    Retryable or Permanent for all of them; any other exception counts as Retryable.
    """

    kind = "consumer"
    world: ClassVar[str] = DEFAULT_WORLD  # that it writes to
    shows_ids: ClassVar[bool] = True  # whether it may call a person by an id of its world; if not, by a `username` only
    # What follows where nobody knows whether a delivery arrived, unless its definition says: `again` where the service
    # recognises a repeat, or a repeat is better than nothing; `give_up` where a repeat is dear.
    unknown: ClassVar[Unknown] = "again"
    policy: Policy = USUAL  # what its definition says of deliveries that it does not take at once; set by the catalog
    wording: Wording = NO_WORDING  # the texts that its definition gives; set by the catalog

    def __init__(self, parameters: C) -> None:
        super().__init__(parameters)
        self.moves = Moves()  # of its addresses; the delivery worker puts those on record in its place

    def world_of(self) -> str:
        """The world of its names: the parameter `world`, else the type's own."""
        return self.parameters.world or self.world

    def batch(self) -> int:
        """How many deliveries `deliver` takes at most."""
        return 1

    def timeout_s(self) -> float:
        """Seconds that one call of `deliver` may take before it is cancelled and counts as `unknown`."""
        return float(getattr(self.parameters, "timeout_s", 30.0)) + 5.0

    def fixed_address(self) -> bool:
        """Whether its parameters say where it delivers (a group chat, a webhook, a script): then it has one lane."""
        return True

    def address(self, user: User) -> str | None:
        """How it reaches a user; None where it cannot. A consumer with a fixed address is not asked."""
        return user.name_in(self.world_of())

    def addressing(self) -> object:
        """What its addresses depend on, besides the user: consumers with equal answers reach everyone at the same address.

        The router then finds and keeps each address once for all of them. By default the consumer itself; its world where the
        type leaves `address` as it is here. A value that can be hashed.
        """
        return self.world_of() if type(self).address is Consumer.address else self

    def name_of(self, user: User) -> str | None:
        """What it calls a user: the first name in its world; None where the user has none."""
        return user.name_in(self.world_of()) if self.shows_ids else user.username_in(self.world_of())

    def credential(self) -> str | None:
        """What its `limits` belong to, as a digest that no secret can be told from; None: it has none.

        Consumers with equal answers share their limits, and one worker serves them all.
        """
        return None

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The limits of its service that sending a delivery counts for. Asked where `credential` is not None.

        A call of `deliver` has a permit for one send; for each further one it waits for `context.permit()`.
        """
        return ()

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Delivers, in order; returns a Result for each."""
        raise NotImplementedError

    def preview(self, delivery: Delivery, text: str) -> str:
        """What it sends, for people to see. `text` is what the template makes, or the default text; by default it is that."""
        return text

    def parts(self, delivery: Delivery, rendered: Rendered) -> Sequence[str]:
        """The texts that it sends of what a delivery says, for people to see: several where its service takes no more at once.

        None where nothing is sent. By default the one of `preview`.
        """
        return [self.preview(delivery, rendered.body.plain())]

    def listens(self) -> bool:
        """Whether people answer it in its chats, so that `listen` is to be called."""
        return False

    async def listen(self, hearing: Hearing, context: Context) -> None:
        """Hears people until it is cancelled. One worker calls it for all consumers of one credential, and again after it raised.

        At least once: what a service may forget is handed on before the service is told that it may.
        """
        raise NotImplementedError

    async def check(self, context: Context) -> None:
        """Tries the parameters against the real service without sending anything; raises Permanent or Retryable."""
