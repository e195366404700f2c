"""A role's process: signals before, during and after the loop, errors, and what is said of them."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import orjson
import pytest

from notifier import role
from notifier.errors import BrokerError, DeliveryError, NotifierError, SettingsError
from notifier.role import run_role
from notifier.settings import Settings, load_settings
from tests.rigs.repository import ROOT

HANDLED = (signal.SIGTERM, signal.SIGINT)
WAIT_S = 60.0


@pytest.fixture
def here(own_settings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings for a role that runs in this process, whose log and signal handlers are as before after the test."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    monkeypatch.setattr(role, "configure", lambda settings, name: None)
    yield load_settings(env_file=None)
    for number, handler in before.items():
        signal.signal(number, handler)


def sends(*numbers: signal.Signals) -> None:
    """The signals, to this process."""
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_stops_the_work_in_order(here: Settings, number: signal.Signals) -> None:
    ended = []

    async def work(stop: asyncio.Event) -> None:
        sends(number)
        await asyncio.wait_for(stop.wait(), WAIT_S)
        await asyncio.sleep(0.05)  # draining
        ended.append(True)

    assert run_role(here, "ticker", work) == 0
    assert ended == [True]


def test_work_that_has_nothing_left_to_do_ends_the_process(here: Settings) -> None:
    async def work(stop: asyncio.Event) -> None:
        assert not stop.is_set()

    assert run_role(here, "ticker", work) == 0


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_that_comes_before_the_loop_runs_is_not_lost(
    here: Settings, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    begun = []

    async def work(stop: asyncio.Event) -> None:
        begun.append(True)
        await stop.wait()

    monkeypatch.setattr(role, "configure", lambda settings, name: sends(number))
    assert run_role(here, "ticker", work) == 0
    assert begun == []


def test_a_second_sigterm_leaves_an_orderly_stop_alone(here: Settings) -> None:
    drained = []

    async def work(stop: asyncio.Event) -> None:
        sends(signal.SIGINT)
        await stop.wait()
        sends(signal.SIGTERM, signal.SIGTERM)
        await asyncio.sleep(0.05)
        drained.append(True)

    assert run_role(here, "ticker", work) == 0
    sends(signal.SIGTERM)  # the process still ends with that status
    assert drained == [True]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotifierError("it cannot"), 1),
        (SettingsError("it cannot"), 2),
        (BrokerError("it cannot"), 3),
        (DeliveryError("timeout", "it cannot"), 1),
    ],
    ids=lambda case: type(case).__name__,
)
def test_an_error_gives_its_status_one_line_and_a_record(
    here: Settings,
    error: NotifierError,
    status: int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(stop: asyncio.Event) -> None:
        raise error

    assert run_role(here, "ticker", work) == status
    assert capsys.readouterr().err == "notifier: it cannot\n"
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.CRITICAL, "The role ticker cannot go on: it cannot")
    assert record.__dict__["action"] == "stop"


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault"), asyncio.CancelledError()])
def test_a_fault_of_the_program_is_raised(here: Settings, error: BaseException) -> None:
    async def work(stop: asyncio.Event) -> None:
        raise error

    with pytest.raises(type(error)):
        run_role(here, "ticker", work)


# --- as a process of its own ---

PROGRAM = """
import asyncio, logging, sys, time
from notifier.errors import BrokerError
from notifier.role import run_role
from notifier.settings import load_settings

async def work(stop):
    logging.getLogger("work").info("It works.")
    if sys.argv[1] == "fails":
        raise BrokerError("there is no broker: notifier kafka start")
    await stop.wait()
    logging.getLogger("work").info("It stops.")
    if sys.argv[1] == "drains":
        await asyncio.sleep(600)
    if sys.argv[1] == "hangs":
        time.sleep(600)

sys.exit(run_role(load_settings(env_file=None), "ticker", work))
"""


def start(kind: str) -> subprocess.Popen[str]:
    """A role whose work does as it is told: stops, drains for ten minutes before, blocks its loop so long, or fails."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, kind], stderr=subprocess.PIPE, text=True, cwd=ROOT)


def read_until(stream: IO[str] | None, message: str) -> None:
    """Reads log lines up to the one with that message."""
    assert stream is not None
    said = []
    for line in stream:
        said.append(line)
        if message in line:
            return
    raise AssertionError(f"it never said {message}: {''.join(said)}")


@pytest.mark.parametrize("number", HANDLED)
def test_a_process_ends_with_0_after_a_signal(own_settings: None, number: signal.Signals) -> None:
    with start("stops") as process:
        read_until(process.stderr, "It works.")
        process.send_signal(number)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    assert [orjson.loads(line)["message"] for line in said.splitlines()] == ["It stops."]


@pytest.mark.parametrize("kind", ["drains", "hangs"])
@pytest.mark.parametrize("first", HANDLED)
def test_a_second_ctrl_c_ends_a_process_at_once(own_settings: None, first: signal.Signals, kind: str) -> None:
    with start(kind) as process:
        read_until(process.stderr, "It works.")
        process.send_signal(first)
        read_until(process.stderr, "It stops.")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WAIT_S)
    assert (process.returncode, said) == (130, "")


def test_a_process_that_fails_says_so_to_people_in_its_last_line(own_settings: None) -> None:
    with start("fails") as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 3
    *records, last = said.splitlines()
    assert last == "notifier: there is no broker: notifier kafka start"
    assert [orjson.loads(line)["level"] for line in records] == ["INFO", "CRITICAL"]
    assert {orjson.loads(line)["role"] for line in records} == {"ticker"}
