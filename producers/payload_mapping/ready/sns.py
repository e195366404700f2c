"""Amazon SNS: its HTTP endpoints. Confirming a subscription is `producers.sns_subscription`'s.

https://docs.aws.amazon.com/sns/latest/dg/http-notification-json.html
"""

import json
from collections.abc import Mapping

from producers.payload_mapping.ready.at import at, fields, first, joined, lines, text
from producers.payload_mapping.ready.part import Part, Parts

_STATES = {"ALARM": "error", "OK": "info", "INSUFFICIENT_DATA": "warning"}
_MAX_JSON = 256 * 1024  # characters; SNS takes no more


def sns(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message a notification, and none for the request to confirm a subscription.

    Expressions look into the notification; where its `Message` is JSON, that stands in `parsed`.
    """
    if text(payload, "Type") == "SubscriptionConfirmation":
        return
    inner = _parsed(at(payload, "Message"))
    part = {**payload, "parsed": inner} if isinstance(payload, dict) else payload
    state, reason = text(inner, "NewStateValue"), lines(inner, "NewStateReason")
    alarm = text(inner, "AlarmName")
    found = {
        "title": first(text(payload, "Subject"), alarm),
        "content": joined([joined([alarm, state], ": "), reason], "\n")
        if alarm
        else lines(payload, "Message") or joined([text(payload, "Type"), text(payload, "TopicArn")], ": "),
        "severity": _STATES.get(state or ""),
        "id": text(payload, "MessageId"),
        "occurred_at": text(payload, "Timestamp"),
    }
    attributes = {name: at(one, "Value") for name, one in fields(payload, "MessageAttributes").items()}
    labels = {
        **attributes,
        "topic": text(payload, "TopicArn"),
        "type": text(payload, "Type"),
        "alarm": alarm,
        "state": state,
    }
    yield Part(part, found, labels)


def _parsed(value: object) -> object:
    if not isinstance(value, str) or len(value) > _MAX_JSON or not value.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
