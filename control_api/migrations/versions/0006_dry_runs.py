"""Dry runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Types as they were at this step; `control_api.models` may change.
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Goes to this step."""
    op.create_table(
        "dry_run",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("configuration", sa.String(length=150), nullable=False),
        sa.Column("draft", JSON, nullable=True),
        sa.Column("since", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("report", JSON, nullable=False),
        sa.Column("samples", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("alive_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dry_run")),
    )
    op.create_index("ix_dry_run_state", "dry_run", ["state"], unique=False)
    op.create_index("ix_dry_run_created_at", "dry_run", ["created_at"], unique=False)


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("dry_run")
