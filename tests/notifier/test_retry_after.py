"""What a service may say when it is asked how long to wait."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from notifier.retry_after import retry_after_s

AT = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (600, 600.0),
        (20.5, 20.5),
        (0, 0.0),
        (-5, -5.0),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (math.nan, None),
        (True, None),
        (None, None),
        ([600], None),
        ("600", 600.0),
        (" 0.25 ", 0.25),
        ("-1", -1.0),
        ("9" * 400, math.inf),
        ("Sun, 29 Nov 2026 12:10:00 GMT", 600.0),
        ("Sunday, 29-Nov-26 12:10:00 GMT", 600.0),
        ("Sun Nov 29 12:10:00 2026", 600.0),
        ("Sun, 29 Nov 2026 12:10:00 +0300", 600.0 - 3 * 3600),
        ("Sun, 29 Nov 2026 11:59:59 GMT", -1.0),
        ("Sun, 29 Nov 99999 12:10:00 GMT", None),
        ("inf", None),
        ("nan", None),
        ("1_000", None),
        ("\u0661\u0662", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_wait_is_a_number_or_a_date(told: Any, seconds: float | None) -> None:
    assert retry_after_s(told, AT) == seconds
