"""The audit log is found by revision, so that definitions can be read as they were; messages are found by producer and id."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Goes to this step."""
    op.create_index("ix_audit_revision", "audit", ["revision"])
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "message",
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", number, nullable=False),
        sa.Column("digest", number, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("generation", "partition", "offset", name="pk_message"),
    )
    op.create_index("ix_message_digest", "message", ["digest"])
    op.create_index("ix_message_at", "message", ["at"])


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("message")
    op.drop_index("ix_audit_revision", table_name="audit")
