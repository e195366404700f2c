"""Messages as parsed JSON, and the id of one that came without."""

from typing import Any

import pytest

from notifier.errors import InvalidRecord, NotifierError, UnsupportedVersion
from notifier.message import check_message_object, topic_id
from tests.rigs.tables import table


def test_a_message_object_is_checked_and_kept_as_it_is() -> None:
    value = {"producer": "ci", "content": "x", "extra": {"a": [1, None]}}
    assert check_message_object(value) is value


class _Endless(dict[str, Any]):
    """Holds itself."""


def _endless() -> dict[str, Any]:
    value = _Endless(producer="ci", content="x")
    value["extra"] = [value]
    return value


@pytest.mark.predecessor("S-31", "S-34")
@table(
    ("a list", [], InvalidRecord, "a message is a JSON object"),
    ("a number for a text", {"producer": "ci", "content": 5}, InvalidRecord, "$.content"),
    ("a lone surrogate", {"producer": "ci", "content": "\ud800"}, InvalidRecord, "lone surrogate"),
    ("one that is passed on", {"producer": "ci", "content": "x", "e": "\ud800"}, InvalidRecord, "passed on"),
    ("what is not JSON", {"producer": "ci", "content": "x", "e": {1, object()}}, InvalidRecord, "passed on"),
    ("what holds itself", _endless(), InvalidRecord, "passed on"),
    ("a newer version", {"v": 2, "producer": "ci", "content": "x"}, UnsupportedVersion, "version 2"),
)
def test_a_message_object_that_cannot_be_a_record_is_refused(row: tuple[object, type[NotifierError], str]) -> None:
    value, error, text = row
    with pytest.raises(error) as caught:
        check_message_object(value)
    assert text in str(caught.value)


def test_a_message_without_id_gets_one_from_where_it_lies() -> None:
    assert topic_id(3, 17, 1_764_000_000_000) == "3-17-1764000000000"
