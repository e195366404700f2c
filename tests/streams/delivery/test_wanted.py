"""What a lane does with deliveries whose configuration cannot be read, on a real broker."""

import msgspec
import pytest

from notifier.settings import Settings
from streams.delivery import wanted
from tests.rigs.delivery_rig import (
    dead_letters,
    define,
    define_sink,
    make,
    parked,
    saw,
    send,
    wait_for_attempts,
    with_,
    working,
)


async def test_a_configuration_that_cannot_be_read_stops_no_other_and_loses_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wanted, "SURE_AFTER_S", 0.3)
    path = await define_sink(settings, fixed=True)
    await define(settings, "night", {"consumers": 7}, kind="configuration")
    night = [msgspec.structs.replace(make(str(n), number=n), configuration="night") for n in range(2)]
    await send(settings, [*night, make("2", number=2)])
    async with working(with_(settings, lane_wait_s=0.0)):
        found = await wait_for_attempts(settings, 2, outcome="deferred", reason="paused")
        assert [line["content"] for line in await saw(path, 1)] == ["2"]
        assert (found[0].detail or "").startswith("not tried: the configuration night cannot be used: ")
        assert {d.attempt for d in (await parked(settings)).values()} == {1}
        await define(settings, "night", {"consumers": ["sink"]}, kind="configuration")
        assert {line["content"] for line in await saw(path, 3)} == {"0", "1", "2"}
        await wait_for_attempts(settings, 3, outcome="accepted")
    assert await dead_letters(settings) == []
