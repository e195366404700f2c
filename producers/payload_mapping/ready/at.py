"""At: what stands at a place of a payload, where there may be anything. No I/O."""

from collections.abc import Iterable
from typing import Any

from notifier.one_line import one_line

_MAX_TEXT = 300  # characters of a part of a text


def at(value: object, *path: str | int) -> Any:
    """The value at a path of parsed JSON; None where there is none."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value


def text(value: object, *path: str | int) -> str | None:
    """The text or number at a path as one short line; None where there is none, or nothing to see."""
    found = at(value, *path)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    try:
        return one_line(str(found)[: _MAX_TEXT * 4], _MAX_TEXT) or None
    except ValueError:  # a number of more digits than Python writes
        return None


def lines(value: object, *path: str | int) -> str | None:
    """The text at a path with its lines; None where there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) and found.strip() else None


def members(value: object, *path: str | int) -> list[Any]:
    """The members of the list at a path but for null; none where there is no list."""
    found = at(value, *path)
    return [one for one in found if one is not None] if isinstance(found, list) else []


def fields(value: object, *path: str | int) -> dict[str, Any]:
    """The object at a path; an empty one where there is none."""
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def first(*given: str | None) -> str | None:
    """The first that is there."""
    return next((one for one in given if one), None)


def joined(parts: Iterable[str | None], by: str) -> str | None:
    """Those parts that are there, each once; None where none is."""
    return by.join(dict.fromkeys(one for one in parts if one)) or None


def happened(
    what: str | None,
    *details: str | None,
    place: str | None = None,
    branch: str | None = None,
    actor: str | None = None,
) -> str | None:
    """What happened, where, by whom, and how it ended: `pipeline in acme/web on main by octocat: failed`."""
    words = [what or "event"]
    words += [f"{word} {one}" for word, one in (("in", place), ("on", branch), ("by", actor)) if one]
    more = joined(details, ": ")
    return " ".join(words) + (f": {more}" if more else "")


def short_ref(ref: str | None) -> str | None:
    """The branch or tag of a Git reference."""
    return None if ref is None else ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def ended(word: str | None) -> str | None:
    """The severity of how something ended, in the words that CI uses; None: nothing is known."""
    return None if word is None else _ENDS.get(word.strip().lower())


_ENDS = {
    **dict.fromkeys(("failed", "failure", "error", "errored", "broken", "timed_out", "startup_failure"), "error"),
    **dict.fromkeys(("canceled", "cancelled", "stopped", "skipped", "action_required"), "warning"),
    **dict.fromkeys(
        ("success", "successful", "succeeded", "passed", "fixed", "running", "pending", "inprogress"), "info"
    ),
}
