"""Address: where the Kafka broker is. Running the embedded one is `streams.broker.broker`'s."""

import json
from pathlib import Path

import psutil

from notifier.errors import BrokerError
from notifier.settings import Settings

NO_EMBEDDED_BROKER = (
    "no Kafka broker is running for the data folder {folder}: start one with `notifier kafka start`"
    " (or everything with `notifier up`), or name yours in NOTIFIER_KAFKA=host:port"
)
_START_TOLERANCE_S = 2.0  # by which two measures of one process's start may differ


def broker_file(settings: Settings) -> Path:
    """The file that says where the embedded broker of the data folder runs: `{"pid", "address", "cluster_id", …}`."""
    return settings.data_dir / "kafka" / "broker.json"


def running_broker(settings: Settings) -> str | None:
    """The address `host:port` of the embedded broker, if its process lives; None otherwise."""
    try:
        state = json.loads(broker_file(settings).read_text())
        process = psutil.Process(int(state["pid"]))
        # A pid may have been given to another process since; the time of its start tells.
        same = abs(process.create_time() - float(state["started"])) < _START_TOLERANCE_S
        return str(state["address"]) if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def bootstrap_servers(settings: Settings) -> str:
    """Where the broker is: NOTIFIER_KAFKA, or the embedded broker. Raises BrokerError when there is none."""
    if settings.kafka is not None:
        return settings.kafka
    address = running_broker(settings)
    if address is None:
        raise BrokerError(NO_EMBEDDED_BROKER.format(folder=settings.data_dir))
    return address


def own_servers(settings: Settings) -> str | None:
    """The same for `Context.own_servers`; None where there is none now."""
    try:
        return bootstrap_servers(settings)
    except BrokerError:
        return None
