"""The dead letters of a run: ticks that cannot be read, the tick of a run that was refused, items that are no messages."""

import logging
from collections.abc import Iterable

import msgspec
from aiokafka import ConsumerRecord

from notifier.dead_letter import DeadLetter, kept_value
from notifier.errors import RecordError, UnknownName
from notifier.record import kafka_time, now
from notifier.run import Run
from notifier.seldom import Seldom
from notifier.settings import Settings
from notifier.tick import Tick
from notifier.topics import DEAD_LETTERS, MESSAGES, TICKS
from streams.runner.produced import Produced
from streams.writer import Writer

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

_ERROR_CHARACTERS = 1000


class DeadLetters:
    """Writes dead letters of stage `run`. Each method returns when Kafka has them; repeats have the same ids."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._prefix = settings.topic_prefix
        self._writer = writer

    async def bury_tick(self, record: ConsumerRecord, error: RecordError | UnknownName) -> None:
        """A record of `ticks` that is no tick."""
        letter = DeadLetter.of_record(
            record,
            stage="run",
            reason=error.reason if isinstance(error, RecordError) else "unknown_configuration",
            error=str(error)[:_ERROR_CHARACTERS],
        )
        await self._bury(letter)

    async def bury_run(self, id_: str, run: Run, origin: ConsumerRecord | None, error: str) -> None:
        """The tick of a run whose configuration is unknown, under the run's id.

        `origin` is the tick's record; only the runner that read the tick has it.
        """
        tick = Tick(configuration=run.configuration, scheduled_at=run.scheduled_at, trigger=run.trigger)
        letter = DeadLetter(
            id=id_,
            stage="run",
            reason="unknown_configuration",
            error=error,
            topic=self._prefix + TICKS.name,
            at=now(),
            partition=None if origin is None else origin.partition,
            offset=None if origin is None else origin.offset,
            timestamp=None if origin is None else kafka_time(origin.timestamp),
            key=run.configuration,
            value=tick.encode().decode(),
        )
        await self._bury(letter)

    async def bury_items(self, producer: str, items: Iterable[Produced]) -> None:
        """The items of a run that are no messages, with the id, key and topic that each would have had as one."""
        await self._bury(*[self._letter(producer, item) for item in items if item.error is not None])

    async def bury_followed(self, producer: str, items: Iterable[Produced]) -> None:
        """The items that came by themselves and are no messages, with `<producer>/<id>` as the id of each."""
        letters = []
        for item in items:
            if item.error is not None:
                letter = self._letter(producer, item)
                letters.append(
                    msgspec.structs.replace(letter, id=f"{producer}/{item.id}", producer=producer, message=item.id)
                )
        await self._bury(*letters)

    def _letter(self, producer: str, item: Produced) -> DeadLetter:
        text, encoded = kept_value(item.value)
        return DeadLetter(
            id=item.id,
            stage="run",
            reason=item.reason,
            error=f"producer {producer}: {item.error}"[:_ERROR_CHARACTERS],
            topic=self._prefix + MESSAGES.name,
            at=now(),
            key=item.key,
            value=text,
            value_base64=encoded,
        )

    async def _bury(self, *letters: DeadLetter) -> None:
        await self._writer.write_all(DEAD_LETTERS.name, [(letter.id, letter.encode()) for letter in letters])
        for letter in letters:
            _seldom.log(
                logging.WARNING,
                "%s is a dead letter: %s",
                letter.id,
                letter.error,
                extra={"action": "dead_letter"},
            )
