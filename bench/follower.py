"""Follows the consumers' topics in a process of its own and notes when it saw each delivery.

`python -m bench.follower KAFKA FILE TOPIC:PARTITIONS…`: writes `ready`, then of each record, in the order of arrival,
`<message id> <nanoseconds of the clock>`.
"""

import asyncio
import signal
import sys
import time

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition


class _Delivery(msgspec.Struct):
    message_id: str


async def follow(consumer: AIOKafkaConsumer, file: str) -> None:
    """Notes until it is cancelled."""
    decode = msgspec.json.Decoder(_Delivery).decode
    with open(file, "w") as out:  # noqa: PTH123 - a name
        print("ready", file=out, flush=True)
        while True:
            fetched = await consumer.getmany(timeout_ms=1000)
            at = time.time_ns()
            for records in fetched.values():
                for record in records:
                    print(decode(record.value).message_id, at, file=out)
            out.flush()


async def main(kafka: str, file: str, *topics: str) -> None:
    """The process."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    partitions = []
    for topic in topics:
        name, _, count = topic.rpartition(":")
        partitions += [TopicPartition(name, number) for number in range(int(count))]
    async with consumer:
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)
        work = asyncio.create_task(follow(consumer, file))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
        await asyncio.gather(work, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
