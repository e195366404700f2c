"""Counting: a consumer that accepts everything, at no cost of its own, and roles that have no other consumer.

`python -m bench.counting router` is a router with it, `python -m bench.counting delivery` a delivery worker.
"""

import sys
from collections.abc import Sequence

from notifier import Consumer, ConsumerParameters, Context, Delivery, Result
from notifier.registry import Registry
from notifier.settings import load_settings
from producers.push import Push
from streams.app import run_process
from streams.delivery.worker import run_delivery_process

BATCH = 100


class Counting(Consumer[ConsumerParameters]):
    """Accepts everything. A lane for each person, as a consumer that writes to people has."""

    type = "counting"
    Parameters = ConsumerParameters

    def fixed_address(self) -> bool:
        """No: each person is a lane."""
        return False

    def batch(self) -> int:
        """Many, so that what is measured is the worker."""
        return BATCH

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Accepts all."""
        return [Result()] * len(deliveries)


REGISTRY = Registry((Push, Counting))


def main() -> int:
    """The process."""
    (role,) = sys.argv[1:]
    settings = load_settings(env_file=None)
    if role == "delivery":
        return run_delivery_process(settings, REGISTRY)
    return run_process(settings, ["router"], REGISTRY)


if __name__ == "__main__":
    sys.exit(main())
