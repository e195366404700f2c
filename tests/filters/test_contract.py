"""Each built-in filter keeps the contract, whatever it is asked about."""

from typing import Any

import pytest

from filters import BUILT_IN
from notifier.testing import Judged, candidates, hold_filter
from tests.rigs.candidates import make

FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("skip_keywords", {"skip_keywords": ["wip", "a" * 1000], "ignore_case": True}),
    ("keep_keywords", {"keep_keywords": ["failed"]}),
    ("receiver_exists", {}),
    ("receiver_working", {}),
    ("severity", {"at_least": "warning"}),
    ("labels", {"matchers": ["team=infra"]}),
    ("labels", {"matchers": ["team=~inf.*", "env!=test"]}),
    ("sender", {"senders": ["bob", "octocat"]}),
    ("regex", {"pattern": "(?i)build .*failed", "field": "content"}),
    ("regex", {"pattern": "^$", "field": "labels.env"}),
    ("expression", {"expression": "message.severity == 'error' && message.content.contains('failed')"}),
    ("expression", {"expression": "recipient.working || now.getHours(recipient.timezone) < 3"}),
]


def test_every_filter_is_held_to_the_contract() -> None:
    assert {type_ for type_, _ in FILTERS} == {plugin.type for plugin in BUILT_IN}


@pytest.mark.parametrize("judged", candidates(), ids=str)
@pytest.mark.parametrize(("type_", "parameters"), FILTERS)
def test_filters(type_: str, parameters: dict[str, Any], judged: Judged) -> None:
    straight = hold_filter(make(type_, **parameters), judged)
    assert hold_filter(make(type_, **parameters, negate=True), judged) is not straight
