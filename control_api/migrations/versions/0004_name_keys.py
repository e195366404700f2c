"""Names of users are compared in one form of Unicode (`notifier.folded`); their keys are made anew.

Two users whose names are the same in it both stay: one keeps the key, the other is found by its exact name only.
"""

import logging
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from notifier.folded import folded

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

logger = logging.getLogger(__name__)


def upgrade() -> None:
    """Goes to this step."""
    table = sa.table("definition", sa.column("kind"), sa.column("name"), sa.column("name_key"), sa.column("created_at"))
    connection = op.get_bind()
    query = sa.select(table.c.name, table.c.name_key).where(table.c.kind == "user").order_by(table.c.created_at)
    users = connection.execute(query).all()
    owners = {key: name for name, key in users}  # a key is unique at every moment: who has it keeps it
    for name, key in users:
        owner = owners.setdefault(folded(name), name)
        if owner != name:
            logger.warning(
                "The users %r and %r have names that are the same to people, so messages for them are ambiguous;"
                " give one of them another name.",
                owner,
                name,
                extra={"action": "migrate"},
            )
        elif key != folded(name):
            del owners[key]
            statement = sa.update(table).where(table.c.kind == "user", table.c.name == name)
            connection.execute(statement.values(name_key=folded(name)))


def downgrade() -> None:
    """Goes back to the step before, which reads these keys too."""
