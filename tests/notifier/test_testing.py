"""The contract kit finds what breaks the contract."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import Field, SecretStr

from notifier import (
    ACCEPTED,
    Candidate,
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    Filter,
    FilterParameters,
    Hook,
    Lookup,
    Permanent,
    Producer,
    Received,
    Result,
    Retryable,
    WorldParameters,
)
from notifier.errors import FieldError, InputError, InvalidRecord
from notifier.record import now
from notifier.retry_after import retry_after_s
from notifier.testing import (
    Case,
    PullCase,
    Reply,
    a_delivery,
    candidates,
    context_for,
    hold,
    hold_filter,
    hold_hook,
    hold_producer,
    http_cases,
    odd_payloads,
    pull_cases,
    serving,
)

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


# --- producers ---


class FeedParameters(WorldParameters):
    """Where the feed is."""

    url: str = ""
    token: SecretStr = Field(SecretStr("canary"))
    fault: str = ""  # what it does wrong


class News(Producer[FeedParameters]):
    """Tells what a feed says."""

    type = "news"
    Parameters = FeedParameters
    asked = 0

    async def produce(self, context: Context) -> list[Any]:
        fault, session = self.parameters.fault, context.network.open_session()
        self.asked += 1
        async with session:
            try:
                answer = session.get(self.parameters.url, allow_redirects=fault == "follows")
                async with answer as response:
                    status, asked, body = response.status, response.headers.get("Retry-After"), await response.read()
            except aiohttp.ClientError:
                raise Retryable("connection", "the feed is not there") from None
        if status == 200:
            try:
                items = json.loads(body)
            except (ValueError, RecursionError):
                raise Retryable("server_error", "the feed is not JSON") from None
            return [item if fault == "odd" else self._message(item) for item in items]
        if fault == "silent":
            return []
        said = f"with {self.parameters.token.get_secret_value()}" if fault == "tells" else "the feed refused"
        if status == 429:
            raise Retryable("rate_limited", said, None if fault == "hurries" else retry_after_s(asked or "", now()))
        if status >= 500 or status < 400:
            raise RuntimeError("oh") if fault == "raises" else Retryable("server_error", said)
        raise Permanent(REASONS.get(status, "invalid_content"), said)

    def _message(self, item: Any) -> Any:
        if not isinstance(item, dict):
            return InvalidRecord("no object")
        fault = self.parameters.fault
        number = {"alike": 0, "unstable": self.asked * 100 + item["n"]}.get(fault, item["n"])
        return {"id": f"{number}", "content": "news"}

    async def received(self, hook: Hook, context: Context) -> Received:
        if not isinstance(hook.payload, dict):
            raise InputError(FieldError("", "must be an object"))
        text = hook.payload["text"] if self.parameters.fault == "raises" else hook.payload.get("text")
        return Received(messages=[{"content": text if isinstance(text, str) and text.isprintable() else "odd"}])


NEWS = {case.name: case for case in pull_cases(ok=Reply(body=b'[{"n": 1}, {"n": 2}, 3]'), messages=2)}


async def asked_for_news(case: PullCase, fault: str) -> None:
    async with serving() as service:
        news = News(FeedParameters(url=service.url, fault=fault))
        await hold_producer(news, case, service, context_for("news"))


@pytest.mark.parametrize("case", NEWS.values(), ids=str)
async def test_a_producer_that_keeps_the_contract_is_held_to_be_right(case: PullCase) -> None:
    await asked_for_news(case, "")


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("tells", "refused with 403"),
        ("hurries", "busy for seven seconds"),
        ("follows", "elsewhere"),
        ("silent", "refused with 404"),
        ("raises", "refused with 500"),
        ("odd", "answered"),
        ("alike", "answered"),
        ("unstable", "answered"),
    ],
)
async def test_what_breaks_the_contract_of_producers_is_found(fault: str, name: str) -> None:
    with pytest.raises(AssertionError):
        await asked_for_news(NEWS[name], fault)


async def test_hooks_are_tried_with_any_part_changed() -> None:
    sample = {"text": "done", "of": [{"id": 1}]}
    odd = list(odd_payloads(sample))
    assert {"of": [{"id": 1}]} in odd
    assert {"text": "done", "of": [{}]} in odd
    assert sample == {"text": "done", "of": [{"id": 1}]}
    for payload in odd:
        await hold_hook(News(FeedParameters()), Hook(door="json", payload=payload), context_for("news"))
    await hold_hook(News(FeedParameters()), Hook(door="json", payload=sample), context_for("news"), messages=1)
    with pytest.raises(AssertionError, match="KeyError"):
        await hold_hook(News(FeedParameters(fault="raises")), Hook(door="json", payload={}), context_for("news"))


# --- filters ---


class MoodParameters(FilterParameters):
    """What it does wrong."""

    fault: str = ""


class Mood(Filter[MoodParameters]):
    """Lets what is bad pass."""

    type = "mood"
    Parameters = MoodParameters
    asked = 0

    def accepts(self, candidate: Candidate) -> Any:
        self.asked += 1
        bad = candidate.message.severity == "error"
        if self.parameters.fault == "edits":
            candidate.message.labels["seen"] = "yes"
        if self.parameters.fault == "clock":
            return candidate.at.hour < 14
        return {"moody": self.asked % 2 == 0, "vague": candidate.message.severity}.get(self.parameters.fault, bad)

    def lookup(self, users: frozenset[str]) -> Lookup | None:
        wrong = self.parameters.fault == "lookup"
        return Lookup(field="severity", values=frozenset(["warning" if wrong else "error"])) if wrong else None

    def test(self) -> Any:
        return (lambda message: True) if self.parameters.fault == "test" else None

    def holds_until(self, candidate: Candidate) -> datetime | None:
        return candidate.at + timedelta(hours=6) if self.parameters.fault == "clock" else None

    def clause(self) -> str:
        return "" if self.parameters.fault == "mute" else "it is an error"


def judged_by(fault: str) -> None:
    for judged in candidates():
        hold_filter(Mood(MoodParameters(fault=fault)), judged)


@pytest.mark.parametrize("fault", ["edits", "moody", "vague", "lookup", "test", "clock", "mute"])
def test_what_breaks_the_contract_of_filters_is_found(fault: str) -> None:
    judged_by("")
    with pytest.raises(AssertionError):
        judged_by(fault)
