"""Standing: whether a consumer can be used now, by the newest definitions.

Its instance is lent by `streams.delivery.calling`; what follows from a standing is decided in `streams.delivery.partition`
and `streams.delivery.parking`.
"""

import time
from collections.abc import Collection
from typing import Literal

from notifier.catalog import Catalog
from notifier.definition import definition_key

DELETED_AFTER_S = 3.0  # a delivery may arrive a moment before the definition of its consumer

# `broken`: defined, and the definition cannot be used. `unknown`: not defined, and may be in a moment. `disabled`: it was
# paused for too long.
Standing = Literal["usable", "broken", "disabled", "deleted", "unknown"]


class Standings:
    """The standing of every consumer by name. `follow` takes each new catalog."""

    def __init__(self, catalog: Catalog, disabled: Collection[str] = frozenset()) -> None:
        """`disabled`: names of consumers, as they are at any time."""
        self._catalog = catalog
        self._disabled = disabled
        self._missing: dict[str, float] = {}  # consumer → since when it is not defined, `time.monotonic()`

    def follow(self, catalog: Catalog) -> None:
        """Takes a new catalog."""
        before, self._catalog = self._catalog, catalog
        for name in before.consumers:
            if not self._defined(name):
                self._missing.setdefault(name, time.monotonic())
        for name in [name for name in self._missing if self._defined(name)]:
            del self._missing[name]

    def of(self, name: str) -> Standing:
        """The standing of a consumer now."""
        if name in self._catalog.consumers:
            return "disabled" if name in self._disabled else "usable"
        if self._defined(name):
            return "broken"
        return "deleted" if self.missing_s(name) >= DELETED_AFTER_S else "unknown"

    def missing_s(self, name: str) -> float:
        """For how many seconds a consumer has been seen undefined; 0 for a defined one."""
        if self._defined(name):
            return 0.0
        return time.monotonic() - self._missing.setdefault(name, time.monotonic())

    def problem(self, name: str) -> str:
        """Why a `broken` consumer cannot be used."""
        return self._catalog.problems.get(definition_key("consumer", name), "")

    def _defined(self, name: str) -> bool:
        return name in self._catalog.consumers or definition_key("consumer", name) in self._catalog.problems
