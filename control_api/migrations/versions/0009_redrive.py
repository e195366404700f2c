"""Redrives; and the configuration that a dead letter of a filter or of a run concerns."""

from collections.abc import Sequence
from urllib.parse import unquote

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Types as they were at this step; `control_api.models` may change.
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT_ONCE = 5000


def upgrade() -> None:
    """Goes to this step."""
    op.create_table(
        "redrive",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("team", sa.String(length=63), nullable=True),
        sa.Column("criteria", JSON, nullable=False),
        sa.Column("per_second", sa.Integer(), nullable=False),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.Column("last", NUMBER, nullable=False),
        sa.Column("reached", NUMBER, nullable=False),
        sa.Column("report", JSON, nullable=False),
        sa.Column("batch", JSON, nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redrive")),
    )
    op.create_index("ix_redrive_state", "redrive", ["state"], unique=False)
    op.create_index("ix_redrive_created_at", "redrive", ["created_at"], unique=False)
    _name_configurations()


def _name_configurations() -> None:
    """Letters of a filter have `<producer>/<message id>/<configuration>` as their id, those of a run begin with it."""
    columns = (sa.column(name, sa.Text()) for name in ("letter", "stage", "reason", "configuration", "delivery"))
    letter = sa.table("dead_letter", sa.column("id", NUMBER), *columns)
    of_filter = sa.and_(letter.c.stage == "route", letter.c.reason.in_(("filter_failed", "filter_unusable")))
    query = sa.select(letter.c.id, letter.c.letter, letter.c.stage).order_by(letter.c.id).limit(_AT_ONCE)
    query = query.where(letter.c.configuration.is_(None), letter.c.delivery.is_(None))
    query = query.where(sa.or_(of_filter, letter.c.stage == "run"))
    change = sa.update(letter).where(letter.c.id == sa.bindparam("row")).values(configuration=sa.bindparam("name"))
    connection, after = op.get_bind(), 0
    while found := connection.execute(query.where(letter.c.id > after)).all():
        after = found[-1].id
        names: list[dict[str, object]] = []  # written together: one by one a million takes a quarter of an hour
        for row in found:
            parts = row.letter.split("/")
            if row.stage == "route" and len(parts) == 3:
                name = unquote(parts[2])
            elif row.stage == "run" and (len(parts) == 2 or len(parts) > 3):
                name = parts[0]
            else:
                continue
            names.append({"row": row.id, "name": name.replace("\0", "\u2400")})
        if names:
            connection.execute(change, names)


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("redrive")
