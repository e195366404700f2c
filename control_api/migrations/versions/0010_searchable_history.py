"""Messages are kept with their text and found by its words; attempts are found beside them; counts are kept by the minute.

Rows that are there stay, without what was not kept of them. They are copied, which takes some ten seconds a million messages.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_PLACE = ("generation", "partition", "offset", "digest", "at")
_COLUMNS = ", ".join(f'"{name}"' for name in _PLACE)
_TEXTS = ("producer", "message", "sender", "receiver", "title", "content", "url")

# FTS5 keeps the words alone (`words` has the text that it was given), and looks up beginnings of three letters.
_SQLITE_SEARCH = (
    "CREATE VIRTUAL TABLE message_search USING fts5("
    "words, content='message', content_rowid='id', tokenize='ascii', detail=none, columnsize=0, prefix='3')",
    "CREATE TRIGGER message_search_add AFTER INSERT ON message WHEN NEW.words <> ''"
    " BEGIN INSERT INTO message_search (rowid, words) VALUES (NEW.id, NEW.words); END",
    "CREATE TRIGGER message_search_delete AFTER DELETE ON message WHEN OLD.words <> ''"
    " BEGIN INSERT INTO message_search (message_search, rowid, words) VALUES ('delete', OLD.id, OLD.words); END",
)
_POSTGRESQL_SEARCH = (
    "CREATE INDEX ix_message_words ON message USING gin (array_to_tsvector(string_to_array(words, ' ')))"
)


def upgrade() -> None:
    """Goes to this step."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    _make_messages()
    if not sqlite:
        op.execute(_POSTGRESQL_SEARCH)
    elif _has_fts5():
        for statement in _SQLITE_SEARCH:
            op.execute(statement)
    op.add_column("attempt", sa.Column("digest", _NUMBER, nullable=True))
    op.create_index("ix_attempt_digest", "attempt", ["digest"])
    op.create_index("ix_attempt_producer", "attempt", ["producer", "id"])
    op.drop_index("ix_attempt_recipient", "attempt")
    op.create_index("ix_attempt_recipient", "attempt", ["recipient", "id"])
    op.drop_index("ix_attempt_ended_at", "attempt")
    op.create_index("ix_attempt_ended_at", "attempt", ["ended_at", "id"])
    op.create_table(
        "counter",
        sa.Column("id", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("minute", _NUMBER, nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("count", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_counter"),
        sa.UniqueConstraint(
            "minute", "configuration", "outcome", "reason", name="uq_counter_minute_configuration_outcome_reason"
        ),
    )
    op.create_index("ix_counter_configuration", "counter", ["configuration", "minute"])


def downgrade() -> None:
    """Goes back to the step before."""
    op.drop_table("counter")
    op.drop_index("ix_attempt_ended_at", "attempt")
    op.create_index("ix_attempt_ended_at", "attempt", ["ended_at"])
    op.drop_index("ix_attempt_recipient", "attempt")
    op.create_index("ix_attempt_recipient", "attempt", ["recipient"], postgresql_using="hash")
    op.drop_index("ix_attempt_producer", "attempt")
    op.drop_index("ix_attempt_digest", "attempt")
    op.drop_column("attempt", "digest")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER IF EXISTS message_search_add")
        op.execute("DROP TRIGGER IF EXISTS message_search_delete")
        op.execute("DROP TABLE IF EXISTS message_search")
    op.execute("ALTER TABLE message RENAME TO message_with_text")
    _drop_indices()
    op.create_table(
        "message",
        *_place_columns(),
        sa.PrimaryKeyConstraint("generation", "partition", "offset", name="pk_message"),
    )
    _copy("message_with_text")
    op.create_index("ix_message_at", "message", ["at"])


def _make_messages() -> None:
    op.execute("ALTER TABLE message RENAME TO message_place")
    _drop_indices()
    op.create_table(
        "message",
        sa.Column("id", _NUMBER, nullable=False, autoincrement=True),
        *_place_columns(),
        *(sa.Column(name, sa.Text(), nullable=True) for name in _TEXTS),
        sa.Column("severity", sa.String(length=20), nullable=True),
        sa.Column("labels", _JSON, nullable=True),
        sa.Column("cut", sa.Boolean(), nullable=True),
        sa.Column("words", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
        sa.UniqueConstraint("generation", "partition", "offset", name="uq_message_generation_partition_offset"),
    )
    _copy("message_place")
    op.create_index("ix_message_at", "message", ["at", "id"])
    op.create_index("ix_message_producer", "message", ["producer", "id"])
    op.create_index("ix_message_message", "message", ["message", "id"])


def _place_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", _NUMBER, nullable=False),
        sa.Column("digest", _NUMBER, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    ]


def _drop_indices() -> None:
    for name in ("digest", "at"):
        op.drop_index(f"ix_message_{name}")
    if op.get_bind().dialect.name != "sqlite":  # whose names are the schema's, and stay with a table that is renamed
        op.execute("ALTER INDEX pk_message RENAME TO pk_message_before")


def _copy(former: str) -> None:
    op.execute(
        f'INSERT INTO message ({_COLUMNS}) SELECT {_COLUMNS} FROM {former} ORDER BY "at", "offset"'  # noqa: S608 - our own words
    )
    op.drop_table(former)
    op.create_index("ix_message_digest", "message", ["digest"])


def _has_fts5() -> bool:
    found = op.get_bind().execute(sa.text("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"))
    return found.scalar() is not None
