"""The pipeline as one table: every topic, who writes it, what is on it, how long it is kept.

    producers ─► messages ─► router ─► deliveries.<consumer> ─► delivery ─► people
                                           ▲                     │
    ticks ─► runner ─► messages          parked ◄────────────────┤
                                                                 ▼
    definitions ─► router, runner, delivery         attempts, dead_letters, answers, status

The process that first needs a topic creates it from this table (`notifier.kafka.ensure_topics`).
"""

from dataclasses import dataclass

LARGE_BYTES = 4 * 1024 * 1024
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One row of the table. `retention_ms` None: no time limit."""

    name: str  # without the prefix
    key: str  # decides the partition
    value: str  # name of the record's class
    partitions: int
    retention_ms: int | None
    compacted: bool = False
    max_message_bytes: int = 1_048_588  # the broker's own default

    def config(self) -> dict[str, str]:
        """The topic's configuration as Kafka spells it."""
        policy = "compact" if self.compacted else "delete"
        if self.compacted and self.retention_ms is not None:
            policy = "compact,delete"
        retention = -1 if self.retention_ms is None else self.retention_ms
        return {
            "cleanup.policy": policy,
            "retention.ms": str(retention),
            "max.message.bytes": str(self.max_message_bytes),
        }


MESSAGES = Topic(
    name="messages",
    key="receiver (or none)",
    value="Message",
    partitions=12,
    retention_ms=7 * DAY_MS,
    # More than we accept, so that a message that is too large becomes a dead letter and not an error in its client alone.
    max_message_bytes=LARGE_BYTES,
)
TICKS = Topic(name="ticks", key="configuration", value="Tick", partitions=12, retention_ms=7 * DAY_MS)
RUNS = Topic(
    name="runs",
    key="<configuration>/<scheduled_at>",
    value="Run",
    partitions=12,
    retention_ms=30 * DAY_MS,
    compacted=True,
)
CURSORS = Topic(
    name="cursors", key="<configuration>/<producer>", value="Cursor", partitions=12, retention_ms=None, compacted=True
)
DEFINITIONS = Topic(
    name="definitions", key="<kind>/<name>", value="Definition", partitions=1, retention_ms=None, compacted=True
)
PARKED = Topic(name="parked", key="delivery id", value="Delivery", partitions=12, retention_ms=None, compacted=True)
ATTEMPTS = Topic(name="attempts", key="delivery id", value="Attempt", partitions=12, retention_ms=7 * DAY_MS)
DEAD_LETTERS = Topic(
    name="dead_letters",
    key="delivery or message id",
    value="DeadLetter",
    partitions=12,
    retention_ms=30 * DAY_MS,
    max_message_bytes=LARGE_BYTES,  # the original record is within it, escaped or in base64
)
ANSWERS = Topic(name="answers", key="delivery id", value="Answer", partitions=12, retention_ms=30 * DAY_MS)
STATUS = Topic(name="status", key="<kind>/<name>", value="Status", partitions=1, retention_ms=None, compacted=True)

TOPICS: tuple[Topic, ...] = (
    MESSAGES,
    TICKS,
    RUNS,
    CURSORS,
    DEFINITIONS,
    PARKED,
    ATTEMPTS,
    DEAD_LETTERS,
    ANSWERS,
    STATUS,
)


def is_own(topic: str, prefix: str) -> bool:
    """Whether a topic is one of the installation whose topics begin with the prefix, by its name alone."""
    if prefix:
        return topic.startswith(prefix)
    return topic.startswith(DELIVERIES) or any(topic == own.name for own in TOPICS)


DELIVERIES = "deliveries."  # followed by the consumer's name


def deliveries(consumer: str, partitions: int = 1) -> Topic:
    """The topic of a consumer's deliveries; `partitions` is a parameter of the consumer."""
    return Topic(
        name=DELIVERIES + consumer, key="lane", value="Delivery", partitions=partitions, retention_ms=7 * DAY_MS
    )
