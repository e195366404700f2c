"""Rows: what the records of the history's topics are in the tables.

Columns and values follow from the structs (`control_api.models.record_fields`); here stands what more is to be done with a
value. `control_api.history.storing` writes the rows.
"""

from base64 import b64encode
from typing import Any
from urllib.parse import unquote

from control_api.history.digest import digest
from control_api.models.history import ATTEMPT, DEAD_LETTER, RUN
from control_api.models.record_fields import without_nul
from notifier.attempt import Attempt, Counters
from notifier.dead_letter import DeadLetter
from notifier.errors import InvalidRecord
from notifier.run import Run

Row = dict[str, Any]  # column → value


def attempt_or_counters(value: bytes | None) -> Attempt | Counters:
    """What a record of `attempts` is. Raises InvalidRecord and UnsupportedVersion."""
    data = value or b""
    try:
        return Attempt.decode(data)
    except InvalidRecord:
        if b'"counters"' in data:
            return Counters.decode(data)
        raise


def attempt_row(attempt: Attempt) -> Row:
    """The row of an Attempt, which is found beside its message by their digest."""
    return {**ATTEMPT.row(attempt), "digest": digest(attempt.producer, attempt.message)}


def dead_letter_row(value: bytes | None) -> Row:
    """The row of a DeadLetter, with the parts of its delivery's id. Raises InvalidRecord and UnsupportedVersion."""
    letter = DeadLetter.decode(value or b"")
    row: Row = {**DEAD_LETTER.row(letter), "configuration": _configuration(letter), "consumer": None, "recipient": None}
    content = letter.value
    if content is not None and "\0" in content:  # a redrive needs the value as it was, so no NUL of it is replaced
        row["value"], row["value_base64"] = None, b64encode(content.encode()).decode()
    if letter.delivery is not None and letter.delivery.count("/") == 4:
        parts = (without_nul(unquote(part)) for part in letter.delivery.split("/"))
        producer, message, row["configuration"], row["consumer"], recipient = parts
        row["producer"] = producer or row["producer"]
        row["message"] = message or row["message"]
        row["recipient"] = None if recipient == "*" else recipient
    return row


def _configuration(letter: DeadLetter) -> str | None:
    """The configuration that a letter without a delivery concerns alone, as its id says; None where it concerns several."""
    parts = letter.id.split("/")
    if letter.stage == "route" and letter.reason in ("filter_failed", "filter_unusable") and len(parts) == 3:
        return without_nul(unquote(parts[2]))  # `<producer>/<message id>/<configuration>`
    if letter.stage == "run" and letter.producer is not None:  # what came by itself is for every configuration
        return None
    if letter.stage == "run" and len(parts) != 3:  # a record that could not be read has its topic, partition and offset
        return without_nul(parts[0])  # `<configuration>/<scheduled_at>`, and perhaps `/<producer>/<source id>`
    return None


def run_row(value: bytes | None) -> Row | None:
    """The row of a Run; None for a tombstone. Raises InvalidRecord and UnsupportedVersion."""
    return None if value is None else RUN.row(Run.decode(value))
