"""Hearing: what a consumer that listens to people hands on, and learns of them."""

from typing import Protocol

from notifier.answer import Answer
from notifier.delivery import Delivery
from notifier.user import User
from notifier.wish import Wish


class Hearing(Protocol):
    """The way from a consumer's service into the pipeline. What was handed on is kept once the call returns."""

    name: str  # of the consumer that listens, for all of its credential

    def works(self) -> None:
        """The service answers as it should; what was wrong before is over."""

    def user(self, address: str) -> User | None:
        """Whom the consumer reaches at an address; None where that is nobody, or several."""

    async def delivery(self, ticket: str) -> Delivery | None:
        """The delivery that `Context.ticket` made a ticket of; None where it is gone, or the ticket is none."""

    async def answer(self, answer: Answer, delivery: Delivery) -> None:
        """Somebody has answered a delivery. Hearing one answer twice, under one `id`, is hearing it once."""

    async def ask(self, wish: Wish) -> None:
        """Somebody asks something of us. Asking twice under one key is asking once."""

    async def next_reply(self) -> Wish:
        """Waits for a wish that was answered, and that who asked is to be told of; `told` ends it."""

    async def told(self, wish: Wish) -> None:
        """Who asked was told, or cannot be told."""
