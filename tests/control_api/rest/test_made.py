"""What a producer makes of a hook, before it goes to the topic."""

import pytest

from control_api.http.problems import Problem
from control_api.intake.occasion import Occasion
from control_api.rest.items import MAX_ITEMS
from control_api.rest.made import read_made
from notifier.record import now


async def test_what_fits_no_message_costs_no_other_one() -> None:
    made = await read_made("ci", [{"content": "a"}, {"content": 5}, {"content": "b"}], Occasion(now()))
    assert [b"fits no message" in one.raw for one in made] == [False, True, False]


async def test_a_hook_is_no_more_messages_than_a_request_may_have() -> None:
    messages = [{"content": "a"}] * MAX_ITEMS
    assert len(await read_made("ci", messages, Occasion(now()))) == MAX_ITEMS
    with pytest.raises(Problem) as refused:
        await read_made("ci", [*messages, {"content": "a"}], Occasion(now()))
    assert refused.value.status == 413
