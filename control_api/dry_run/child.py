"""The process of a dry run: `python -m control_api.dry_run.child`. It judges, while the process that started it serves.

Its standard input has the `Order` as one line of JSON, and then nothing: at its end, which comes with the end of its parent,
however that ends, the process ends too. On standard output it writes a line of JSON for each report (`Line`), and nothing else
comes there: what plugins and libraries print goes to standard error, where the log is.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from threading import Thread
from typing import Any, BinaryIO

import msgspec
from pydantic import SecretStr

from control_api.dry_run.engine import dry_run
from control_api.dry_run.reading import Span
from control_api.dry_run.report import Report, Samples
from control_api.dry_run.world import catalog_now, compare
from control_api.registry import load_registry
from notifier.database import Database
from notifier.errors import NotifierError
from notifier.log import configure
from notifier.one_line import one_line
from notifier.record import JsonObject
from notifier.settings import Settings, load_settings

_NICE = 5  # the API and the roles go first
_SETTINGS = ("data_dir", "database_url", "topic_prefix", "log_level", "log_format")


class Order(msgspec.Struct, kw_only=True):
    """What the process is to do."""

    settings: dict[str, Any]
    configuration: str
    draft: JsonObject | None
    since: datetime
    until: datetime


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What it tells. `report` is without samples; those come where there are more than in the line before."""

    report: Report | None = None
    samples: Samples | None = None
    error: str | None = None  # why it ends without having read everything


def passed_on(settings: Settings) -> dict[str, Any]:
    """The settings that the process needs, for its `Order`. They hold secrets."""
    names = [name for name in type(settings).model_fields if name.startswith("kafka") or name in _SETTINGS]
    given = {name: getattr(settings, name) for name in names}
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value if value is None else _plain(value)
        for name, value in given.items()
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else str(value)


def main() -> None:
    """The process."""
    os.nice(_NICE)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # before plugins are loaded: one may print
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        settings = load_settings(env_file=None, **order.settings)
        configure(settings, "api")
        asyncio.run(_work(settings, order, output))
    except NotifierError as error:
        _tell(output, Line(error=str(error)))
    except Exception as error:  # the report names the error, the log has its traceback
        _tell(output, Line(error=f"it failed: {type(error).__name__}: {one_line(error)}"))
        raise


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


async def _work(settings: Settings, order: Order, output: BinaryIO) -> None:
    database = Database(settings)
    try:
        async with database.read() as session:
            catalog = await catalog_now(session, load_registry(), order.configuration)
    finally:
        await database.close()
    compared = compare(catalog, order.configuration, order.draft)
    shown = 0
    async with aclosing(dry_run(settings, compared, Span(since=order.since, until=order.until))) as reports:
        async for report in reports:
            count = compared.samples.count()
            _tell(output, Line(report=report, samples=compared.samples if count > shown else None))
            shown = count


def _tell(output: BinaryIO, line: Line) -> None:
    output.write(msgspec.json.encode(line) + b"\n")
    output.flush()


async def lines(output: asyncio.StreamReader) -> AsyncIterator[Line]:
    """What the process tells, read by its parent."""
    while line := await output.readline():
        yield msgspec.json.decode(line, type=Line)


if __name__ == "__main__":
    main()
