"""Transactions: writes requests of several records. A reader of committed records sees a request whole or not at all.

The records of one request are written in one Kafka transaction, together with those of requests at the same moment. When the
broker does not answer, nothing of the request appears later: a commit is only asked for once all records are acknowledged, and a
transaction that was given up is never committed. The next transaction under the same name aborts it, or the broker's own time
limit does.

One gap cannot be closed from here: the broker may die between committing and saying so. Even then it is all or nothing.

Tried and worse: a plain idempotent Kafka producer. Of an array that was answered with 503 perhaps one half would be written.
"""

import asyncio
import logging
import secrets

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from control_api.intake.writer import AWAY, STALL_S, UNKNOWN, Entry, Sent, TopicRefused, Writer, extend, look_at
from notifier.errors import BrokerError
from notifier.settings import Settings

logger = logging.getLogger(__name__)

_TRANSACTION_MS = 15_000  # then the broker aborts what a dead process left open; until then it holds up the readers


class Transactions(Writer):
    """Writes each group in a Kafka transaction."""

    def __init__(self, settings: Settings, instance: str | None = None) -> None:
        """`instance`: a name unique in this installation that stays the same after a restart (host and port), if there is one.

        With it, a restarted process aborts at once the transaction that its predecessor left open.
        """
        super().__init__(settings, transaction_timeout_ms=_TRANSACTION_MS)
        self._take_name(instance or secrets.token_hex(8))

    def _take_name(self, name: str) -> None:
        self._options["transactional_id"] = f"{self._settings.topic_prefix}api-{name}"

    def _rename(self) -> None:
        # Another process has this name, or this one slept past the transaction's limit; a new name ends either.
        self._take_name(secrets.token_hex(8))
        logger.warning(
            "Another Kafka producer took over; going on under a new name.", extra={"action": "rename_producer"}
        )

    async def _put(self, producer: AIOKafkaProducer, group: list[Entry]) -> None:
        failure: BrokerError | None = BrokerError(AWAY)
        sent: list[Sent] = []
        try:
            async with asyncio.timeout(STALL_S) as limit:
                await producer.begin_transaction()
                await self._send(producer, group, sent, limit)
                for one in sent:
                    await one.answer
                    extend(limit)
            failure = BrokerError(UNKNOWN)  # from here on, until the broker has answered
            async with asyncio.timeout(STALL_S):
                await producer.commit_transaction()
            failure = None
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            self._refuse_as_too_large(group, error)  # nothing was committed
            raise TopicRefused from error  # aiokafka loses count of the partition's batches; a new one counts anew
        except IllegalOperation as error:
            raise KafkaError(str(error)) from error
        finally:
            look_at(sent)
            for entry in group:
                if not entry.taken:  # given back
                    continue
                if failure is not None:
                    entry.refuse(failure)
                else:
                    entry.accept()
