"""What a role says about itself on `status`: that it works, what it cannot use and has passed over, and why it stopped."""

import asyncio
from typing import Any

import pytest

from notifier.catalog import Catalog
from notifier.errors import UnsupportedVersion
from notifier.settings import Settings
from notifier.status import Status
from streams.definitions import Definitions
from streams.delivery.worker import run_delivery
from streams.reporting import Reporting
from tests.rigs.delivery_rig import define, define_sink, working
from tests.rigs.kafka_tools import produce, read_all, wait_until
from tests.rigs.sink import REGISTRY


async def said(settings: Settings) -> list[Status | None]:
    """All that was reported, in order; None stands for a tombstone."""
    return [None if one.value is None else Status.decode(one.value) for one in await read_all(settings, "status")]


async def newest(settings: Settings, **fields: Any) -> Status | None:
    """The newest report, if it has these values."""
    last = (await said(settings) or [None])[-1]
    fits = last is not None and all(getattr(last, name) == value for name, value in fields.items())
    return last if fits else None


async def test_a_role_says_what_it_cannot_use_until_it_is_mended(settings: Settings) -> None:
    await define_sink(settings)
    await define(settings, "odd", {"type": "no-such-type"}, kind="filter")
    *_, last = await produce(settings, "definitions", [b"this is not json", b"[]"], key="user/zed")
    async with working(settings, REGISTRY):
        status = await wait_until(lambda: newest(settings, state="ready"))
        assert status.name.startswith("delivery@")
        assert list(status.problems) == ["filter/odd"]
        assert "no-such-type" in status.problems["filter/odd"]
        (over,) = status.passed_over
        assert (over.topic, over.count) == (f"{settings.topic_prefix}definitions", 2)
        assert over.last == f"{settings.topic_prefix}definitions/0/{last.offset}"
        assert "array" in over.error
        await define(settings, "odd", None, kind="filter", revision=2)
        await wait_until(lambda: newest(settings, problems={}))
    assert (await said(settings))[-1] is None


async def test_a_role_that_stops_says_why_and_works_again_once_that_is_mended(settings: Settings) -> None:
    await define_sink(settings)
    (newer,) = await produce(settings, "definitions", [{"v": 2, "kind": "user", "name": "zed"}], key="user/zed")
    with pytest.raises(UnsupportedVersion):
        await run_delivery(settings, stop=asyncio.Event(), registry=REGISTRY)
    status = await newest(settings, state="stopped")
    assert status is not None
    assert f"{settings.topic_prefix}definitions/0/{newer.offset}: version 2" in str(status.detail)
    await define(settings, "zed", {}, kind="user")
    async with working(settings, REGISTRY):
        await wait_until(lambda: newest(settings, state="ready", passed_over=()))


async def test_the_last_word_has_time_where_it_is_the_first(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bytes | None] = []

    async def send_late(reporting: Reporting, name: str, value: bytes | None) -> None:
        await asyncio.sleep(3.0)  # for the topic and the producer
        said.append(value)

    monkeypatch.setattr(Reporting, "_send", send_late)
    await Reporting(settings, ["router"], Definitions(settings, Catalog(registry=REGISTRY))).end(RuntimeError("why"))
    (value,) = said
    assert value is not None
    assert Status.decode(value).detail == "why"
