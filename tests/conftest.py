"""What tests share: one real broker for the whole run, and settings of which no two tests see the same topics."""

import os
import secrets
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from notifier.seal import generate_key
from notifier.settings import PREFIX, Settings, load_settings, variable
from streams.broker.broker import EmbeddedBroker
from streams.broker.start_cache import make_start_cache
from tests.rigs.kafka_tools import delete_topics_at_once
from tests.rigs.standing_clients import standing_clients


@pytest.fixture(scope="session", autouse=True)
def no_proxy_on_loopback() -> Iterator[None]:
    """What the tests serve on loopback is not asked for by way of a proxy of the person who runs them."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("NO_PROXY", "no_proxy"):
            environment.setenv(name, "127.0.0.1,localhost,::1", prepend=",")
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """The processes that tests start, which are hundreds, keep their modules compiled; else each compiles them anew."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded broker that lives as long as this run, however the run ends."""
    with pytest.MonkeyPatch.context() as environment:
        _forget_settings(environment)
        settings = load_settings(env_file=None, data_dir=tmp_path_factory.mktemp("broker"), kafka_port=0)
    make_start_cache(settings)  # once on a machine, for the dozens of brokers that a run starts
    embedded = EmbeddedBroker(settings)
    address = embedded.start(die_with_parent=True)
    with standing_clients(settings.model_copy(update={"kafka": address})):
        yield address
    embedded.stop()


@pytest.fixture
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No `NOTIFIER_…` variable of the person who runs the tests has a say, but for where downloads are kept."""
    _forget_settings(monkeypatch)


@pytest.fixture
def settings(broker: str, tmp_path: Path, own_settings: None) -> Iterator[Settings]:
    """Settings on the broker with a topic prefix, a data folder, an SQLite database and a key of this test alone.

    The test's topics are deleted after it.
    """
    settings = load_settings(
        env_file=None,
        kafka=broker,
        topic_prefix=f"t{secrets.token_hex(4)}.",
        data_dir=tmp_path,
        secret_key=generate_key(),
    )
    yield settings
    # Without this a run of some hundred tests leaves thousands of partitions, which the broker looks after all the time.
    delete_topics_at_once(settings)


def _forget_settings(environment: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() != variable("cache_dir"):
            environment.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a test marked `slow` come first, so that no worker is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test may log what is no UTF-8 on purpose; what is reported of it to another process must be."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """On CI (`CI` is set) a skipped test is a failed run: all that the tests need is installed there.

    Only what needs root may be skipped, where CI is not root.
    """
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])}
    if os.geteuid() != 0:
        reasons = {reason for reason in reasons if "only root" not in reason}
    if reasons and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"On CI nothing may be skipped, and this was: {'; '.join(sorted(reasons))}", red=True)
