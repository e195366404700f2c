"""JSON Schema: holds values to a schema, which both come from others. No I/O.

A few lines of a schema can ask for more work than there is time, so the work is counted, and patterns are RE2's, whose time is
bounded. Patterns that RE2 does not know, `unevaluatedProperties` and `unevaluatedItems` are not looked at. Nothing is fetched.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import re2
from jsonschema import ValidationError, validators
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from notifier.errors import InvalidRecord
from notifier.one_line import one_line
from producers.kafka.record import parse_json

_MOST_STEPS = 2_000_000  # of a value; a step takes some microseconds at most
_SEARCH_STEPS = 20  # of each search of a pattern, besides a step for each character
_SHOWN = 300  # characters of what does not fit

_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class _TooMuch(Exception):
    """The schema asks for too much work."""


class JsonSchema:
    """A JSON Schema with those that it refers to. For one thread at a time."""

    format = "json_schema"

    def __init__(self, texts: Sequence[tuple[str, str]]) -> None:
        """`texts`: names and JSON of schemas, the last one is that of the values. Raises InvalidRecord."""
        self._left = 0
        try:
            read = [(name, msgspec.json.decode(text)) for name, text in texts]
            others = [(name, Resource.from_contents(one, default_specification=DRAFT7)) for name, one in read[:-1]]
            schema = read[-1][1]
            base = validators.validator_for(schema, default=validators.Draft7Validator)
            keywords = {name: self._counted(keyword) for name, keyword in {**base.VALIDATORS, **_OWN}.items()}
            bounded = validators.extend(base, keywords)  # type: ignore[no-untyped-call]
            self._validator = bounded(schema, registry=Registry().with_resources(others))
        except Exception as error:  # what odd schemas make of the library's code
            raise InvalidRecord(f"it is no JSON Schema: {type(error).__name__}: {one_line(error, 200)}") from None

    def read(self, data: bytes) -> object:
        """The value, which is JSON. Raises InvalidRecord."""
        value = parse_json(data)
        self._left = _MOST_STEPS
        try:
            error = next(iter(self._validator.iter_errors(value)), None)
        except _TooMuch:
            raise InvalidRecord("its schema asks for too much work") from None
        except RecursionError:
            raise InvalidRecord("its schema, or its value, is nested too deeply") from None
        except Exception as failed:  # what odd schemas make of the library's code
            words = one_line(failed, 200)
            raise InvalidRecord(f"cannot be held to its schema: {type(failed).__name__}: {words}") from None
        if error is not None:
            raise InvalidRecord(f"does not fit its schema: {one_line(f'{error.json_path}: {error.message}', _SHOWN)}")
        return value

    def _counted(self, keyword: _Keyword) -> _Keyword:
        searches = _SEARCHES.get(keyword, _no_searches)

        def count(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            self._left -= 1 + _size(value) + _size(instance) + searches(value, instance, schema)
            if self._left < 0:
                raise _TooMuch
            yield from keyword(validator, value, instance, schema) or ()

        return count


def _size(value: object) -> int:
    return len(value) if isinstance(value, str | list | dict) else 0


def _finds(pattern: str, text: str) -> bool:
    """Whether a pattern is found; one that RE2 does not know counts as found."""
    try:
        return re2.search(pattern, text) is not None
    except re2.error:
        return True


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _finds(pattern, instance):
        yield ValidationError(f"does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, below in patterns.items():
            for name, value in instance.items():
                if _finds(pattern, name):
                    yield from validator.descend(value, below, path=name, schema_path=pattern)


def _additional_properties(validator: Any, below: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in known or any(_finds(pattern, name) for pattern in patterns):
            continue
        if below is False:
            yield ValidationError(f"{name!r} is not among its properties")
        elif isinstance(below, dict):
            yield from validator.descend(value, below, path=name)


def _unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if unique and isinstance(instance, list):
        encoded = {msgspec.json.encode(one, order="deterministic") for one in instance}
        if len(encoded) < len(instance):
            yield ValidationError("has members that are the same")


def _not_looked_at(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    return


def _no_searches(value: object, instance: object, schema: object) -> int:
    return 0


def _searches_by(patterns: object, instance: object) -> int:
    """The steps of looking for each pattern in each name."""
    if not isinstance(instance, dict):
        return 0
    return _size(patterns) * (_SEARCH_STEPS * len(instance) + sum(map(len, instance)))


# By keyword, the steps of the patterns that it looks for besides those of its value and the instance.
_SEARCHES: dict[_Keyword, Callable[[Any, Any, Any], int]] = {
    _pattern_properties: lambda patterns, instance, schema: _searches_by(patterns, instance),
    _additional_properties: lambda below, instance, schema: _searches_by(schema.get("patternProperties"), instance),
}

_OWN: dict[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    "unevaluatedProperties": _not_looked_at,
    "unevaluatedItems": _not_looked_at,
}
