"""Failed sign-ins in the audit log: whose and from where, never what was typed, and boundedly many."""

import json

from sqlalchemy import select

from control_api.access import accounts
from control_api.access.actor import COMMAND_LINE
from control_api.access.failed_sign_ins import MOST, WINDOW_S, FailedSignIns
from control_api.models import AuditRow
from notifier.database import Database

pytest_plugins = ["tests.rigs.databases"]


async def _noted(store: Database) -> list[AuditRow]:
    async with store.read() as session:
        query = select(AuditRow).where(AuditRow.action == "sign_in_failed").order_by(AuditRow.id)
        return list(await session.scalars(query))


async def test_a_name_is_kept_only_where_an_account_has_it(store: Database) -> None:
    async with store.write() as session:
        await accounts.add(session, COMMAND_LINE, "ada", "correct horse battery", "viewer")
    failed = FailedSignIns(store)
    for name in ("ada", "my-password-in-the-wrong-field", "nul\0", "\ud800", ""):
        failed.note(name, "192.0.2.1")
        await failed.stop()
    log = await _noted(store)
    assert [(row.actor, row.kind, row.name) for row in log] == [
        ("nobody", "account", name) for name in ("ada", *[""] * 4)
    ]
    assert all(row.after == {"address": "192.0.2.1"} for row in log)


async def test_their_number_is_bounded_for_each_account_and_for_all_others(store: Database) -> None:
    async with store.write() as session:
        await accounts.add(session, COMMAND_LINE, "ada", "correct horse battery", "viewer")
    at = 0.0
    failed = FailedSignIns(store, clock=lambda: at)
    for number in range(MOST + 5):
        failed.note(f"guess{number}", None)
    await failed.stop()
    assert len(await _noted(store)) == MOST
    assert sum("more within this hour" in json.dumps(row.after) for row in await _noted(store)) == 1
    failed.note("ada", None)
    await failed.stop()
    assert [row.name for row in await _noted(store)][MOST:] == ["ada"]
    at = WINDOW_S
    failed.note("guess", None)
    await failed.stop()
    assert len(await _noted(store)) == MOST + 2
