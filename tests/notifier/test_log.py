"""Logs: one line is one entry, and secrets stay out."""

import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from notifier import log
from notifier.settings import Settings, load_settings


@contextmanager
def logging_to(settings: Settings) -> Iterator[io.StringIO]:
    """What is logged, as text."""
    stream = io.StringIO()
    root = logging.getLogger()
    level = root.level
    log.configure(settings, "api", stream)
    try:
        yield stream
    finally:
        for output in root.handlers[:]:
            if getattr(output, "_notifier", False):
                root.removeHandler(output)
        root.setLevel(level)
        logging.captureWarnings(False)


FORGED = 'line\r\n{"level": "CRITICAL"}\x1b[2J\u2028end'


SECRETS: Mapping[str, object] = {
    "password": "canary-1",
    "bot_token": "canary-2",
    "api_key": "canary-3",
    "headers": {"Authorization": "Bearer canary-4", "X": ["canary-ok"]},
    "value": SecretStr("canary-5"),
}


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_value_cannot_forge_a_line_and_secrets_stay_out(form: str) -> None:
    settings = load_settings(env_file=None, log_format=form)
    with logging_to(settings) as stream:
        logger = logging.getLogger("test")
        logger.info("%s", FORGED, extra={"action": "push", "user": FORGED, **SECRETS})
        logger.error("Authorization: Bearer canary-6 and ntf_0123456789abcdef_canary-7 at https://me:canary-8@host/")
        try:
            raise ValueError("lone \ud800 surrogate\nof ntf_0123456789abcdef_canary-9")
        except ValueError:
            logger.exception("It failed.", extra={"number": 2**80, "odd": {1: {"\ud800"}}})
        logging.getLogger("aiokafka.conn").info("chatter")
    logged = stream.getvalue()
    assert "canary-ok" in logged
    assert not re.search(r"canary-\d", logged)
    assert "chatter" not in logged
    assert "\x1b" not in logged
    lines = logged.splitlines()
    if form == "json":
        entries = [json.loads(line) for line in lines]
        assert [entry["level"] for entry in entries] == ["INFO", "ERROR", "ERROR"]
        assert entries[0]["message"] == FORGED
        assert entries[0]["action"] == "push"
        assert {entry["role"] for entry in entries} == {"api"}
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"]) for entry in entries)
    else:
        assert [line for line in lines if not line.startswith("    ")] == [lines[0], lines[1], lines[2]]


def test_logging_is_set_up_once_however_often() -> None:
    settings = load_settings(env_file=None, log_format="json")
    with logging_to(settings) as first:
        with logging_to(settings) as second:
            logging.getLogger("test").warning("once")
            for _ in range(5):
                logging.getLogger("aiokafka").error("Unable to connect to %s", "a broker")
        assert first.getvalue() == ""
        assert len(second.getvalue().splitlines()) == 2
