"""YAML 1.2's core schema, on PyYAML's parser: which plain words are null, truths and numbers; all others are text.

`18:00`, `on` and `2026-11-23` are text here; older YAML makes 1080, true and a date of them.
"""

import re  # for our own constant patterns; never for a person's
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"
_CORE = (  # tag, pattern, the characters it may begin with
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN"),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
)

_C_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it
_C_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_C_LOADER):  # type: ignore[misc]  # PyYAML chooses the class when it is imported
    """Composes nodes with the tags of the core schema. Nothing is constructed by PyYAML."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's name for its table


class _Dumper(_C_DUMPER):  # type: ignore[misc]  # as above
    """Quotes what either the core schema or an older YAML would not read as text; lines as literal blocks."""


for _name, _pattern, _first in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(TAG + _name, re.compile(_pattern), [*_first, *([""] if _name == "null" else [])])


def _represent_text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar(TAG + "str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _integer(text: str) -> int:
    return int(text, 8 if text.startswith("0o") else 16) if text.startswith(("0o", "0x")) else int(text)


_BOOLEANS = {"true": True, "false": False}
# What reads a scalar, by its tag without `TAG`. They raise ValueError or KeyError for a text that does not fit.
SCALARS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "null": lambda _: None,
    "bool": lambda text: _BOOLEANS[text.lower()],
    "int": _integer,
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
}


def compose(text: str) -> Iterator[yaml.Node]:
    """The root node of each document in the text. Raises yaml.YAMLError."""
    yield from yaml.compose_all(text, _Loader)


def dump(value: Any) -> str:
    """YAML that reads back to the same value, fields in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
