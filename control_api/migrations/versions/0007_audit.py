"""The audit log is found by who, what and when, and its rows can neither be changed nor deleted."""

from collections.abc import Sequence

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_INDICES = (("name", "kind", "id"), ("kind", "id"), ("actor", "id"), ("action", "id"))
_TEXT = "the audit log is append-only"
_REFUSE = f"BEGIN SELECT RAISE(ABORT, '{_TEXT}'); END"
_SQLITE = (
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit {_REFUSE}",
    f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit {_REFUSE}",
    # INSERT OR REPLACE deletes a row, and no trigger of DELETE is asked.
    "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit"  # noqa: S608 - our own words
    f" WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) {_REFUSE}",
)
_POSTGRESQL = (
    f"CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{_TEXT}'; END $$",
    "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
)


def upgrade() -> None:
    """Goes to this step."""
    op.drop_index("ix_audit_kind_name", "audit")
    for columns in _INDICES:
        op.create_index("ix_audit_" + "_".join(columns), "audit", list(columns))
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Goes back to the step before."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_no_update")
        op.execute("DROP TRIGGER audit_no_delete")
        op.execute("DROP TRIGGER audit_no_replace")
    else:
        op.execute("DROP TRIGGER audit_append_only ON audit")
        op.execute("DROP FUNCTION audit_refuse()")
    for columns in _INDICES:
        op.drop_index("ix_audit_" + "_".join(columns), "audit")
    op.create_index("ix_audit_kind_name", "audit", ["kind", "name"])
