"""Renames: whether a webhook is about a producer's repository under another name.

GitHub sends the name of now, while the definition keeps the name of then. A repository that is renamed or moved keeps its id,
and the old name leads to it as long as no other repository takes that name. So GitHub is asked what the name in the
definition leads to, once an hour at most. What was found, and what is passed over, is logged once.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from notifier.errors import NotifierError
from producers.github.payload import text_at
from producers.github.repository import Repository, former_name, repository_in

logger = logging.getLogger(__name__)

ASK_S = 5.0  # GitHub gives up a webhook after 10 seconds
_KNOWN_S = 3600.0
_UNKNOWN_S = 300.0  # until GitHub is asked again where it did not answer
_MAX_TOLD = 10_000  # pairs of names that were logged; then they are logged again

Ask = Callable[[], Awaitable[Repository | None]]  # what the name leads to; None: the service does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    repository: Repository | None  # none: GitHub did not say
    until: float  # of the loop's clock
    why: str = ""


class Renames:
    """Knows which repositories the names in producers lead to."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], _Answer] = {}  # by producer and name
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: set[tuple[str, str, str]] = set()

    async def refusal(self, producer: str, name: str, payload: Mapping[str, Any], ask: Ask) -> str | None:
        """Why a webhook is not about the repository of that name, in words; None: it is.

        `ask` is called within a time limit; it may raise NotifierError.
        """
        other = repository_in(payload)
        if other is None or other.name.lower() == name.lower():
            return None
        former, until = former_name(payload), asyncio.get_running_loop().time() + _KNOWN_S
        if former is not None and former.lower() == name.lower():
            self._answers[producer, name] = _Answer(repository=other, until=until)
        answer = await self._ask(producer, name, ask)
        key = (producer, name, other.name)
        if answer.repository is not None and answer.repository.is_same(other):
            text = (
                f"The repository {name} of the producer {producer} is {other.name} now; write that as its `repository`."
            )
            self._tell(key, logging.WARNING, text)
            return None
        why = f"it is about {other.name}, and the producer {producer} about {name}"
        if answer.repository is not None:
            self._tell(key, logging.INFO, f"A webhook is passed over: {why}.")
            return f"passed over: {why}"
        why += "; if that was renamed, write the new name as its `repository`"
        self._tell(key, logging.WARNING, f"A webhook is passed over: {why} (GitHub cannot be asked: {answer.why}).")
        return f"passed over: {why}"

    async def _ask(self, producer: str, name: str, ask: Ask) -> _Answer:
        key, clock = (producer, name), asyncio.get_running_loop().time
        async with self._locks[key]:
            known = self._answers.get(key)
            if known is None or known.until <= clock():
                known = await _answer(ask)
                self._answers[key] = known
            return known

    def _tell(self, key: tuple[str, str, str], level: int, text: str) -> None:
        """Logs it, once for each pair of names."""
        if key in self._told:
            return
        if len(self._told) >= _MAX_TOLD:
            self._told.clear()
        self._told.add(key)
        logger.log(level, "%s", text, extra={"action": "take_webhook", "producer": key[0]})


async def _answer(ask: Ask) -> _Answer:
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(ASK_S):
            found = await ask()
    except (NotifierError, TimeoutError) as error:
        return _Answer(repository=None, until=clock() + _UNKNOWN_S, why=str(error) or "it does not answer in time")
    return _Answer(repository=found, until=clock() + _KNOWN_S)


def refusal_of_organization(producer: str, organization: str, payload: Mapping[str, Any]) -> str | None:
    """Why a webhook is not about the organization, in words; None: it is, or names neither one nor a repository."""
    other = repository_in(payload)
    owner = text_at(payload, "organization", "login") if other is None else other.name.partition("/")[0]
    if owner is None or owner.lower() == organization.lower():
        return None
    about = owner if other is None else other.name
    return f"passed over: it is about {about}, and the producer {producer} about the organization {organization}"
