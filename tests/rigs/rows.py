"""Which test shows which row of the predecessor: `python -m pytest --collect-only -q -p tests.rigs.rows` adds a line for each."""

from collections.abc import Iterable, Iterator

import pytest

LINE = "shown: "


def shown(items: Iterable[pytest.Item]) -> Iterator[tuple[str, str]]:
    """The row and the test of each mark."""
    for item in items:
        for mark in item.iter_markers("predecessor"):
            for row in mark.args:
                yield row, item.nodeid


def pytest_collection_finish(session: pytest.Session) -> None:
    """Prints `shown: S-33 tests/filters/test_keywords.py::test_…` for each mark of each test."""
    for row, test in shown(session.items):
        print(f"{LINE}{row} {test}")
