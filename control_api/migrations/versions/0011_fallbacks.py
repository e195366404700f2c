"""Attempts at a fallback name the delivery in whose place they are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Goes to this step."""
    op.add_column("attempt", sa.Column("fallback_of", sa.Text(), nullable=True))


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_column("attempt", "fallback_of")
