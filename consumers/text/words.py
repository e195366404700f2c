"""Words: what texts say of themselves, in the languages of their readers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from notifier.language import Language
from notifier.outcome import Severity


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one language. Names and numbers take the places in braces."""

    from_to: str
    from_: str
    to: str
    severity: str
    severities: Mapping[Severity, str]
    more: str  # labels than are shown
    left_out: str  # characters, of a text that was cut


WORDS: Mapping[Language, Words] = {
    "en": Words(
        from_to="From {} to {}: ",
        from_="From {}: ",
        to="To {}: ",
        severity="Severity",
        severities={
            "debug": "debug",
            "info": "info",
            "warning": "warning",
            "error": "error",
            "critical": "critical",
        },
        more="… {} more labels",
        left_out="… {} characters are left out",
    ),
    "ru": Words(
        from_to="От {} для {}: ",
        from_="От {}: ",
        to="Для {}: ",
        severity="Важность",
        severities={
            "debug": "отладка",
            "info": "сведения",
            "warning": "предупреждение",
            "error": "ошибка",
            "critical": "критическая ошибка",
        },
        more="… ещё меток: {}",
        left_out="… пропущено символов: {}",
    ),
}


def left_out(language: Language) -> Callable[[int], str]:
    """The note for `consumers.text.splitting.cut_marked`."""
    return WORDS[language].left_out.format
