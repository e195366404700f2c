"""The console's words: every text has its translation."""

import re
from pathlib import Path
from typing import get_args

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from control_api.console.words import LANGUAGES, LOCALE, chosen_language, translations
from control_api.explain.explanation import ConfigurationVerdict, ConsumerVerdict, RecipientVerdict, StepVerdict
from notifier import run, status
from notifier.dead_letter import Stage
from notifier.outcome import Outcome, Reason, Trigger

WORDS = {
    word
    for vocabulary in (
        Outcome, Reason, Trigger, Stage, run.State, status.State,
        StepVerdict, ConsumerVerdict, RecipientVerdict, ConfigurationVerdict,
    )
    for word in get_args(vocabulary)
}  # fmt: skip
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}


def texts() -> set[str]:
    found = extract_from_dir(LOCALE.parent, METHODS, {"templates/**.html": {"trimmed": "true"}}, KEYWORDS)
    return {message if isinstance(message, str) else message[0] for _, _, message, _, _ in found}


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
def test_every_text_is_translated(language: str) -> None:
    with Path(LOCALE / f"{language}.po").open("rb") as file:
        catalog = read_po(file, locale=language)
    wanted = texts() | WORDS
    assert len(wanted) > 150
    for text in wanted:
        message = catalog.get(text)
        assert message is not None, text
        forms = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(forms), text
        assert len(forms) > 1 or placeholders(text) == placeholders(str(forms[0])), text
    kept = {message.id if isinstance(message.id, str) else message.id[0] for message in catalog if message.id}
    # Words of closed vocabularies, such as actions of the audit log, are looked up when a page is made.
    assert {text for text in kept - wanted if not text.replace("_", "").islower()} == set()


def placeholders(text: str) -> list[str]:
    return re.findall(r"%\(\w+\)s", text)


def test_the_first_language_that_there_is_is_chosen() -> None:
    assert chosen_language(None, "") == "en"
    assert chosen_language("ru", "en") == "ru"
    assert chosen_language("xx", "de, ru;q=0.4, en;q=0.3") == "ru"
    assert chosen_language(None, "ru;q=0") == "en"
    assert chosen_language(None, ";q=;," * 1000) == "en"
    assert (
        translations("ru").ngettext(
            "One thing is wrong; nothing was changed:", "%(num)s things are wrong; nothing was changed:", 5
        )
        % {"num": 5}
        == "Не подходят 5 мест; ничего не изменено:"
    )
