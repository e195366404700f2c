"""The ticker's two tables: the cursor of each configuration, and the due times that are claimed.

`streams.ticker.claims` reads and writes them; `control_api.migrations` creates them. They stand here because those two layers
do not know each other.

    tick_cursor  one row per configuration with a schedule: its first unclaimed due time, indexed
    tick         one row per claimed due time, unique; sent once `ticks` has acknowledged it
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table

from notifier.utc import Utc

METADATA = MetaData()

TICK_CURSOR = Table(
    "tick_cursor",
    METADATA,
    Column("configuration", String(63), primary_key=True),
    # The configuration's version; a ticker that knows only an older one leaves the row alone.
    Column("revision", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
    Column("cron", String(500), nullable=False),  # as that version has it
    Column("timezone", String(100), nullable=False),
    Column("last_due_at", Utc(), nullable=True),  # the last due time that was claimed or passed over; null: none yet
    Column("next_due_at", Utc(), nullable=False),  # the first due time that was neither
    Index("ix_tick_cursor_next_due_at", "next_due_at"),
)

TICK = Table(
    "tick",
    METADATA,
    Column("configuration", String(63), primary_key=True),
    Column("due_at", Utc(), primary_key=True),
    Column("tick_id", String(36), nullable=False),  # the same from every ticker
    Column("trigger", String(20), nullable=False),
    Column("owner", String(100), nullable=False),  # the ticker that publishes it
    Column("claimed_at", Utc(), nullable=False),  # by that owner
    Column("sent_at", Utc(), nullable=True),  # when Kafka had acknowledged it
    Index("ix_tick_sent_at_claimed_at", "sent_at", "claimed_at"),
)
