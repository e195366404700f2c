"""Whether a user works."""

import pytest

from tests.rigs.problems import pointers, problem
from tests.rigs.rest_rig import Rest, address


@pytest.mark.predecessor("S-67")
async def test_who_works_now_can_be_asked(rest: Rest) -> None:
    reader, path = rest.client("read"), f"{address('user', 'alice')}/working"
    assert (await reader.get(path)).json() == {"working": True, "reason": "ok"}
    assert (await reader.get(f"{address('user', 'bob')}/working")).json() == {"working": False, "reason": "on_leave"}
    night = {"start": "23:00", "end": "08:00", "days": ["mon"], "timezone": "Europe/Berlin"}
    assert (await rest.client("write").patch(address("user", "alice"), json={"working_time": night})).status_code == 200
    tuesday = "2026-11-24T{}:00Z"  # in Berlin it is an hour later
    for at, working in ((tuesday.format("06:59"), True), (tuesday.format("07:00"), False)):
        answer = await reader.get(path, params={"at": at})
        assert answer.json() == {"working": working, "reason": "ok" if working else "outside_hours"}
    problem(await reader.get(f"{address('user', 'nobody')}/working"), 404)
    assert pointers(await reader.get(path, params={"at": "2026-11-24T07:00:00"})) == ["/at"]
