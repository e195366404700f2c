"""`receiver_exists` and `receiver_working`."""

from datetime import datetime

import pytest

from filters.chain import Chain, ChainVerdict
from notifier.outcome import Reason
from notifier.user import User
from tests.rigs.candidates import ALICE, BOB, CAROL, DAVE, NOON, about, make, table


@pytest.mark.predecessor("S-35")
@table(
    ("a user of the configuration", ALICE, ["alice"], True, "alice is among the configuration's users"),
    ("somebody else", CAROL, ["alice"], False, "carol is not among the configuration's users"),
    ("everyone", None, [], True, "the message is for everyone, not for one person"),
)
def test_receiver_exists(row: tuple[User | None, list[str], bool, str]) -> None:
    to, users, passes, finding = row
    filter_, candidate = make("receiver_exists"), about(to=to, users=users)
    assert filter_.passes(candidate) is passes
    assert filter_.finding(candidate) == finding


_HOURS = "the working time is 09:00 to 18:00 on mon, tue, UTC"


@pytest.mark.predecessor("S-17", "S-36")
@table(
    ("within the hours", ALICE, NOON, "ok", f"alice is working at Mon 12:00; {_HOURS}"),
    ("at the start", ALICE, NOON.replace(hour=9), "ok", f"alice is working at Mon 09:00; {_HOURS}"),
    ("at the end", ALICE, NOON.replace(hour=18), "outside_hours", f"alice is not working at Mon 18:00; {_HOURS}"),
    ("on another day", ALICE, NOON.replace(day=25), "outside_hours", f"alice is not working at Wed 12:00; {_HOURS}"),
    (
        "over midnight",
        CAROL,
        NOON.replace(hour=3),
        "ok",
        "carol is working at Mon 03:00; the working time is 22:00 to 06:00 every day, UTC",
    ),
    ("on leave", BOB, NOON, "on_leave", "bob is on leave"),
    ("always working", DAVE, NOON, "ok", "dave is always working"),
    ("for everyone", None, NOON, "ok", "the message is for everyone, not for one person"),
)
def test_receiver_working(row: tuple[User | None, datetime, Reason, str]) -> None:
    to, at, reason, finding = row
    candidate = about(to=to, at=at)
    verdict = Chain([("work", make("receiver_working"))]).judge(candidate)
    assert verdict.reason == reason
    assert verdict.passed is (reason == "ok")
    assert make("receiver_working", outside="drop").finding(candidate) == finding


def test_dropping_who_does_work_is_filtered_and_not_outside_hours() -> None:
    off_duty_only = Chain([("off-duty", make("receiver_working", negate=True))])
    assert off_duty_only.judge(about(to=ALICE)) == ChainVerdict(passed=False, filter="off-duty", reason="filtered")
    assert off_duty_only.judge(about(to=BOB)).passed
