"""Producers that are silent."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from notifier.utc import Utc

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Goes to this step."""
    op.create_table(
        "silence",
        sa.Column("producer", sa.String(length=63), nullable=False),
        sa.Column("since", Utc(), nullable=False),
        sa.Column("seen", _NUMBER, nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("producer", name=op.f("pk_silence")),
    )


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("silence")
