"""Previewing: finds the message and the configuration that are asked about, and renders what each recipient would get."""

import asyncio
from collections.abc import Sequence

from consumers.text.template import Renderer
from consumers.text.texts import Texts
from control_api.access.actor import Actor
from control_api.access.teams import Hidden, hidden_from
from control_api.explain.draft import with_draft
from control_api.explain.explaining import Explaining
from control_api.explain.finding import shown
from control_api.explain.query import check_message
from control_api.preview.preview import Preview, PreviewedText
from control_api.preview.query import PreviewQuery
from control_api.preview.recipients import Addressed, Asked, addressed
from filters.chain import told as told_of
from filters.decision import missing
from notifier.catalog import Catalog, Configuration
from notifier.database import Database
from notifier.delivery import Delivery
from notifier.errors import FieldError, InputError, RecordError, UnknownName
from notifier.record import JsonObject

MAX_TEXTS = 50  # of one answer
MAX_S = 5.0  # for the texts of one answer
MAX_CHARACTERS = 1_000_000  # of the texts of one answer and their parts, beyond which no further text is made


class Previewing:
    """Previews for one process. `await close()` ends what renders."""

    def __init__(self, database: Database, explaining: Explaining) -> None:
        self._database = database
        self._explaining = explaining
        self._renderer = Renderer()

    async def close(self) -> None:
        """Ends the processes that render."""
        await self._renderer.close()

    async def answer(self, query: PreviewQuery, actor: Actor, name: str) -> JsonObject:
        """The answer as JSON, of what the actor sees: a `Preview`, and the `message`.

        Raises InputError that names the field, UnknownName for a message or configuration that is not there, BrokerError and
        DatabaseError.
        """
        check_message(query)
        async with self._database.read() as session:
            hidden = await hidden_from(session, actor)
        revision, catalog = await self._explaining.catalogs.now()
        if query.draft is not None:
            catalog = with_draft(catalog, name, query.draft, hidden)
        configuration = _configuration(catalog, name, hidden)
        if query.consumer is not None and query.consumer not in configuration.spec.consumers:
            raise InputError(FieldError("/consumer", f"{query.consumer!r} is no consumer of {name}"))
        producers = configuration.spec.producers
        if query.message is not None and query.message.get("producer") is None and producers:
            query = query.model_copy(update={"message": {**query.message, "producer": producers[0]}})
        found = await self._explaining.found(query, hidden)
        asked = Asked(
            catalog=catalog,
            configuration=configuration,
            told=found.told,
            at=found.at,
            hidden=hidden,
            consumer=query.consumer,
        )
        addressees = await asyncio.to_thread(addressed, asked, MAX_TEXTS)  # with many users it takes long
        preview = Preview(
            configuration=name,
            version=configuration.version or None,
            revision=revision,
            problem=addressees.problem,
            texts=await self._texts(catalog, addressees.made),
            omitted=addressees.omitted,
        )
        return {"message": shown(found.told), **preview.document()}

    async def _texts(self, catalog: Catalog, made: Sequence[Addressed]) -> list[PreviewedText]:
        until = asyncio.get_running_loop().time() + MAX_S
        texts = Texts(self._renderer, catalog)
        found: list[PreviewedText] = []
        room = MAX_CHARACTERS
        for one in made:
            way = one.way
            text = PreviewedText(
                recipient=None if way.recipient is None else way.recipient.username,
                recipients=list(way.recipients or ()),
                consumer=way.consumer,
                problem=one.problem,
            )
            if one.delivery is not None and room > 0:
                await _render(text, one.delivery, texts, catalog, until)
                room -= len(text.text or "") + sum(map(len, text.parts))
            elif one.delivery is not None:
                text.problem = "the texts before it are so long that it is left out; ask for one consumer alone"
            found.append(text)
        return found


async def _render(text: PreviewedText, delivery: Delivery, texts: Texts, catalog: Catalog, until: float) -> None:
    """Fills in what a delivery says, or why that cannot be shown. `until`: by the loop's clock."""
    try:
        async with asyncio.timeout_at(until):
            rendered, text.problem = await texts.of(delivery)
            # In a thread: a long text takes a while.
            parts = list(await asyncio.to_thread(catalog.consumers[text.consumer].parts, delivery, rendered))
        text.subject, text.text, text.templated = rendered.subject, rendered.body.plain(), rendered.templated
        text.parts = parts
        if not text.parts and text.problem is None:
            text.problem = "there is nothing to see in it, so it is not sent"
    except TimeoutError:
        text.problem = f"the texts of this answer took longer than {MAX_S:g} s"
    except RecordError as error:
        text.problem = f"its message cannot be read: {error}"
    except Exception as error:  # a plugin's fault
        text.problem = f"its plugin cannot show the text: {told_of(error)}"


def _configuration(catalog: Catalog, name: str, hidden: Hidden) -> Configuration:
    known = f"configuration/{name}" in catalog.problems or name in catalog.configurations
    if not known or name in hidden.of("configuration"):
        raise UnknownName("configuration", name)
    if name not in catalog.configurations:
        raise InputError(FieldError("", missing(catalog, "configuration", name)))
    return catalog.configurations[name]
