"""Teams of definitions, tokens and accounts."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_TABLES = ("definition", "token", "account")


def upgrade() -> None:
    """Goes to this step."""
    for table in _TABLES:
        op.add_column(table, sa.Column("team", sa.String(length=63), nullable=True))


def downgrade() -> None:
    """Goes back to the step before."""
    for table in _TABLES:
        op.drop_column(table, "team")
