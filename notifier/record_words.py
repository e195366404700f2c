"""Record words: what msgspec finds wrong with a record, in the words of whoever wrote it. The one place that knows its findings.

Expected `str`, got `int` - at `$.labels[...]`  →  labels, "a value must be text, not a number"
"""

import re  # for our own constant patterns; never for a person's
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from notifier.outcome import SEVERITIES

_PLACE = re.compile(r" - at `(?:key in )?\$\.?(?P<place>.*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<field>.+)`")
_TYPES = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<given>[^`]+)`")
_LENGTH = re.compile(r"Expected `str` of length (?P<sign>>=|<=) (?P<length>[0-9]+)")
_RANGE = re.compile(r"Expected `(?:int|float)` (?P<sign>>=|<=) (?P<bound>.+)")
_WORDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "datetime": "a time such as 2026-11-23T09:00:00Z",
}


class Finding(NamedTuple):
    """What is wrong with a part of a record."""

    place: tuple[str, ...]  # the names and positions down to it; empty: the record itself
    words: str  # to be read behind the place: "must be text, not a number"


def finding(error: str, *, below: tuple[str, ...] = ()) -> Finding:
    """The finding that msgspec's text tells, of a part `below` the record; the text itself where it is none of msgspec's."""
    found = _PLACE.search(error)
    text = error[: found.start()] if found else error
    path = found["place"] if found else ""
    any_value = path.endswith("[...]")  # msgspec does not say which
    parts = path.removesuffix("[...]").replace("[", ".").replace("]", "").split(".")
    place = (*below, *filter(None, parts))
    if missing := _MISSING.fullmatch(text):
        return Finding((*place, missing["field"]), "is required")
    words = _words(text, place)
    return Finding(place, f"a value {words}" if any_value else words)


def findings(record: type[msgspec.Struct], value: Mapping[str, Any]) -> list[Finding]:
    """What is wrong with each field of an object, where msgspec tells the first alone; each field by itself."""
    found: list[Finding] = []
    for field in msgspec.structs.fields(record):
        if field.encode_name in value:
            try:
                msgspec.convert(value[field.encode_name], field.type, strict=True)
            except msgspec.ValidationError as error:
                found.append(finding(str(error), below=(field.encode_name,)))
        elif field.required:
            found.append(Finding((field.encode_name,), "is required"))
    return found


def _words(text: str, place: tuple[str, ...]) -> str:
    if types := _TYPES.fullmatch(text):
        wanted = [_WORDS.get(word, word) for word in types["wanted"].split(" | ") if word != "null"]
        return f"must be {' or '.join(wanted)}, not {_WORDS.get(types['given'], types['given'])}"
    if length := _LENGTH.fullmatch(text):
        if length["sign"] == ">=":
            return "must not be empty"
        return f"is too long: it may have {length['length']} characters"
    if bound := _RANGE.fullmatch(text):
        return f"must be at {'least' if bound['sign'] == '>=' else 'most'} {bound['bound']}"
    if text.startswith("Invalid enum value") and place[-1:] == ("severity",):
        return f"must be {', '.join(SEVERITIES[:-1])} or {SEVERITIES[-1]}"
    if text.startswith("Expected `datetime` with a timezone"):
        return "must be a time with a zone, such as 2026-11-23T09:00:00Z"
    if text.startswith("Invalid RFC3339"):
        return "must be a time such as 2026-11-23T09:00:00Z"
    return text
