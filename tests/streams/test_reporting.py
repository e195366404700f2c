"""What a role says about itself on `status`: that it works, what it cannot use and has passed over, and why it stopped."""

import asyncio
from typing import Any

import pytest

from notifier.errors import UnsupportedVersion
from notifier.settings import Settings
from notifier.status import Status
from streams.delivery.worker import run_delivery
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
    await produce(settings, "definitions", [b"this is not json", b"[]"], key="user/zed")
    async with working(settings, REGISTRY):
        status = await wait_until(lambda: newest(settings, state="ready"))
        assert status.name.startswith("delivery@")
        assert list(status.problems) == ["filter/odd"]
        assert "no-such-type" in status.problems["filter/odd"]
        (over,) = status.passed_over
        assert (over.topic, over.count) == (f"{settings.topic_prefix}definitions", 2)
        assert over.last == f"{settings.topic_prefix}definitions/0/3"
        assert "array" in over.error
        await define(settings, "odd", None, kind="filter", revision=2)
        await wait_until(lambda: newest(settings, problems={}))
    assert (await said(settings))[-1] is None


async def test_a_role_that_stops_says_why_and_works_again_once_that_is_mended(settings: Settings) -> None:
    await define_sink(settings)
    await produce(settings, "definitions", [{"v": 2, "kind": "user", "name": "zed"}], key="user/zed")
    with pytest.raises(UnsupportedVersion):
        await run_delivery(settings, stop=asyncio.Event(), registry=REGISTRY)
    status = await newest(settings, state="stopped")
    assert status is not None
    assert f"{settings.topic_prefix}definitions/0/1: version 2" in str(status.detail)
    await define(settings, "zed", {}, kind="user")
    async with working(settings, REGISTRY):
        await wait_until(lambda: newest(settings, state="ready", passed_over=()))
