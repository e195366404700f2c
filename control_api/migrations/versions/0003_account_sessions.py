"""Sessions of accounts in browsers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Types as they were at this step; `control_api.models` may change.
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Goes to this step."""
    op.create_table(
        "account_session",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=150), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["account.name"], name=op.f("fk_account_session_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_account_session")),
    )
    op.create_index("ix_account_session_account", "account_session", ["account"], unique=False)
    op.create_index("ix_account_session_created_at", "account_session", ["created_at"], unique=False)


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("account_session")
