"""Engine: reads the messages of a span and compares, and tells how far it is. What the API's child and the command line run."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import monotonic

from aiokafka import ConsumerRecord

from control_api.dry_run.comparison import Comparison
from control_api.dry_run.reading import Span, reading
from control_api.dry_run.report import Report
from notifier.settings import Settings

TELL_S = 0.5  # between two reports
_SLICE = 100  # records between two looks at the clock


async def dry_run(settings: Settings, comparison: Comparison, span: Span) -> AsyncGenerator[Report, None]:
    """The report, again and again while it grows, and at the end with the progress 1. Sends nothing. Raises BrokerError."""
    report = comparison.report
    told = monotonic()
    async with reading(settings, span) as found, aclosing(found.batches()) as batches:
        yield report
        async for records in batches:
            for part in _slices(records):
                comparison.judge(part)
                if monotonic() - told >= TELL_S:
                    report.progress = found.progress
                    yield report
                    await asyncio.sleep(0)  # a filter may be slow, and whoever cancels must be heard
                    told = monotonic()
    report.progress = 1.0
    yield report


def _slices(records: Sequence[ConsumerRecord]) -> list[Sequence[ConsumerRecord]]:
    return [records[start : start + _SLICE] for start in range(0, len(records), _SLICE)]
