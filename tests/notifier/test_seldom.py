"""Lines that any writer of a topic can cause do not flood the log."""

import logging

import pytest

from notifier.seldom import Seldom

logger = logging.getLogger("tests.seldom")


def test_a_line_is_said_a_few_times_and_then_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("notifier.seldom.monotonic", lambda: clock[0])
    seldom = Seldom(logger, most=3, every_s=60.0)
    with caplog.at_level(logging.ERROR):
        for number in range(8):
            seldom.log(logging.ERROR, "bad record %d", number, extra={"action": "read"})
        seldom.log(logging.ERROR, "another text", extra={"action": "read"})
        assert caplog.messages == ["bad record 0", "bad record 1", "bad record 2", "another text"]
        assert {record.filename for record in caplog.records} == {"test_seldom.py"}
        clock[0] += 60.0
        seldom.log(logging.ERROR, "bad record %d", 8, extra={"action": "read"})
    assert caplog.messages[-1] == "bad record 8"
    assert vars(caplog.records[-1])["left_out"] == 5
