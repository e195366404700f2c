"""The plugin types of the control API: built-in ones and those that installed packages announce."""

import consumers
import filters
import producers
from notifier.registry import Registry


def load_registry() -> Registry:
    """All plugin types. Entry points are read on each call, so call it once for each process."""
    return Registry((*producers.BUILT_IN, *filters.BUILT_IN, *consumers.BUILT_IN)).with_installed()
