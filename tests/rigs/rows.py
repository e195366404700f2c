"""Which test shows which row of the predecessor: `python -m pytest --collect-only -q -p tests.rigs.rows` adds a line for each."""

import pytest

LINE = "shown: "


def pytest_collection_finish(session: pytest.Session) -> None:
    """Prints `shown: S-33 tests/filters/test_keywords.py::test_…` for each mark of each test."""
    for item in session.items:
        for mark in item.iter_markers("predecessor"):
            for row in mark.args:
                print(f"{LINE}{row} {item.nodeid}")
