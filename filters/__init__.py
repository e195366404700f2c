"""Filters: which messages go on. One file per family.

`chain` asks the filters of a configuration in order; `decision` asks all configurations about a message.
"""

from typing import Any

from filters.expression import ExpressionFilter
from filters.keywords import KeepKeywords, SkipKeywords
from filters.labels import Labels
from filters.receiver import ReceiverExists, ReceiverWorking
from filters.regex import Regex
from filters.sender import Sender
from filters.severity import SeverityFilter
from notifier.plugin import Filter

BUILT_IN: tuple[type[Filter[Any]], ...] = (
    SkipKeywords,
    KeepKeywords,
    ReceiverExists,
    ReceiverWorking,
    SeverityFilter,
    Labels,
    Sender,
    Regex,
    ExpressionFilter,
)
