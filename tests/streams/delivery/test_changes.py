"""When a consumer was changed last, as far as a worker can know."""

from datetime import datetime, timedelta

import pytest

from notifier.catalog import Catalog
from streams.delivery import changes
from streams.delivery.changes import Changes
from tests.rigs.sink import REGISTRY

BEGAN = datetime.fromisoformat("2026-03-01T12:00:00Z")
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("published_at", "waits_since", "expected"),
    [
        pytest.param(BEGAN - 2 * MINUTE, BEGAN - MINUTE, False, id="before the wait"),
        pytest.param(BEGAN - MINUTE, BEGAN - 2 * MINUTE, True, id="during the wait"),
        pytest.param(BEGAN + 5 * MINUTE, BEGAN - MINUTE, True, id="by a clock that is ahead, perhaps during the wait"),
        pytest.param(BEGAN + 5 * MINUTE, BEGAN + MINUTE, False, id="by a clock that is ahead, before the wait"),
        pytest.param(None, BEGAN - MINUTE, False, id="never"),
    ],
)
def test_a_definition_was_written_before_the_worker_that_found_it_began(
    monkeypatch: pytest.MonkeyPatch, published_at: datetime | None, waits_since: datetime, expected: bool
) -> None:
    monkeypatch.setattr(changes, "now", lambda: BEGAN)
    found = Changes({} if published_at is None else {"consumer/chat": published_at})
    found.follow(Catalog(registry=REGISTRY))
    assert found.since("chat", waits_since) is expected
    assert not found.seen_since("chat", waits_since)
