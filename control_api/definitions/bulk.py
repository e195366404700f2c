"""Bulk: the object of a YAML file as JSON, whose definitions `POST /api/v1/definitions` applies as one change.

Secrets stand in it as they are: `${NAME}` and `${file:PATH}` would be read on the machine of the API, and are refused.
"""

import re  # for our own constant pattern
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from control_api.definitions.documents import (
    EXTENSION,
    MAX_FAULTS,
    SECTIONS,
    TESTS,
    Document,
    check_names,
    first_of,
    unknown_section,
)
from control_api.definitions.json_value import check_json
from control_api.definitions.plan import ApplyPlan, Sign
from control_api.definitions.spec import split_name
from notifier.errors import FieldError, InputError
from notifier.pointer import pointer
from notifier.record import JsonObject

MAX_DEFINITIONS = 10_000  # in one request: all are one transaction, which other writers wait for
_REFERENCE = re.compile(r"\$\{[^{}]*\}")
_ACTIONS: Mapping[Sign, str] = {"+": "created", "~": "changed", "-": "deleted", "=": "unchanged"}


def read_object(value: object, passed_over: Collection[str] = ()) -> list[Document]:
    """The definitions of an object, without the fields `passed_over`, which answers have and nobody writes.

    Raises InputError that names every place as a JSON Pointer.
    """
    if not isinstance(value, dict):
        raise InputError(FieldError("", f"must be an object with {', '.join(SECTIONS)}"))
    count = sum(len(items) for section, items in value.items() if section in SECTIONS and isinstance(items, list))
    if count > MAX_DEFINITIONS:
        text = f"holds {count} definitions, and a request at most {MAX_DEFINITIONS}; `notifier apply` takes more"
        raise InputError(FieldError("", text))
    check_json(value)
    documents: list[Document] = []
    wrong: list[FieldError] = []
    for section, items in value.items():
        at = pointer([section])
        kind = SECTIONS.get(section)
        if section.startswith(EXTENSION) or section == TESTS or (kind is not None and items is None):
            continue
        if kind is None:
            # Looking for a name that is near takes long, and only the first faults are told.
            wrong.append(FieldError(at, unknown_section(section) if len(wrong) < MAX_FAULTS else ""))
            continue
        if not isinstance(items, list):
            wrong.append(FieldError(at, "must be a list"))
            continue
        for position, written in enumerate(items):
            place = f"{at}/{position}"
            try:
                name, rest = split_name(kind, written)
            except InputError as error:
                wrong += [FieldError(place + fault.pointer, fault.detail) for fault in error.errors]
                continue
            rest = {field: part for field, part in rest.items() if field not in passed_over}
            wrong += _references(rest.get("parameters"), f"{place}/parameters")
            documents.append(Document(kind=kind, name=name, value=rest, place=place))
    wrong += check_names(documents)
    if wrong:
        raise InputError(first_of(wrong))
    return documents


def _references(value: Any, at: str) -> Iterator[FieldError]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _references(part, pointer([key], at))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _references(part, f"{at}/{position}")
    elif isinstance(value, str) and _REFERENCE.fullmatch(value):
        yield FieldError(at, f"{value[:40]!r} is read by `notifier apply` alone; write the value itself")


def shown(plan: ApplyPlan, *, dry_run: bool) -> JsonObject:
    """A plan as JSON: what is done, or would be, to each definition that changes, with nothing of a secret."""
    return {
        "dry_run": dry_run,
        "revision": plan.revision,
        **{word: plan.count(sign) for sign, word in _ACTIONS.items()},
        "changes": [
            {
                "action": _ACTIONS[change.sign],
                "kind": change.edit.kind,
                "name": change.edit.name,
                "differences": [
                    {"path": one.path, "before": one.before, "after": one.after} for one in change.differences
                ],
                **({"more": change.more} if change.more else {}),
            }
            for change in plan.changes
            if change.sign != "="
        ],
    }
