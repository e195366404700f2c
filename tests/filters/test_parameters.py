"""The parameters of all filters: what is refused, in which words, and that each is described."""

from typing import Any

import pytest

from filters import BUILT_IN
from notifier.errors import InputError
from notifier.plugin import Filter
from tests.rigs.candidates import REGISTRY, about, make, table


@pytest.mark.predecessor("S-33")
@table(
    ("no keywords at all", "skip_keywords", {}, "/parameters/skip_keywords: is required"),
    ("an empty list", "skip_keywords", {"skip_keywords": []}, "/parameters/skip_keywords: needs at least one text"),
    (
        "a plain text",
        "keep_keywords",
        {"keep_keywords": "down"},
        "/parameters/keep_keywords: must be a list of texts; write ['down']",
    ),
    (
        "a plain text to skip",
        "skip_keywords",
        {"skip_keywords": "wip"},
        "/parameters/skip_keywords: must be a list of texts; write ['wip']",
    ),
    (
        "an empty keyword to skip",
        "skip_keywords",
        {"skip_keywords": ["wip", ""]},
        "/parameters/skip_keywords/1: must not be empty; an empty text is found in everything, so take it out",
    ),
    (
        "an empty keyword",
        "keep_keywords",
        {"keep_keywords": ["a", ""]},
        "/parameters/keep_keywords/1: must not be empty; an empty text is found in everything, so take it out",
    ),
    (
        "a number",
        "skip_keywords",
        {"skip_keywords": [1]},
        "/parameters/skip_keywords/0: must be text; put it in quotes",
    ),
    ("null", "sender", {"senders": None}, "/parameters/senders: must be a list"),
    ("no senders", "sender", {"senders": []}, "/parameters/senders: needs at least one text"),
    (
        "an unknown severity",
        "severity",
        {"at_least": "fatal"},
        "/parameters/at_least: must be 'debug', 'info', 'warning', 'error' or 'critical'",
    ),
    (
        "holding",
        "receiver_working",
        {"outside": "hold"},
        "/parameters/outside: holding a message back is not possible yet; write drop",
    ),
    ("another parameter", "receiver_exists", {"negat": True}, "/parameters/negat: is not a field here"),
    (
        "another way out",
        "receiver_exists",
        {"on_error": "drop"},
        "/parameters/on_error: must be 'dead_letter' or 'pass'",
    ),
    ("half a truth", "receiver_exists", {"negate": "perhaps"}, "/parameters/negate: must be true or false"),
    (
        "an open bracket",
        "regex",
        {"pattern": "("},
        "/parameters/pattern: is not a regular expression in RE2 syntax: missing ): (",
    ),
    (
        "what would backtrack",
        "regex",
        {"pattern": r"(a)\1"},
        r"/parameters/pattern: is not a regular expression in RE2 syntax: invalid escape sequence: \1",
    ),
    (
        "a long pattern",
        "regex",
        {"pattern": "a" * 1001},
        "/parameters/pattern: is longer than 1000 characters; shorten it or use several filters",
    ),
    (
        "a costly pattern",
        "regex",
        {"pattern": r"\pL{900}"},
        "/parameters/pattern: is too costly to search for; repeat less, or repeat smaller parts",
    ),
    (
        "an empty pattern",
        "regex",
        {"pattern": ""},
        "/parameters/pattern: must not be empty; an empty pattern is found in everything",
    ),
    (
        "another field",
        "regex",
        {"pattern": "a", "field": "body"},
        "/parameters/field: 'body' is not a field that can be searched;"
        " write content, title, sender, receiver, url or labels.<name>",
    ),
    (
        "matchers as one text",
        "labels",
        {"matchers": "a=b"},
        "/parameters/matchers: must be a list of matchers; write ['a=b']",
    ),
    ("no matchers", "labels", {"matchers": []}, "/parameters/matchers: needs at least one matcher"),
    (
        "a matcher with a bad expression",
        "labels",
        {"matchers": ["a=b", "c=~["]},
        "/parameters/matchers/1: '[' is not a regular expression in RE2 syntax: missing ]: [;"
        " a value that holds a comma needs quotation marks",
    ),
)
def test_a_wrong_parameter_is_refused_in_words_of_its_own(row: tuple[str, dict[str, Any], str]) -> None:
    type_, parameters, text = row
    with pytest.raises(InputError) as caught:
        REGISTRY.check("filter", type_, parameters)
    assert str(caught.value) == text


@pytest.mark.parametrize("plugin", BUILT_IN, ids=lambda plugin: plugin.type)
def test_every_filter_is_described(plugin: type[Filter[Any]]) -> None:
    assert plugin.describe().endswith(".")
    schema = plugin.Parameters.model_json_schema()
    assert schema["additionalProperties"] is False
    assert {"negate", "on_error"} <= schema["properties"].keys()
    for name, field in schema["properties"].items():
        assert field.get("description"), name
    examples = {name: field["examples"][0] for name, field in schema["properties"].items() if "examples" in field}
    filter_ = make(plugin.type, **examples)
    assert filter_.clause()
    assert filter_.finding(about())
