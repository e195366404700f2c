"""Tokens that are bound to one producer."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Goes to this step."""
    op.add_column("token", sa.Column("producer", sa.String(length=63), nullable=True))


def downgrade() -> None:
    """Goes back to the step before. Tokens bound to one producer are revoked: they could push for every one from then on."""
    op.execute("UPDATE token SET revoked_at = created_at WHERE producer IS NOT NULL AND revoked_at IS NULL")
    op.drop_column("token", "producer")
