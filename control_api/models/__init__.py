"""The tables of the control API. `control_api.migrations` makes them; a test compares the two."""

from control_api.models.access import AccountRow, IdempotencyRow, SessionRow, TokenRow
from control_api.models.base import Base
from control_api.models.definitions import AuditRow, ChangeRow, DefinitionRow, LeaseRow, OutboxRow, ReferenceRow
from control_api.models.dry_run import DryRunRow
from control_api.models.history import (
    AnswerRow,
    AttemptRow,
    CounterRow,
    DeadLetterRow,
    HistoryOffsetRow,
    MessageRow,
    RunRow,
)
from control_api.models.listening import LinkCodeRow
from control_api.models.redrive import RedriveRow
from control_api.models.silence import SilenceRow
from notifier.tick_claims import METADATA

__all__ = [
    "AccountRow",
    "AnswerRow",
    "AttemptRow",
    "AuditRow",
    "Base",
    "ChangeRow",
    "CounterRow",
    "DeadLetterRow",
    "DefinitionRow",
    "DryRunRow",
    "HistoryOffsetRow",
    "IdempotencyRow",
    "LeaseRow",
    "LinkCodeRow",
    "MessageRow",
    "OutboxRow",
    "RedriveRow",
    "ReferenceRow",
    "RunRow",
    "SessionRow",
    "SilenceRow",
    "TokenRow",
]

# The ticker owns its two tables; here they are made and checked with all others.
for _table in METADATA.sorted_tables:
    _table.to_metadata(Base.metadata)
