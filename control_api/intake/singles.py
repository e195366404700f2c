"""Singles: requests of one record, written without a transaction, which would cost each many times its own time.

Each request learns of its own record: a batch that the broker refuses or does not answer for says nothing about the others.

What was handed over and not acknowledged may be written yet, since the broker may have it already. So who waits for it is told
that the outcome is unknown. The Kafka producer ends then, and with it whatever it had not sent: nothing is written long after.
"""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from control_api.intake.writer import AWAY, STALL_S, UNKNOWN, Entry, Sent, TopicRefused, Writer, extend, look_at
from notifier.errors import BrokerError


class Singles(Writer):
    """Writes each group in one Kafka request to each broker that leads a partition of it."""

    async def _put(self, producer: AIOKafkaProducer, group: list[Entry]) -> None:
        sent: list[Sent] = []
        refused: Exception | None = None
        try:
            async with asyncio.timeout(STALL_S) as limit:
                await self._send(producer, group, sent, limit)
                for one in sent:
                    try:
                        await one.answer
                    except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                        refused = error
                        self._refuse_as_too_large(one.entries, error)
                    else:
                        for entry in one.entries:
                            entry.accept()
                    extend(limit)
        finally:
            look_at(sent)
            for one in sent:
                for entry in one.entries:
                    if entry.taken:  # not given back
                        entry.refuse(BrokerError(UNKNOWN))  # unless it has its answer
            for entry in group:
                if entry.taken:
                    entry.refuse(BrokerError(AWAY))
        if refused is not None:
            raise TopicRefused from refused  # aiokafka loses count of the partition's batches; a new one counts anew
