"""The start cache: what Java has learnt of the broker's classes in one start, so that the next ones take half the time.

One file beside the jars, of 68 MB, made once on demand (`notifier kafka prepare`) and used by every start that finds it. Measured
on 2 busy cores: 18 s and 8.5 s of processor time to format and start a broker, 11 s and 4.5 s with the cache; to make it takes
22 s of processor time. Java passes over a cache that is damaged or of another Java.
"""

import fcntl
import shutil
import tempfile
from pathlib import Path

from notifier.errors import BrokerError
from notifier.settings import Settings
from streams.broker.broker import EmbeddedBroker
from streams.broker.faults import writing_in
from streams.broker.jars import fetch_jars, jar_folder
from streams.broker.process import start_cache

MAKE_LIMIT_S = 300.0  # for a broker that writes down what it has learnt as it stops


def make_start_cache(settings: Settings) -> Path:
    """The start cache; where there is none, downloads the jars that are missing and makes it. Raises BrokerError.

    Processes that make it at the same time wait for each other; a killed one leaves no file that passes for a cache.
    """
    fetch_jars(settings.cache_dir)
    folder = jar_folder(settings.cache_dir)
    cache = start_cache(folder)
    if cache.is_file():
        return cache
    with writing_in(folder), (folder / ".start-lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_behind in folder.glob(".start-work-*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        if not cache.is_file():
            with tempfile.TemporaryDirectory(prefix=".start-work-", dir=folder) as work:
                _learn(settings, Path(work)).replace(cache)
    return cache


def _learn(settings: Settings, work: Path) -> Path:
    learnt = work / "start.aot"
    apart = settings.model_copy(update={"data_dir": work / "data", "kafka": None, "kafka_port": 0})
    broker = EmbeddedBroker(apart, cache_option=f"-XX:AOTCacheOutput={learnt}")
    try:
        broker.start(die_with_parent=True)
    finally:
        broker.stop(MAKE_LIMIT_S)
    if not learnt.is_file():
        raise BrokerError("the broker did not write down what it has learnt: it starts without, and only takes longer")
    return learnt
