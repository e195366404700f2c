"""Producer: where messages come from."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from notifier.answer import Answer
from notifier.message import Message
from notifier.plugin.context import Context
from notifier.plugin.feed import Feed
from notifier.plugin.hook import Hook, Received
from notifier.plugin.plugin import P, Plugin
from notifier.record import JsonObject
from notifier.user import DEFAULT_WORLD, User


class Producer(Plugin[P]):
    """Makes messages.

    A pull producer implements `produce`; the runner calls it once for each run of a configuration, outside any Kafka
    agent, with a time limit. A type whose messages come by themselves (REST, hooks, Kafka) sets `pull = False`. One that takes
    hooks names its `doors` and implements `received`, which the control API calls. One that goes on reading its source while no
    run asks sets `follows` and implements `follow`, which every runner calls.
    """

    kind = "producer"
    world: ClassVar[str] = DEFAULT_WORLD  # where its senders and receivers live
    pull: ClassVar[bool] = True
    doors: ClassVar[Sequence[str]] = ()  # the words of `/hooks/{door}/{producer}` by which it takes hooks
    follows: ClassVar[bool] = False
    tells_labels: ClassVar[bool] = (
        False  # whether contents say what the labels do, so that no default text repeats these
    )

    def world_of(self) -> str:
        """The world of its names: the parameter `world`, else the type's own."""
        return getattr(self.parameters, "world", None) or self.world

    def timeout_s(self) -> float:
        """Seconds that one call of `produce` may take before it is cancelled."""
        return float(getattr(self.parameters, "timeout_s", 60.0)) + 5.0

    async def produce(self, context: Context) -> Iterable[JsonObject]:
        """The messages of this run as JSON objects with the fields of Message, all but `producer` and `configuration`.

        An `id` is the source's own and makes the same thing recognisable within a run; without one its position is used.
        Any exception fails this producer within the run and no other.
        """
        raise NotImplementedError(f"{self.type} does not pull")

    async def received(self, hook: Hook, context: Context) -> Received:
        """The messages that a hook is.

        What is odd within a payload becomes a message that says so, and costs none of its neighbours. Raises InputError for a
        payload as a whole that is not what the service sends.
        """
        raise NotImplementedError(f"{self.type} takes no hooks")

    async def follow(self, context: Context, feed: Feed) -> None:
        """Reads the source and writes what it gives to the feed, until it is cancelled.

        Several runners call it at the same time, and share the source among themselves by its own means. Raises what `produce`
        raises; it is called again after a while.
        """
        raise NotImplementedError(f"{self.type} follows nothing")

    def answered(self, answer: Answer, message: Message, sender: User | None) -> JsonObject | None:
        """What a message says that tells of an answer to another one; None: nothing is told.

        `sender` is who sent that one, where it is a user. The delivery worker asks every producer of each answer, and sets
        `producer` and `id`.
        """
        return None

    async def check(self, context: Context) -> None:
        """Tries the parameters against the real service without changing anything there, before they are saved.

        Asked for by `?verify=true`, with a limit of 15 seconds. Raises InputError that names the field, Permanent or
        Retryable; the text is the service's own and holds no secret.
        """
