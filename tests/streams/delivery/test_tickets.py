"""Tickets, on a real broker."""

from notifier.kafka import kafka_producer
from notifier.settings import Settings
from streams.delivery.tickets import delivery_of, ticket_of
from tests.rigs.delivery_rig import make
from tests.rigs.kafka_tools import create_topic


async def test_a_ticket_leads_to_its_delivery_and_a_forged_one_nowhere(settings: Settings) -> None:
    await create_topic(settings, "deliveries.direct")
    made = make("build failed", consumer="direct", lane="1", number=1)
    async with (
        kafka_producer(settings, transactional_id=f"{settings.topic_prefix}test") as producer,
        producer.transaction(),
    ):
        sent = await producer.send_and_wait(f"{settings.topic_prefix}deliveries.direct", made.encode(), partition=0)
    found = await delivery_of(settings, ticket_of("direct", 0, sent.offset), ["other", "direct"])
    assert found is not None
    assert found.id == made.id
    # What follows is the end of the transaction, a record that nobody is given; then there is nothing.
    for partition, offset in ((0, sent.offset + 1), (0, sent.offset + 2), (9, 0), (0, 2**63)):
        assert await delivery_of(settings, ticket_of("direct", partition, offset), ["direct"]) is None
    assert await delivery_of(settings, ticket_of("direct", 0, sent.offset), ["other"]) is None
