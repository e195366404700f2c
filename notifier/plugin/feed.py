"""Feed: the way of a producer that follows its source into the pipeline."""

from collections.abc import Sequence
from typing import Protocol

from notifier.errors import RecordError
from notifier.record import JsonObject


class Feed(Protocol):
    """Takes what a source gives while no run asks."""

    async def write(self, items: Sequence[JsonObject | RecordError]) -> None:
        """Writes the items to `messages` in their order, and what is no message to `dead_letters`.

        Items are as `Producer.produce` gives them, each with an `id` of its own, a RecordError too. All are acknowledged once the
        call returns; only then may the source be told that they arrived. Raises BrokerError: some may have been written.
        """
