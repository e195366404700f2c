"""Run by Alembic for each command: on the connection that `control_api.migrate` hands over, within its transaction."""

from alembic import context
from sqlalchemy import Connection

from control_api.models import Base


def migrate(connection: Connection) -> None:
    """Runs the steps. `render_as_batch`: SQLite cannot alter most things in place."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run `control_api.migrate.upgrade`, or give Alembic a connection with `migration_config`")
migrate(connection)
