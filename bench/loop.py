"""The contender that is written by hand: one aiokafka loop, whole batches, an index by receiver, at least once.

`python -m bench.loop KAFKA PREFIX RULE`, until SIGTERM. Anything that fails ends it before it commits.
"""

import asyncio
import signal
import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.index import Index
from notifier.topics import MESSAGES

GROUP = "loop"
ROUND_RECORDS = 5_000
BATCH_BYTES = 900_000  # below the broker's limit, so that a partition has one batch in most rounds


async def route(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, index: Index) -> None:
    """Reads a round, writes all that comes of it, waits for every acknowledgement, commits."""
    while True:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=ROUND_RECORDS)
        if not fetched:
            continue
        outputs: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
        for records in fetched.values():
            for record in records:
                for output, value in index.deliveries(record.value):
                    outputs.setdefault((output.topic, output.partition), []).append((output.key, value))
        sent = []
        for (topic, partition), values in outputs.items():
            batch = producer.create_batch()
            for key, value in values:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    sent.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)
        await consumer.commit({partition: records[-1].offset + 1 for partition, records in fetched.items()})


async def main(kafka: str, prefix: str, rule: str) -> None:
    """The process."""
    index = Index(Path(rule), prefix)
    consumer = AIOKafkaConsumer(
        prefix + MESSAGES.name,
        bootstrap_servers=kafka,
        group_id=prefix + GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=BATCH_BYTES)
    async with consumer, producer:
        # At once, or each topic costs a round trip of its own when it is first written to.
        await producer.client.set_topics(list(index.topics.values()))
        work = asyncio.create_task(route(consumer, producer, index))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        await asyncio.gather(work, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()):
            raise error


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
