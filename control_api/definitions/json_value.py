"""JSON values as people send them: what JSON or the databases cannot hold, and merge patches (RFC 7396)."""

import math
from typing import Any

from notifier.errors import FieldError, InputError
from notifier.pointer import pointer

MAX_DEPTH = 64  # of nested objects and lists


def check_json(value: object) -> None:
    """Raises InputError for NaN, NUL, lone surrogates, numbers beyond 64 bits, and what is nested too deeply."""
    wrong: list[FieldError] = []
    stack: list[tuple[object, str, int]] = [(value, "", 0)]
    while stack:
        part, at, depth = stack.pop()
        fault = _fault(part, depth)
        if fault is not None:
            wrong.append(FieldError(at, fault))
        elif isinstance(part, list):
            stack += [(below, f"{at}/{position}", depth + 1) for position, below in enumerate(part)]
        elif isinstance(part, dict):
            for key, below in part.items():
                place = pointer([key], at)
                if (fault := _fault(key, 0) if isinstance(key, str) else "a field's name must be text") is not None:
                    wrong.append(FieldError(at, f"in a field's name: {fault}"))
                else:
                    stack.append((below, place, depth + 1))
    if wrong:
        raise InputError(wrong[::-1])


def _fault(value: object, depth: int) -> str | None:
    if isinstance(value, str):
        if "\x00" in value:
            return "must not hold the character NUL"
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return "is not Unicode text (a lone surrogate)"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return "must be a number that JSON has; put a text in quotes"
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            return "is too large a number; put a text in quotes"
    elif isinstance(value, list | dict):
        if depth >= MAX_DEPTH:
            return f"is nested more than {MAX_DEPTH} deep"
    elif value is not None:
        return f"must be JSON, not {type(value).__name__}"
    return None


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
