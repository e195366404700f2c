"""Connection: the batch producer in use. It is made when the first record is sent, and again after a fatal error."""

import asyncio

from notifier.settings import Settings
from streams.outputs.batch_producer import BatchProducer
from streams.outputs.outlet import Outlets


class Connection:
    """Has one batch producer at a time."""

    def __init__(self, settings: Settings, outlets: Outlets) -> None:
        self._settings = settings
        self._outlets = outlets
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self.producer: BatchProducer | None = None  # started

    async def ready(self) -> BatchProducer:
        """The batch producer in use, or a new one. Raises KafkaError and BrokerError."""
        async with self._starting:
            if self.producer is None:
                producer = BatchProducer(self._settings)
                try:
                    await producer.start()
                    if topics := [self._settings.topic_prefix + outlet.topic for outlet in self._outlets.all()]:
                        await producer.client.set_topics(topics)
                except BaseException:
                    await producer.stop()
                    raise
                self.producer = producer
            return self.producer

    def replace(self, producer: BatchProducer) -> None:
        """Stops a batch producer in the background, if it is the one in use; the next call of `ready` makes another."""
        if self.producer is producer:
            self.producer = None
            task = asyncio.create_task(producer.stop(), name="close batch producer")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Stops the batch producer, and waits for those that were replaced."""
        if self.producer is not None:
            self.replace(self.producer)
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
