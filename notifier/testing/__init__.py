"""The contract kit: holds producers, filters and consumers against what they must bear. Our own types pass it too.

    @pytest.mark.parametrize("case", http_cases(ok=Reply(body=b"{}")), ids=str)
    async def test_contract(case: Case) -> None:
        async with serving() as service:
            consumer = Pager(PagerParameters(url=service.url, token="canary"))
            await hold(consumer, case, service, a_delivery(), context_for("pager"))

A consumer is called as a delivery worker calls it (`hold`), a producer as the runner does (`hold_producer`) or the control API
(`hold_hook`), and a filter as the router does (`hold_filter`); with pytest and pytest-asyncio. The trial asserts what becomes of
it: what is recorded, that nothing is tried earlier than the service said, how many requests were made, that messages are
messages, and that no secret of the parameters is told or logged.
"""

from notifier.testing.consumer import Case, Follows, a_delivery, follows, hold, http_cases, tried
from notifier.testing.context import context_for
from notifier.testing.filter import Judged, candidates, hold_filter
from notifier.testing.producer import PullCase, hold_hook, hold_producer, odd_payloads, pull_cases
from notifier.testing.service import Fault, Reply, Request, Service, serving

__all__ = [
    "Case",
    "Fault",
    "Follows",
    "Judged",
    "PullCase",
    "Reply",
    "Request",
    "Service",
    "a_delivery",
    "candidates",
    "context_for",
    "follows",
    "hold",
    "hold_filter",
    "hold_hook",
    "hold_producer",
    "http_cases",
    "odd_payloads",
    "pull_cases",
    "serving",
    "tried",
]
