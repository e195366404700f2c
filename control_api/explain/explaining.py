"""Explaining: finds the message and the definitions that a question is about, and puts the answer together.

index ─► topic ─► message ─┐
audit log ─► catalog ──────┴─► explainer ─► rendering ─► answer, beside what the history says happened
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from consumers.text.template import Renderer
from control_api.access.actor import COMMAND_LINE, Actor
from control_api.access.teams import Hidden, hidden_from
from control_api.definitions.catalogs import Catalogs
from control_api.explain.draft import with_draft
from control_api.explain.explainer import Explained, Question, explain, person_of
from control_api.explain.finding import Found, given, on_topic, shown
from control_api.explain.happened import happened, in_words
from control_api.explain.query import ConfigurationExplainQuery, ExplainQuery, MessageQuery, check_query
from control_api.explain.rendering import Rendering
from control_api.history.message_index import places
from control_api.history.message_reader import MessageReader
from notifier.catalog import Catalog
from notifier.database import Database
from notifier.errors import FieldError, InputError, UnknownName
from notifier.record import JsonObject, rfc3339
from notifier.registry import Registry
from notifier.settings import Settings

_MAX_LEAVES = 50  # people of whom it is looked up since when they are on leave
_THEN, _NOW = "then", "now"


@dataclass(frozen=True, kw_only=True)
class _Basis:
    """By which definitions, and as of which moment."""

    as_of: str  # `then`, `now` or a time
    revision: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What may be named: what one of the catalogs knows, and is not hidden."""

    catalogs: tuple[Catalog, ...]
    hidden: Hidden

    def check(
        self, query: ConfigurationExplainQuery, found: Found, configuration: str | None, *, named_in_path: bool
    ) -> None:
        """Refuses a configuration or a person that may not be named."""
        if configuration is not None and not self._has(configuration):
            if named_in_path:
                raise UnknownName("configuration", configuration)
            raise InputError(FieldError("/configuration", f"there is no configuration {configuration!r}"))
        if query.receiver is not None and not self._has_person(query.receiver, found.told.message.producer):
            raise InputError(FieldError("/receiver", f"there is no user {query.receiver!r}"))

    def _has(self, configuration: str) -> bool:
        known = any(_knows(catalog, configuration) for catalog in self.catalogs)
        return known and configuration not in self.hidden.of("configuration")

    def _has_person(self, name: str, producer: str) -> bool:
        people = [person_of(catalog, name, producer) for catalog in self.catalogs]
        return any(one is not None and one.username not in self.hidden.of("user") for one in people)


