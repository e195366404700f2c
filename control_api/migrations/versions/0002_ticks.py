"""The ticker's tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Types as they were at this step; `notifier.tick_claims` may change.
TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Goes to this step."""
    op.create_table(
        "tick_cursor",
        sa.Column("configuration", sa.String(length=63), nullable=False),
        sa.Column("revision", NUMBER, nullable=False),
        sa.Column("cron", sa.String(length=500), nullable=False),
        sa.Column("timezone", sa.String(length=100), nullable=False),
        sa.Column("last_due_at", TIME, nullable=True),
        sa.Column("next_due_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("configuration", name=op.f("pk_tick_cursor")),
    )
    op.create_index("ix_tick_cursor_next_due_at", "tick_cursor", ["next_due_at"], unique=False)
    op.create_table(
        "tick",
        sa.Column("configuration", sa.String(length=63), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("tick_id", sa.String(length=36), nullable=False),
        sa.Column("trigger", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("claimed_at", TIME, nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("configuration", "due_at", name=op.f("pk_tick")),
    )
    op.create_index("ix_tick_sent_at_claimed_at", "tick", ["sent_at", "claimed_at"], unique=False)


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("tick")
    op.drop_table("tick_cursor")
