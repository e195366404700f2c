"""Entry: a row of the audit log for what is no definition: accounts, sign-ins, tokens, runs.

Definitions have theirs from `control_api.definitions.changes`. Every row is written in the transaction that does what it says.
"""

from control_api.models import AuditRow
from notifier.record import JsonObject, now


def entry(
    actor: str, action: str, kind: str, name: str, *, before: JsonObject | None = None, after: JsonObject | None = None
) -> AuditRow:
    """A row of this moment. Neither `before` nor `after` may hold a secret."""
    return AuditRow(at=now(), actor=actor, action=action, kind=kind, name=name, before=before, after=after)
