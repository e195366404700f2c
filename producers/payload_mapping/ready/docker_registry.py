"""Docker registry: its notifications, and the webhooks of Docker Hub.

https://distribution.github.io/distribution/about/notifications/
"""

from collections.abc import Mapping

from producers.payload_mapping.ready.at import at, first, happened, members, text
from producers.payload_mapping.ready.part import Part, Parts


def docker_registry(payload: object, headers: Mapping[str, str]) -> Parts:
    """One message an event: pushes, pulls, mounts and deletions; the label `action` tells them apart."""
    events = members(payload, "events")
    if not events:
        yield _hub(payload)
    for event in events:
        yield _event(event)


def _event(event: object) -> Part:
    target = at(event, "target")
    action, repository, tag = text(event, "action"), text(target, "repository"), text(target, "tag")
    digest = text(target, "digest")
    actor = text(event, "actor", "name")
    image = f"{repository}:{tag}" if repository and tag else repository
    known = action or repository
    found = {
        "content": happened(action, image, None if tag else digest, actor=actor) if known else None,
        "title": f"{action} {image}" if action and image else None,
        "sender": actor,
        "id": text(event, "id"),
        "occurred_at": text(event, "timestamp"),
    }
    labels = {
        "action": action,
        "repository": repository,
        "tag": tag,
        "digest": digest,
        "actor": actor,
        "host": text(event, "request", "host"),
    }
    return Part(event, found, labels)


def _hub(payload: object) -> Part:
    pushed, repository = at(payload, "push_data"), text(payload, "repository", "repo_name")
    tag, actor = text(pushed, "tag"), text(pushed, "pusher")
    image = f"{repository}:{tag}" if repository and tag else repository
    found = {
        "content": happened("push", image, actor=actor) if isinstance(pushed, dict) else None,
        "title": f"push {image}" if image else None,
        "sender": actor,
        "url": text(payload, "repository", "repo_url"),
        "occurred_at": first(text(pushed, "pushed_at")),
    }
    return Part(
        payload,
        found,
        {"action": "push" if isinstance(pushed, dict) else None, "repository": repository, "tag": tag, "actor": actor},
    )
