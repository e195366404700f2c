"""What is wrong with any field of any definition is told in our words, at a place that is in the document."""

import re
from typing import Any, get_args

import pytest

from control_api.registry import load_registry
from notifier.definition import SPECS, read_spec
from notifier.errors import FieldError, InputError
from notifier.outcome import Kind
from notifier.plugin import PluginKind
from notifier.pointer import pointer_parts
from notifier.registry import Registry

ODD: tuple[Any, ...] = (
    None, True, 7, -1, 2**70, 1.5, float("inf"), "", "x", "@x", "x" * 30_000, [], [None], [[]], ["x", 5, {}], {}, {"a": 1},
    {"start": 5, "end": "25:00", "days": [1], "timezone": None}, {"cron": 5, "missed": 3}, {"minute": [], "hour": {}},
)  # fmt: skip
# Words of Pydantic, msgspec, Python and the names of kinds within a union.
FOREIGN = re.compile(
    r"\bInput\b|\bshould\b|pydantic|\bvalid\b|constrained|function-|literal\[|type=|<class|Error|Tuple|String|List\b|"
    r"[Dd]ictionary|integer|Decimal|\bunion\b|\bitems? after\b|msgspec|Expected"
)


def _check(written: object, errors: tuple[FieldError, ...]) -> None:
    for error in errors:
        assert not FOREIGN.search(error.detail), error
        assert error.detail
        *above, last = pointer_parts(error.pointer) or [""]
        part: Any = {"": written} if not error.pointer else written
        for name in above:
            part = part[int(name)] if isinstance(part, list) else part[name]
        is_there = last in part if isinstance(part, dict) else isinstance(part, list) and int(last) < len(part)
        assert is_there or (isinstance(part, dict) and error.detail == "is required"), (written, error)
    assert len({error.pointer for error in errors}) == len(errors)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize("kind", get_args(PluginKind))
def test_parameters(registry: Registry, kind: PluginKind) -> None:
    for type_ in registry.types(kind):
        for field in registry.get(kind, type_).Parameters.model_fields:
            for odd in ODD:
                try:
                    registry.check(kind, type_, {field: odd})
                except InputError as error:
                    _check({"parameters": {field: odd}}, error.errors)


@pytest.mark.parametrize("kind", SPECS)
def test_specs(kind: Kind) -> None:
    for field in SPECS[kind].model_fields:
        for odd in ODD:
            try:
                read_spec(kind, {field: odd})
            except InputError as error:
                _check({field: odd}, error.errors)
