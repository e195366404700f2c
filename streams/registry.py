"""The plugin types that the data plane knows: our own and the installed ones."""

from consumers import BUILT_IN as CONSUMERS
from filters import BUILT_IN as FILTERS
from notifier.registry import Registry
from producers import BUILT_IN as PRODUCERS


def load_registry() -> Registry:
    """The built-in plugins and those that installed packages announce; one that cannot be loaded is logged and left out."""
    return Registry((*PRODUCERS, *FILTERS, *CONSUMERS)).with_installed()
