"""The contract kit finds what breaks the contract."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from pydantic import Field, SecretStr

from notifier import ACCEPTED, Consumer, ConsumerParameters, Context, Delivery, Permanent, Result, Retryable
from notifier.record import now
from notifier.retry_after import retry_after_s
from notifier.testing import Case, Reply, a_delivery, context_for, hold, http_cases, serving

OK = Reply(status=202)
REASONS: dict[int, Any] = {401: "unauthorized", 403: "forbidden", 404: "not_found", 410: "not_found"}


class PagerParameters(ConsumerParameters):
    """Where the pager is."""

    url: str = ""
    token: SecretStr = Field(SecretStr("canary"))
    fault: str = ""  # what it does wrong


class Pager(Consumer[PagerParameters]):
    """Pages people."""

    type = "pager"
    Parameters = PagerParameters

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        fault = self.parameters.fault
        said = f"with {self.parameters.token.get_secret_value()}" if fault == "tells" else ""
        async with aiohttp.ClientSession() as session:
            try:
                answer = session.post(self.parameters.url, data=b"x", allow_redirects=fault == "follows")
                async with answer as response:
                    status, asked = response.status, response.headers.get("Retry-After")
            except aiohttp.ClientConnectionError:
                if fault == "sure":
                    raise Retryable("connection", "it did not arrive") from None
                return [Result(outcome="unknown", reason="connection")]
        if status < 300:
            return [ACCEPTED]
        if status == 429 or status >= 500 or status < 400:
            reason: Any = "rate_limited" if status == 429 else "server_error"
            wait_s = None if asked is None or fault == "hurries" else retry_after_s(asked, now())
            raise Retryable(reason, f"{status} {said}", wait_s)
        raise Permanent(REASONS.get(status, "invalid_content"), f"{status} {said}")


async def held(case: Case, fault: str) -> None:
    async with serving() as service:
        await hold(
            Pager(PagerParameters(url=service.url, fault=fault)), case, service, a_delivery(), context_for("pager")
        )


@pytest.mark.parametrize("case", http_cases(ok=OK), ids=str)
async def test_a_consumer_that_keeps_the_contract_is_held_to_be_right(case: Case) -> None:
    await held(case, "")


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("tells", "refused with 403"),
        ("hurries", "busy for seven seconds"),
        ("follows", "elsewhere"),
        ("sure", "no answer"),
    ],
)
async def test_what_breaks_the_contract_is_found(fault: str, name: str) -> None:
    (case,) = [case for case in http_cases(ok=OK) if case.name == name]
    with pytest.raises(AssertionError):
        await held(case, fault)


def test_cases_are_replaced_and_taken_out() -> None:
    usual = http_cases(ok=OK)
    other = Case(name="", replies=[Reply(status=404)], outcome="refused", reason="unauthorized")
    found = {case.name: case for case in http_cases(ok=OK, refused_with_404=other, elsewhere=None)}
    assert len(found) == len(usual) - 1
    assert (found["refused with 404"].reason, found["refused with 404"].follows) == ("unauthorized", "paused")
