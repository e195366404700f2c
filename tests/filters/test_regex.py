"""`regex`: its fields, and what it says."""

from typing import Any

from tests.rigs.candidates import about, make, table

MESSAGE: dict[str, Any] = {
    "title": "Build",
    "sender": "octocat",
    "receiver": "alice",
    "url": "https://ci.example/7",
    "labels": {"team": "infra", "a.b": "c"},
}


@table(
    ("anywhere in the content", "content", "fail", True),
    ("by default", None, "^build failed$", True),
    ("fixed at the start", "content", "^failed", False),
    ("case matters", "content", "BUILD", False),
    ("case can be ignored", "content", "(?i)BUILD", True),
    ("in the title", "title", "^Build$", True),
    ("not in another field", "title", "failed", False),
    ("in the sender", "sender", "^octo", True),
    ("in the receiver", "receiver", "^alice$", True),
    ("in the address", "url", r"^https://ci\.example/\d+$", True),
    ("in a label", "labels.team", "^inf", True),
    ("in a label with a dot in its name", "labels.a.b", "^c$", True),
    ("a missing label is empty", "labels.nope", "^$", True),
    ("a missing label holds nothing", "labels.nope", ".", False),
    ("letters of any script", "content", r"^\pL+ \pL+$", True),
)
def test_regex(row: tuple[str | None, str, bool]) -> None:
    field, pattern, passes = row
    filter_ = make("regex", pattern=pattern, **({} if field is None else {"field": field}))
    assert filter_.passes(about(**MESSAGE)) is passes


def test_a_missing_field_is_empty_to_a_regex() -> None:
    filter_ = make("regex", pattern="x", field="title")
    assert filter_.says(about()) == "drops: the title, which is empty, does not match 'x'"
