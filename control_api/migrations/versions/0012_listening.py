"""Codes that link users to chats, and what people pressed there."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from notifier.utc import Utc

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Goes to this step."""
    op.create_table(
        "link_code",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("username", sa.String(length=150), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("expires_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_link_code")),
    )
    op.create_table(
        "answer",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", _NUMBER, nullable=False),
        sa.Column("press", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("producer", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("button", sa.String(length=20), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("called", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("until", Utc(), nullable=True),
        sa.Column("at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer")),
        sa.UniqueConstraint("generation", "partition", "offset", name=op.f("uq_answer_generation_partition_offset")),
        sa.UniqueConstraint("press", name=op.f("uq_answer_press")),
    )
    op.create_index("ix_answer_message", "answer", ["message"], postgresql_using="hash")
    op.create_index("ix_answer_delivery", "answer", ["delivery"], postgresql_using="hash")
    op.create_index("ix_answer_configuration", "answer", ["configuration", "id"])
    op.create_index("ix_answer_user", "answer", ["user", "id"])
    op.create_index("ix_answer_at", "answer", ["at"])
    op.create_index("ix_link_code_expires_at", "link_code", ["expires_at"])


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("answer")
    op.drop_index("ix_link_code_expires_at", table_name="link_code")
    op.drop_table("link_code")
