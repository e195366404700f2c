"""Language: the languages of the words that people are told in beside what a message says."""

from typing import Literal, TypeAlias

Language: TypeAlias = Literal["en", "ru"]
USUAL_LANGUAGE: Language = "en"  # of whom nobody says another one
