"""The start cache: made once, used by every broker, and passed over where it is of no use."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from notifier.settings import load_settings
from streams.broker import start_cache as module
from streams.broker.broker import EmbeddedBroker
from streams.broker.jars import jar_folder
from streams.broker.process import start_cache
from streams.broker.start_cache import make_start_cache

pytestmark = pytest.mark.usefixtures("own_settings")


def test_the_broker_of_the_tests_has_started_with_it(broker: str) -> None:
    cache = start_cache(jar_folder(load_settings(env_file=None).cache_dir))
    assert cache.is_file()
    javas = [child for child in psutil.Process().children() if child.name() == "java"]
    assert any(f"-XX:AOTCache={cache}" in java.cmdline() for java in javas)


def test_two_that_make_it_at_once_make_it_once_and_a_killed_one_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def learn(settings: object, work: Path) -> Path:
        made.append(work)
        (work / "start.aot").write_text("learnt")
        return work / "start.aot"

    monkeypatch.setattr(module, "fetch_jars", lambda cache_dir: [])
    monkeypatch.setattr(module, "_learn", learn)
    settings = load_settings(env_file=None, data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")
    folder = jar_folder(settings.cache_dir)
    (folder / ".start-work-x").mkdir(parents=True)
    with ThreadPoolExecutor(2) as threads:
        caches = [threads.submit(make_start_cache, settings).result() for _ in range(2)]
    assert caches == [start_cache(folder)] * 2
    assert len(made) == 1
    assert caches[0].read_text() == "learnt"
    assert sorted(path.name for path in folder.iterdir()) == sorted([".start-lock", caches[0].name])


def test_a_cache_that_is_damaged_is_passed_over(tmp_path: Path, stopped: Path) -> None:
    real = jar_folder(load_settings(env_file=None).cache_dir)
    linked = jar_folder(tmp_path / "cache")
    linked.mkdir(parents=True)
    for jar in real.glob("*.jar"):
        (linked / jar.name).symlink_to(jar)
    start_cache(linked).write_bytes(b"\0" * 10_000)
    settings = load_settings(
        env_file=None,
        data_dir=shutil.copytree(stopped, tmp_path / "data"),
        cache_dir=tmp_path / "cache",
        kafka_port=0,
    )
    broker = EmbeddedBroker(settings)
    try:
        assert broker.start(die_with_parent=True) == broker.status()
    finally:
        broker.stop()
