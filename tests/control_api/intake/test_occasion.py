"""The occasion of a request."""

import re

import orjson

from control_api.intake.occasion import Occasion
from control_api.rest.pushed import read
from notifier.record import now
from tests.rigs.api_rig import GOOD


def test_ids_of_a_key_are_the_same_each_time() -> None:
    at = now()
    body = orjson.dumps([GOOD, GOOD])
    first = read("application/json", body, Occasion(at, "me/key"))
    again = read("application/json", body, Occasion(at, "me/key"))
    other = read("application/json", body, Occasion(at, "me/other"))
    assert [one.id for one in first] == [one.id for one in again]
    assert len({one.id for one in (*first, *other)}) == 4
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one.id) for one in first
    )
