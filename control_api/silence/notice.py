"""Notice: what people are told of a producer that is silent, or back. It is a message of that producer, with an id of our own."""

from datetime import datetime

from notifier.message import Message
from notifier.record import now, rfc3339
from notifier.status import PRODUCER, Status

PREFIX = "notifier-silence/"  # of the ids; no message of a source has one


def silent_notice(producer: str, since: datetime, every_s: float) -> Message:
    """That nothing came. It has the same id every time."""
    span = in_words(every_s)
    return Message(
        producer=producer,
        id=f"{PREFIX}{rfc3339(since)}/silent",
        title=f"Nothing came from {producer}",
        content=f"Nothing came from the producer {producer} for {span}, though something is expected every {span}."
        " Its source may be down. Another message follows once it is back.",
        severity="warning",
        labels={"silence": "silent"},
        occurred_at=now(),
    )


def back_notice(producer: str, since: datetime) -> Message:
    """That something came again. It has the same id every time."""
    return Message(
        producer=producer,
        id=f"{PREFIX}{rfc3339(since)}/back",
        title=f"{producer} is back",
        content=f"Something came from the producer {producer} again, after"
        f" {in_words(max(1.0, (now() - since).total_seconds()))}.",
        severity="info",
        labels={"silence": "over"},
        occurred_at=now(),
    )


def silent_status(producer: str, since: datetime, every_s: float) -> Status:
    """The same for `status`."""
    detail = f"nothing came for longer than {in_words(every_s)}, within which something is expected"
    return Status(kind=PRODUCER, name=producer, state="silent", at=now(), since=since, detail=detail)


def in_words(seconds: float) -> str:
    """`1 hour 30 minutes`: the two largest units."""
    left, parts = round(seconds), []
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        number, left = divmod(left, length)
        if number:
            parts.append(f"{number} {unit}{'' if number == 1 else 's'}")
    return " ".join(parts[:2]) or "less than a second"
