"""The rows of dry runs on each kind of database: begun, bounded, cancelled, given up, found dead by another process."""

from datetime import timedelta

import pytest
import uuid6

from control_api.access.actor import COMMAND_LINE
from control_api.definitions.services import Services
from control_api.dry_run import dry_runs
from control_api.dry_run.dry_runs import DryRuns
from control_api.dry_run.question import DryRunInput
from control_api.models import DryRunRow
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import Conflict
from notifier.record import now
from notifier.seal import load_seal
from notifier.settings import Settings
from tests.rigs.kafka_tools import wait_until

pytest_plugins = ["tests.rigs.databases"]


async def test_a_dry_run_is_in_one_state_for_all_processes(
    store_settings: Settings, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_runs, "MOST_AT_ONCE", 1)
    services = Services(store, load_registry(), load_seal(store_settings))
    await services.create(COMMAND_LINE, "producer", {"name": "ci", "type": "push"})
    draft = DryRunInput(draft={"producers": ["ci"]})
    mine, other = (DryRuns(store_settings, store, services) for _ in range(2))
    first, second = str(uuid6.uuid7()), str(uuid6.uuid7())
    for _ in range(2):  # a request that is repeated
        await mine.begin(COMMAND_LINE, "new", draft, first, now())
    assert (await other.get(COMMAND_LINE, first))["state"] == "running"
    with pytest.raises(Conflict, match="at work already"):
        await other.begin(COMMAND_LINE, "new", draft, second, now())
    await other.cancel(COMMAND_LINE, first)
    found = await mine.get(COMMAND_LINE, first)
    assert (found["state"], found["draft"], found["samples"]) == ("cancelled", True, {"added": [], "dropped": []})
    await wait_until(lambda: not mine._tasks)

    await other.begin(COMMAND_LINE, "new", draft, second, now())
    await other.stop()
    assert "stopped" in (await mine.get(COMMAND_LINE, second))["error"]
    async with store.write() as session:
        row = await session.get(DryRunRow, second)
        assert row is not None
        row.state, row.alive_at = "running", now() - timedelta(seconds=31)
    found = await mine.get(COMMAND_LINE, second)
    assert (found["state"], "gone" in found["error"]) == ("failed", True)
