"""Tables: tests that run once for each named row."""

from collections.abc import Callable
from typing import Any

import pytest


def table(*rows: tuple[Any, ...]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Runs a test once for each row; the row's first column is its name."""
    return pytest.mark.parametrize("row", [row[1:] for row in rows], ids=[row[0] for row in rows])
