"""Alerts as Alertmanager's webhook (version 4) and the two APIs write them, and a running Prometheus and Alertmanager."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from notifier.record import JsonObject

GO_ZERO = "0001-01-01T00:00:00Z"


def alert(name: str = "DiskFull", status: str = "firing", **more: Any) -> JsonObject:
    """An alert of a webhook."""
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "critical", "instance": "db1:9100", "owner": "alice"},
        "annotations": {"summary": "The disk of db1 is full", "description": "98 % of /var are used"},
        "startsAt": "2026-11-29T09:00:00.123456789Z",
        "endsAt": GO_ZERO if status == "firing" else "2026-11-29T10:00:00Z",
        "generatorURL": "http://prometheus.example:9090/graph?g0.expr=disk&g0.tab=1",
        "fingerprint": "8f6e0a6c2d1b4c3e",
        **more,
    }


def webhook(*alerts: object, **more: Any) -> JsonObject:
    """A webhook with these alerts."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="DiskFull"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "notifier",
        "groupLabels": {"alertname": "DiskFull"},
        "commonLabels": {"alertname": "DiskFull", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": list(alerts),
        **more,
    }


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def program(name: str) -> str:
    """The path of a server; skips the test where it is missing, and fails it on CI."""
    found = shutil.which(name)
    if found is None:
        text = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return found


@contextmanager
def process(*command: str, log: Path) -> Iterator[None]:
    """A server that runs while the block does."""
    with log.open("wb") as out:
        started = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            yield
        finally:
            started.terminate()
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
