"""Keywords: drop, or keep, messages whose content contains a keyword. The title is not searched."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pydantic import Field

from filters.texts import Texts
from filters.wording import listed, quoted
from notifier.message import Message
from notifier.plugin import Candidate, Filter, FilterParameters

_IGNORE_CASE = "Take upper and lower case for the same."


class KeywordsParameters(FilterParameters):
    """Parameters of both filters."""

    ignore_case: bool = Field(False, description=_IGNORE_CASE)


class SkipKeywordsParameters(KeywordsParameters):
    """Parameters of `skip_keywords`."""

    skip_keywords: Texts = Field(
        description="Texts of which none may occur in the content, inside a word neither.", examples=[["draft", "wip"]]
    )


class KeepKeywordsParameters(KeywordsParameters):
    """Parameters of `keep_keywords`."""

    keep_keywords: Texts = Field(
        description="Texts of which at least one must occur in the content, if only inside a word.",
        examples=[["failed", "down"]],
    )


K = TypeVar("K", bound=KeywordsParameters)


class _Keywords(Filter[K]):
    def __init__(self, parameters: K, given: tuple[str, ...]) -> None:
        super().__init__(parameters)
        self.ignore_case = parameters.ignore_case
        self.given = given  # as people wrote them
        self.keywords = tuple(map(str.casefold, given)) if self.ignore_case else given  # as they are searched for

    def found(self, content: str) -> str | None:
        """The first keyword that occurs in the content, as people wrote it; None without a match."""
        if self.ignore_case:
            content = content.casefold()
        return next((self.given[i] for i, keyword in enumerate(self.keywords) if keyword in content), None)

    def finding(self, candidate: Candidate) -> str:
        found = self.found(candidate.message.content)
        if found is None:
            return f"the content contains none of {listed(self.given)}{self._case}"
        return f"the content contains {quoted(found)}{self._case}"

    @property
    def _case(self) -> str:
        return ", in upper or lower case" if self.ignore_case else ""


class SkipKeywords(_Keywords[SkipKeywordsParameters]):
    """Drops a message when one of the keywords occurs anywhere in its content, inside a word too.

    Case matters unless `ignore_case` is set. The title is not searched.
    """

    type = "skip_keywords"
    Parameters = SkipKeywordsParameters

    def __init__(self, parameters: SkipKeywordsParameters) -> None:
        super().__init__(parameters, parameters.skip_keywords)

    def accepts(self, candidate: Candidate) -> bool:
        return self.found(candidate.message.content) is None

    def test(self) -> Callable[[Message], bool]:
        return partial(_is_none_in_any_case if self.ignore_case else _is_none, self.keywords)

    def clause(self) -> str:
        return f"the content contains none of {listed(self.given)}{self._case}"


class KeepKeywords(_Keywords[KeepKeywordsParameters]):
    """Lets a message pass only when one of the keywords occurs anywhere in its content, inside a word too.

    Case matters unless `ignore_case` is set. The title is not searched.
    """

    type = "keep_keywords"
    Parameters = KeepKeywordsParameters

    def __init__(self, parameters: KeepKeywordsParameters) -> None:
        super().__init__(parameters, parameters.keep_keywords)

    def accepts(self, candidate: Candidate) -> bool:
        return self.found(candidate.message.content) is not None

    def test(self) -> Callable[[Message], bool]:
        return partial(_is_one_in_any_case if self.ignore_case else _is_one, self.keywords)

    def clause(self) -> str:
        return f"the content contains {listed(self.given)}{self._case}"


# What `test` gives the router: module-level functions shared by all filters, bound to the keywords alone (`Filter.test`).


def _is_one(keywords: tuple[str, ...], message: Message) -> bool:
    content = message.content
    for keyword in keywords:  # noqa: SIM110 - `any` takes three times as long
        if keyword in content:
            return True
    return False


def _is_none(keywords: tuple[str, ...], message: Message) -> bool:
    content = message.content
    for keyword in keywords:  # noqa: SIM110 - as above
        if keyword in content:
            return False
    return True


def _is_one_in_any_case(keywords: tuple[str, ...], message: Message) -> bool:
    content = message.content.casefold()
    for keyword in keywords:  # noqa: SIM110 - as above
        if keyword in content:
            return True
    return False


def _is_none_in_any_case(keywords: tuple[str, ...], message: Message) -> bool:
    content = message.content.casefold()
    for keyword in keywords:  # noqa: SIM110 - as above
        if keyword in content:
            return False
    return True
