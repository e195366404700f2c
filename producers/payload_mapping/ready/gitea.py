"""Gitea and Forgejo: their webhooks, whose payloads are made after GitHub's.

https://docs.gitea.com/usage/webhooks
"""

from collections.abc import Mapping

from producers.github.event import event_message
from producers.payload_mapping.ready.at import at, ended, first, text
from producers.payload_mapping.ready.part import Part, Parts

_EVENTS = ("x-gitea-event-type", "x-forgejo-event-type", "x-gitea-event", "x-forgejo-event", "x-github-event")
_DELIVERIES = ("x-gitea-delivery", "x-forgejo-delivery", "x-github-delivery")


def gitea(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message an event, as the producer `github` tells those that are not about pull requests."""
    if not isinstance(payload, dict):
        yield Part(payload)
        return
    event = first(*(headers.get(name) for name in _EVENTS)) or "event"
    delivery = first(*(headers.get(name) for name in _DELIVERIES))
    found = dict(event_message(event, delivery or "", payload))
    labels = found.pop("labels", {})
    found["id"] = delivery
    title = next(
        (text(one, "title") for name in ("pull_request", "issue", "release") if (one := at(payload, name))), None
    )
    found["title"] = title
    found["severity"] = ended(labels.get("conclusion") or labels.get("state"))
    link = found.get("url")
    found["content"] = found["content"].removesuffix(f" ({link})")  # the default text has the link anyway
    found["url"] = first(text(payload, "compare_url"), link)
    yield Part(payload, found, labels)
