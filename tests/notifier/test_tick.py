"""The identity of a tick."""

import pytest

from notifier.errors import InvalidRecord
from notifier.tick import Tick
from tests.rigs.examples import AT


def test_the_same_tick_has_the_same_id_however_it_is_written() -> None:
    berlin = b'{"configuration":"c","scheduled_at":"2026-11-23T10:00:00+01:00"}'
    assert Tick.decode(berlin).id == Tick(configuration="c", scheduled_at=AT).id == "c/2026-11-23T09:00:00Z"


def test_a_tick_that_can_have_no_id_is_invalid() -> None:
    with pytest.raises(InvalidRecord, match=r"must lie in the years 1970 to 9000 - at `\$.scheduled_at`"):
        Tick.decode(b'{"configuration":"c","scheduled_at":"0001-01-01T00:00:00+14:00"}')
