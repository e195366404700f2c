"""Embedded brokers on data folders of a test's own: made, written to, read, and made to refuse a start."""

from pathlib import Path

import psutil
import pytest

from notifier.errors import BrokerError
from notifier.settings import load_settings
from streams.broker.broker import EmbeddedBroker
from tests.rigs.kafka_tools import produce, read_all


def embedded(data_dir: Path, port: int = 0) -> EmbeddedBroker:
    return EmbeddedBroker(load_settings(env_file=None, data_dir=data_dir, kafka_port=port))


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every process that was started with the data folder on its command line, but for those that have ended."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(data_dir) in " ".join(process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


async def write(data_dir: Path, address: str, *values: str) -> None:
    await produce(load_settings(env_file=None, data_dir=data_dir, kafka=address), "messages", values, key="k")


async def values_at(data_dir: Path, address: str) -> list[bytes]:
    settings = load_settings(env_file=None, data_dir=data_dir, kafka=address)
    return [record.value for record in await read_all(settings, "messages")]


def refused(one: EmbeddedBroker) -> str:
    """The one line that a start is refused with."""
    try:
        with pytest.raises(BrokerError) as caught:
            one.start(die_with_parent=True)
    finally:
        one.stop()
    text = str(caught.value)
    assert "\n" not in text
    return text
