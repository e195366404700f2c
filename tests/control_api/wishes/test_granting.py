"""What a chat is written into, and hours as people write them. The way there is shown in tests/consumers/telegram."""

from typing import Any

import pytest

from control_api.wishes.granting import linked
from control_api.wishes.hours import NotUnderstood, hours_of


@pytest.mark.parametrize(
    ("before", "called", "after"),
    [
        pytest.param(None, "al", {"username": "al", "id": 7}, id="nothing"),
        pytest.param(None, None, {"id": 7}, id="nobody with a username"),
        pytest.param(
            {"username": "old", "id": 5, "x": 1}, "al", {"username": "al", "id": 7, "x": 1}, id="another chat"
        ),
        pytest.param({"username": "old"}, None, {"username": "old", "id": 7}, id="a username that is not said"),
        pytest.param(
            [{"username": "old", "id": 5}, {"id": "7"}, {"id": 7, "username": "x"}],
            "al",
            [{"username": "al", "id": 7}, {"username": "old", "id": 5}],
            id="several",
        ),
    ],
)
def test_the_chat_comes_first_and_the_rest_stays(before: Any, called: str | None, after: Any) -> None:
    assert linked(before, "7", called) == after


def test_an_address_that_is_no_number_stays_text() -> None:
    assert linked(None, "room-7", None) == {"id": "room-7"}


BEFORE = {"start": "10:00", "end": "19:00", "days": ["sat"], "timezone": "Europe/Moscow"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("always", None),
        ("9-18", {**BEFORE, "start": "09:00", "end": "18:00"}),
        (
            "09:30 - 18:00 mon-fri UTC",
            {"start": "09:30", "end": "18:00", "days": ["mon", "tue", "wed", "thu", "fri"], "timezone": "UTC"},
        ),
        ("22:00-6:00 fri-mon", {**BEFORE, "start": "22:00", "end": "06:00", "days": ["mon", "fri", "sat", "sun"]}),
        (
            "9-18 tue,thu Asia/Tokyo",
            {"start": "09:00", "end": "18:00", "days": ["tue", "thu"], "timezone": "Asia/Tokyo"},
        ),
    ],
)
def test_hours_are_read_and_keep_what_is_not_said(text: str, expected: Any) -> None:
    assert hours_of(text, BEFORE) == expected


@pytest.mark.parametrize("text", ["", "9", "nine to five", "9-18 someday", "9-18 mon-fun", "9-18; DROP TABLE"])
def test_what_is_no_hours_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstood):
        hours_of(text, BEFORE)