class Explaining:
    """Explains messages for one process. `await close()` ends what it began."""

    def __init__(self, settings: Settings, database: Database, registry: Registry) -> None:
        self._settings = settings
        self._database = database
        self.catalogs = Catalogs(database, registry)
        self._reader = MessageReader(settings)
        self._renderer = Renderer()

    async def close(self) -> None:
        """Closes the connection to the broker and ends the processes that render."""
        await self._reader.close()
        await self._renderer.close()

    async def answer(
        self, query: ConfigurationExplainQuery, actor: Actor, configuration: str | None = None
    ) -> JsonObject:
        """The answer as JSON, of what the actor sees. `configuration` has to be there, unless there is a draft of it.

        Raises InputError that names the field, UnknownName for a message or configuration that is not there, BrokerError and
        DatabaseError.
        """
        check_query(query)
        async with self._database.read() as session:
            hidden = await hidden_from(session, actor)
        found = await self.found(query, hidden)
        asked = configuration or (query.configuration if isinstance(query, ExplainQuery) else None)
        attempts, letters = await self._happened(found, COMMAND_LINE)
        newest, current = await self.catalogs.now()
        basis = await self._basis(query, found, attempts, newest)
        catalog = await self.catalogs.of(basis.revision)
        if query.draft is not None:
            if asked is None:
                raise InputError(FieldError("/configuration", "is required, with a draft"))
            catalog = with_draft(catalog, asked, query.draft, hidden)
        known = _Known(catalogs=(catalog, current), hidden=hidden)
        known.check(query, found, asked, named_in_path=configuration is not None)
        person = None if query.receiver is None else person_of(catalog, query.receiver, found.told.message.producer)
        recipient = None if person is None else person.username
        if not actor.sees_all:
            attempts, letters = await self._happened(found, actor)
        attempts, letters = _of(attempts, asked, recipient), _of(letters, asked, recipient)
        past = basis.as_of == _THEN and query.draft is None and query.at is None
        question = Question(
            told=found.told,
            at=basis.at,
            receiver=query.receiver,
            configuration=asked,
            past=past,
            hidden=hidden,
            problem=found.problem,
        )
        rendering = Rendering(self._renderer)
        explained = await self._explained(catalog, question, basis.revision, rendering)
        answer: JsonObject = {
            "message": shown(found.told),
            "origin": found.origin,
            "as_of": basis.as_of,
            "revision": basis.revision,
            **explained.explanation.document(),
            "now": None,
        }
        if past:
            answer["text"] = f"{answer['text']} {in_words(explained.explanation, attempts)}".strip()
        if basis.as_of != _NOW:
            beside = await self._explained(current, replace(question, past=False), newest, rendering)
            answer["now"] = {"revision": newest, **beside.explanation.document()}
        return {**answer, "attempts": attempts, "dead_letters": letters}

    async def _basis(
        self, query: ConfigurationExplainQuery, found: Found, attempts: list[JsonObject], newest: int
    ) -> _Basis:
        """By which definitions, and as of which moment, the answer is given."""
        if isinstance(query.as_of, datetime):
            revision = await self.catalogs.revision_at(query.as_of)
            return _Basis(as_of=rfc3339(query.as_of), revision=revision, at=query.at or found.at)
        if query.as_of == _NOW or not query.is_on_topic or (query.as_of is None and query.draft is not None):
            return _Basis(as_of=_NOW, revision=newest, at=query.at or found.at)
        decided_at = _decided_at(attempts, found) or found.at
        # An attempt may say that the router knew more than was published when the message came.
        revision = max([await self.catalogs.revision_at(decided_at), *_versions(attempts)])
        return _Basis(as_of=_THEN, revision=revision, at=query.at or decided_at)

    # --- the message ---

    async def found(self, query: MessageQuery, hidden: Hidden) -> Found:
        """The message that is meant; one of a hidden producer is not there. Raises UnknownName, InputError and BrokerError."""
        if query.message is not None:
            return given(query.message)
        assert query.producer is not None
        assert query.id is not None
        async with self._database.read() as session:
            candidates = await places(session, self._settings, query.producer, query.id)
        invalid: InputError | None = None
        for place in candidates if query.producer not in hidden.of("producer") else ():
            record = await self._reader.read(place)
            try:
                found = None if record is None else on_topic(record, query.producer, query.id, hidden)
            except InputError as error:
                invalid = invalid or error
                continue
            if found is not None:
                return found
        if invalid is not None:
            raise invalid
        raise UnknownName("message", f"{query.producer}/{query.id}")

    # --- the answer ---

    async def _explained(self, catalog: Catalog, question: Question, revision: int, rendering: Rendering) -> Explained:
        explained = await asyncio.to_thread(explain, catalog, question)  # with many users it takes long
        on_leave = {
            recipient.recipient
            for part in explained.explanation.configurations
            for recipient in part.recipients
            if recipient.recipient is not None and any(step.reason == "on_leave" for step in recipient.steps)
        }
        if on_leave:
            leaves = await self.catalogs.leaves(sorted(on_leave)[:_MAX_LEAVES], revision)
            explained = await asyncio.to_thread(explain, catalog, replace(question, leaves=leaves))
        await rendering.render(explained, catalog)
        return explained

    async def _happened(self, found: Found, actor: Actor) -> tuple[list[JsonObject], list[JsonObject]]:
        """The attempts and dead letters that the actor sees, of a message that lies on the topic."""
        if found.origin is None:
            return [], []
        return await happened(self._database, actor, found.told.message.producer, found.told.id)


def _decided_at(attempts: list[JsonObject], found: Found) -> datetime | None:
    """When the router decided, where it wrote so: in an attempt that it made of this record itself."""
    place = {name: (found.origin or {}).get(name) for name in ("topic", "partition", "offset")}
    times = [attempt["started_at"] for attempt in attempts if attempt["origin"] == place]
    return datetime.fromisoformat(min(times)) if times else None


def _versions(attempts: list[JsonObject]) -> list[int]:
    """Versions of configurations that the router knew when it decided."""
    return [attempt["configuration_version"] for attempt in attempts if attempt["configuration_version"]]


def _of(records: list[JsonObject], configuration: str | None, recipient: str | None) -> list[JsonObject]:
    """What was recorded of one configuration or person, where one is asked about, or of none."""
    wanted = {"configuration": configuration, "recipient": recipient}
    return [
        record
        for record in records
        if all(value is None or record[name] in (None, value) for name, value in wanted.items())
    ]


def _knows(catalog: Catalog, configuration: str) -> bool:
    return configuration in catalog.configurations or f"configuration/{configuration}" in catalog.problems
