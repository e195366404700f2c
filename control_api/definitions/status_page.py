"""Status page: what the roles report, which consumers and producers are paused, which chats have moved, and how sources are.

A page at a time, as an actor may see it.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from control_api.access.actor import Actor
from control_api.definitions.services import Services
from control_api.page_query import PageQuery, part_of
from control_api.statuses import Statuses
from notifier.outcome import KINDS
from notifier.record import JsonObject, rfc3339
from notifier.status import CHAT, CONSUMER, PRODUCER, Status


async def status_page(
    statuses: Statuses, services: Services, actor: Actor, query: PageQuery
) -> tuple[list[JsonObject], str | None]:
    """The processes, the paused consumers and producers, the chats, the sources, as JSON, and the cursor of the next page."""
    lists = [statuses.present(), statuses.paused(), statuses.moved(), statuses.sources()]
    if not actor.sees_all:
        seen = services.seen_by(actor)
        lists = [await _seen(seen, found) for found in lists]
    found = {f"{place}/{_place(status)}": status for place, found in enumerate(lists) for status in found}
    page, next_cursor = part_of(found, query)
    return [
        shown(status, statuses.waiting(status.name) if status.kind == CONSUMER else None) for status in page
    ], next_cursor


async def _seen(services: Services, statuses: Sequence[Status]) -> list[Status]:
    """The statuses without definitions that the services do not show."""
    about = {_place(one): definition for one in statuses if (definition := _definition(one)) is not None}
    named = set(about.values()).union(*(one.problems for one in statuses))
    seen: set[str] = set()
    for kind in KINDS:
        names = [name.partition("/")[2] for name in named if name.startswith(f"{kind}/")]
        seen |= {f"{kind}/{name}" for name in await services.get_many(kind, names)}
    return [
        replace(one, problems={name: text for name, text in one.problems.items() if name in seen})
        for one in statuses
        if _place(one) not in about or about[_place(one)] in seen
    ]


def _place(status: Status) -> str:
    return f"{status.kind}/{status.name}"


def _definition(status: Status) -> str | None:
    """`<kind>/<name>` of the definition that a status is about; None where it is about a process."""
    kind = CONSUMER if status.kind == CHAT else status.kind
    return f"{kind}/{status.name.partition('/')[0]}" if kind in (CONSUMER, PRODUCER) else None


def shown(status: Status, waiting: int | None = None) -> JsonObject:
    """A status as JSON, with every field that is for people; `waiting` deliveries wait for a consumer, where it is known."""
    return {
        "kind": status.kind,
        "name": status.name,
        "state": status.state,
        "detail": status.detail,
        "at": rfc3339(status.at),
        "reason": status.reason,
        "since": None if status.since is None else rfc3339(status.since),
        "not_before": None if status.not_before is None else rfc3339(status.not_before),
        "by": status.by,
        "became": status.became,
        "waiting": waiting,
        "problems": status.problems,
        "passed_over": [
            {"topic": one.topic, "count": one.count, "last": one.last, "error": one.error} for one in status.passed_over
        ],
    }
