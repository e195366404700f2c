"""Retention."""

from datetime import timedelta

from control_api.models import AttemptRow, DryRunRow, IdempotencyRow
from control_api.retention import prune
from notifier.database import Database
from notifier.record import now
from tests.rigs.history_rig import count_rows

pytest_plugins = ["tests.rigs.databases"]


async def test_what_is_old_is_forgotten(database: Database) -> None:
    old, new = now() - timedelta(days=8), now()
    async with database.write() as session:
        for at in (old, new):
            for number in range(3):
                row = {"generation": 0, "partition": 0, "offset": int(at.timestamp()) + number, "number": 1}
                texts = {"delivery": "d", "producer": "p", "message": "m", "outcome": "accepted", "reason": "ok"}
                session.add(AttemptRow(**row, **texts, started_at=at, ended_at=at))
            session.add(IdempotencyRow(actor="a", key=str(at), request_hash="h", at=at))
            asked = {"configuration": "c", "since": at, "until": at, "actor": "a", "state": "done"}
            session.add(DryRunRow(id=str(at), **asked, report={}, samples={}, created_at=at, alive_at=at))
    assert await prune(database) == 5
    assert await count_rows(database) == 3
    assert await prune(database) == 0
