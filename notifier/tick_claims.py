"""The ticker's two tables: what is due next of each configuration, and which due times are claimed.

`streams.ticker.claims` reads and writes them; `control_api.migrations` makes them, with all others. They stand here because those
two layers do not know each other.

    tick_cursor  one row a configuration with a schedule: the due time that nobody has claimed yet, indexed
    tick         one row a due time that was claimed, unique; sent once `ticks` has acknowledged it
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table

from notifier.utc import Utc

METADATA = MetaData()

TICK_CURSOR = Table(
    "tick_cursor",
    METADATA,
    Column("configuration", String(63), primary_key=True),
    # The version of the configuration that the row is of; a ticker that knows only an older one leaves the row alone.
    Column("revision", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
    Column("cron", String(500), nullable=False),  # as that version has it
    Column("timezone", String(100), nullable=False),
    Column("last_due_at", Utc(), nullable=True),  # the last due time that was claimed or passed over; none yet: null
    Column("next_due_at", Utc(), nullable=False),  # the first due time that was not
    Index("ix_tick_cursor_next_due_at", "next_due_at"),
)

TICK = Table(
    "tick",
    METADATA,
    Column("configuration", String(63), primary_key=True),
    Column("due_at", Utc(), primary_key=True),
    Column("tick_id", String(36), nullable=False),  # the same whoever computes it
    Column("trigger", String(20), nullable=False),
    Column("owner", String(100), nullable=False),  # the ticker that publishes it
    Column("claimed_at", Utc(), nullable=False),  # by that owner
    Column("sent_at", Utc(), nullable=True),  # when Kafka had acknowledged it
    Index("ix_tick_sent_at_claimed_at", "sent_at", "claimed_at"),
)
