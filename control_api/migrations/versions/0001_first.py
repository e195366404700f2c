"""The first tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Types as they were at this step; `control_api.models` may change.
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Goes to this step."""
    op.create_table(
        "account",
        sa.Column("name", sa.String(length=150), nullable=False),
        sa.Column("password_hash", sa.String(length=300), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    op.create_table(
        "attempt",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", NUMBER, nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("producer", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=True),
        sa.Column("configuration_version", NUMBER, nullable=True),
        sa.Column("consumer", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("origin", JSON, nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=False),
        sa.Column("not_before", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("generation", "partition", "offset", name=op.f("uq_attempt_generation_partition_offset")),
    )
    op.create_index("ix_attempt_configuration", "attempt", ["configuration", "id"], unique=False)
    op.create_index("ix_attempt_consumer", "attempt", ["consumer", "id"], unique=False)
    op.create_index("ix_attempt_delivery", "attempt", ["delivery"], unique=False, postgresql_using="hash")
    op.create_index("ix_attempt_ended_at", "attempt", ["ended_at"], unique=False)
    op.create_index("ix_attempt_message", "attempt", ["message"], unique=False, postgresql_using="hash")
    op.create_index("ix_attempt_outcome", "attempt", ["outcome", "id"], unique=False)
    op.create_index("ix_attempt_reason", "attempt", ["reason", "id"], unique=False)
    op.create_index("ix_attempt_recipient", "attempt", ["recipient"], unique=False, postgresql_using="hash")
    op.create_table(
        "audit",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=150), nullable=False),
        sa.Column("revision", NUMBER, nullable=True),
        sa.Column("before", JSON, nullable=True),
        sa.Column("after", JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)
    op.create_index("ix_audit_kind_name", "audit", ["kind", "name"], unique=False)
    op.create_table(
        "change",
        sa.Column("revision", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("published_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_change")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", NUMBER, nullable=False),
        sa.Column("letter", sa.Text(), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("origin_partition", sa.Integer(), nullable=True),
        sa.Column("origin_offset", NUMBER, nullable=True),
        sa.Column("timestamp", TIME, nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("value_base64", sa.Text(), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=True),
        sa.Column("producer", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("configuration", sa.Text(), nullable=True),
        sa.Column("consumer", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("redriven_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letter")),
        sa.UniqueConstraint(
            "generation", "partition", "offset", name=op.f("uq_dead_letter_generation_partition_offset")
        ),
    )
    op.create_index("ix_dead_letter_at", "dead_letter", ["at"], unique=False)
    op.create_index("ix_dead_letter_configuration", "dead_letter", ["configuration", "id"], unique=False)
    op.create_index("ix_dead_letter_consumer", "dead_letter", ["consumer", "id"], unique=False)
    op.create_index("ix_dead_letter_delivery", "dead_letter", ["delivery"], unique=False, postgresql_using="hash")
    op.create_index("ix_dead_letter_letter", "dead_letter", ["letter"], unique=False, postgresql_using="hash")
    op.create_index("ix_dead_letter_message", "dead_letter", ["message"], unique=False, postgresql_using="hash")
    op.create_index("ix_dead_letter_reason", "dead_letter", ["reason", "id"], unique=False)
    op.create_table(
        "history_offset",
        sa.Column("topic", sa.String(length=250), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("offset", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_history_offset")),
    )
    op.create_table(
        "idempotency",
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", JSON, nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("actor", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_at", "idempotency", ["at"], unique=False)
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "run",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("scheduled_at", TIME, nullable=False),
        sa.Column("trigger", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("producers", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("configuration", "scheduled_at", name=op.f("uq_run_configuration_scheduled_at")),
    )
    op.create_index("ix_run_scheduled_at", "run", ["scheduled_at"], unique=False)
    op.create_index("ix_run_state", "run", ["state", "id"], unique=False)
    op.create_table(
        "token",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
    )
    op.create_table(
        "definition",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=150), nullable=False),
        sa.Column("name_key", sa.String(length=450), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=True),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=True),
        sa.Column("revision", NUMBER, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["revision"], ["change.revision"], name=op.f("fk_definition_revision")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_definition")),
        sa.UniqueConstraint("kind", "name_key", name=op.f("uq_definition_kind_name_key")),
    )
    op.create_index("ix_definition_revision", "definition", ["revision"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("revision", NUMBER, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("topic", sa.String(length=100), nullable=True),
        sa.Column("partitions", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["revision"], ["change.revision"], name=op.f("fk_outbox_revision")),
        sa.PrimaryKeyConstraint("revision", "position", name=op.f("pk_outbox")),
    )
    op.create_table(
        "reference",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=150), nullable=False),
        sa.Column("to_kind", sa.String(length=20), nullable=False),
        sa.Column("to_name", sa.String(length=150), nullable=False),
        sa.ForeignKeyConstraint(
            ["kind", "name"],
            ["definition.kind", "definition.name"],
            name=op.f("fk_reference_kind_name"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["to_kind", "to_name"], ["definition.kind", "definition.name"], name=op.f("fk_reference_to_kind_to_name")
        ),
        sa.PrimaryKeyConstraint("kind", "name", "to_kind", "to_name", name=op.f("pk_reference")),
    )
    op.create_index("ix_reference_to_kind_to_name", "reference", ["to_kind", "to_name"], unique=False)


def downgrade() -> None:
    """Goes back to an empty database."""
    op.drop_index("ix_reference_to_kind_to_name", table_name="reference")
    op.drop_table("reference")
    op.drop_table("outbox")
    op.drop_index("ix_definition_revision", table_name="definition")
    op.drop_table("definition")
    op.drop_table("token")
    op.drop_index("ix_run_state", table_name="run")
    op.drop_index("ix_run_scheduled_at", table_name="run")
    op.drop_table("run")
    op.drop_table("lease")
    op.drop_index("ix_idempotency_at", table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_table("history_offset")
    op.drop_index("ix_dead_letter_reason", table_name="dead_letter")
    op.drop_index("ix_dead_letter_message", table_name="dead_letter", postgresql_using="hash")
    op.drop_index("ix_dead_letter_letter", table_name="dead_letter", postgresql_using="hash")
    op.drop_index("ix_dead_letter_delivery", table_name="dead_letter", postgresql_using="hash")
    op.drop_index("ix_dead_letter_consumer", table_name="dead_letter")
    op.drop_index("ix_dead_letter_configuration", table_name="dead_letter")
    op.drop_index("ix_dead_letter_at", table_name="dead_letter")
    op.drop_table("dead_letter")
    op.drop_table("change")
    op.drop_index("ix_audit_kind_name", table_name="audit")
    op.drop_index("ix_audit_at", table_name="audit")
    op.drop_table("audit")
    op.drop_index("ix_attempt_recipient", table_name="attempt", postgresql_using="hash")
    op.drop_index("ix_attempt_reason", table_name="attempt")
    op.drop_index("ix_attempt_outcome", table_name="attempt")
    op.drop_index("ix_attempt_message", table_name="attempt", postgresql_using="hash")
    op.drop_index("ix_attempt_ended_at", table_name="attempt")
    op.drop_index("ix_attempt_delivery", table_name="attempt", postgresql_using="hash")
    op.drop_index("ix_attempt_consumer", table_name="attempt")
    op.drop_index("ix_attempt_configuration", table_name="attempt")
    op.drop_table("attempt")
    op.drop_table("account")
