"""Interpreter: evaluates JMESPath within a budget. Compiling and the rules for people are `expression`'s.

A text or list may stand in a value a million times and take no memory, so what would write it out, compare it or join it is
weighed before.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from producers.payload_mapping.budget import LIST_STEP, TEXT_STEP, Budget

_PARSED_CHARACTERS = 1_000_000  # that `parse_json` reads


class OurFunctions(Functions):
    """JMESPath's own functions, and ours: `header`, `payload`, `concat`, `lower` and `parse_json`."""

    def __init__(self, payload: object, headers: Mapping[str, str], budget: Budget) -> None:
        self._payload = payload
        self._headers = headers
        self._budget = budget

    @signature()
    def _func_payload(self) -> object:
        return self._payload

    @signature({"types": ["string"]})
    def _func_header(self, name: str) -> str | None:
        return self._headers.get(name.lower())

    @signature({"types": [], "variadic": True})
    def _func_concat(self, *parts: object) -> str | None:
        if any(part is None for part in parts):
            return None
        self._budget.weigh(list(parts))
        return "".join(one if isinstance(one, str) else _json(one) for one in parts)

    @signature({"types": ["string", "null"]})
    def _func_lower(self, text: str | None) -> str | None:
        return None if text is None else text.lower()

    @signature({"types": []})
    def _func_parse_json(self, text: object) -> object:
        if not isinstance(text, str) or len(text) > _PARSED_CHARACTERS:
            return None
        self._budget.spend(len(text) // LIST_STEP)
        try:
            return json.loads(text)
        except ValueError:
            return None

    # Of the library's, those whose result may be far larger than what they are given.

    @signature({"types": []})
    def _func_to_string(self, value: object) -> str:
        self._budget.weigh(value)
        return value if isinstance(value, str) else _json(value)

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, parts: Sequence[str]) -> str:
        self._budget.spend((sum(map(len, parts)) + len(separator) * len(parts)) // TEXT_STEP)
        return separator.join(parts)

    @signature({"types": ["array", "string"]}, {"types": []})
    def _func_contains(self, subject: str | Sequence[object], search: object) -> bool:
        self._budget.weigh(subject)
        self._budget.weigh(search)
        if isinstance(subject, str):
            return isinstance(search, str) and search in subject
        return search in subject


class Interpreter(TreeInterpreter):
    """Evaluates a compiled expression. Raises Exhausted, and whatever the library raises for odd values."""

    def __init__(self, payload: object, headers: Mapping[str, str], budget: Budget) -> None:
        super().__init__(Options(custom_functions=OurFunctions(payload, headers, budget)))
        self._budget = budget

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """The value of a node."""
        self._budget.spend(1)
        result = super().visit(node, *args, **kwargs)
        if result is not args[0]:
            self._budget.copied(result)
        return result

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """Weighs what is compared: lists that hold each other many times would be compared as many times."""
        sides = [self.visit(side, value) for side in node["children"]]
        for side in sides:
            self._budget.weigh(side)
        literals = [{"type": "literal", "value": side, "children": []} for side in sides]
        again: Any = {**node, "children": literals}
        return super().visit_comparator(again, value)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """Weighs the members before they are put into one list."""
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._budget.spend(sum(len(one) if isinstance(one, list) else 1 for one in base) // LIST_STEP)
        literal = {"type": "literal", "value": base, "children": []}
        again: Any = {**node, "children": [literal]}
        return super().visit_flatten(again, value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
