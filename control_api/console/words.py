"""Words: the console's texts in its languages, by gettext.

English is the source. `locale/<language>.po` holds each other one as translators edit it; it is compiled when it is first asked
for. A text without a translation is shown in English.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

LOCALE = Path(__file__).parent / "locale"
LANGUAGES: Mapping[str, str] = {"en": "English", "ru": "Русский"}
_SOURCE = "en"
_MAX_HEADER = 500  # characters of `Accept-Language` that are looked at


@cache
def translations(language: str) -> NullTranslations:
    """The texts of a language."""
    if language == _SOURCE:
        return NullTranslations()
    from babel.messages.mofile import write_mo  # takes long to import, and English needs none
    from babel.messages.pofile import read_po

    compiled = BytesIO()
    with (LOCALE / f"{language}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def chosen_language(chosen: str | None, accepted: str) -> str:
    """The language that the reader chose, else the first of `Accept-Language` that there is, else English."""
    if chosen is not None and chosen in LANGUAGES:
        return chosen
    wanted: list[tuple[float, str]] = []
    for part in accepted[:_MAX_HEADER].split(","):
        name, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((float(quality or 1), name.partition("-")[0].lower()))
        except ValueError:
            continue
    found = [name for quality, name in sorted(wanted, key=lambda one: -one[0]) if quality > 0 and name in LANGUAGES]
    return found[0] if found else _SOURCE


def time_in_words(at: datetime, language: str, zone: ZoneInfo) -> str:
    """A moment in the reader's zone, to the second: `29 Nov 2026, 18:05:09`."""
    from babel.dates import format_datetime

    return format_datetime(at.astimezone(zone), "d MMM y, HH:mm:ss", locale=language)


def number_in_words(number: float, language: str) -> str:
    """A number with the separators of the language."""
    from babel.numbers import format_decimal

    return format_decimal(number, locale=language)
