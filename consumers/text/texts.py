"""Texts: what deliveries say, by the templates of a catalog or by default."""

from typing import Literal

from consumers.text.default import default_text
from consumers.text.includes import pieces
from consumers.text.reader import ANYONE, Reader, reader_of
from consumers.text.template import Renderer
from notifier.catalog import Catalog
from notifier.delivery import OPERATORS, Delivery
from notifier.errors import TemplateFailed
from notifier.marked import Marked
from notifier.message import Message
from notifier.rendered import Rendered, subject_line
from notifier.wording import NO_WORDING


class Texts:
    """Renders deliveries by the definitions of one catalog.

    A template of the configuration goes before the consumer's, the subject and the body each for itself.
    """

    def __init__(self, renderer: Renderer, catalog: Catalog) -> None:
        self._renderer = renderer
        self._catalog = catalog

    async def of(self, delivery: Delivery) -> tuple[Rendered, str | None]:
        """What a delivery says, and why its template failed, in words; None where none did.

        Raises RecordError where the message cannot be read.
        """
        reader = reader_of(delivery, self._catalog.users)
        message = delivery.read_message()
        body, body_failed = await self._by_template("template", delivery, reader)
        subject, subject_failed = await self._by_template("subject", delivery, reader)
        failed = "; ".join(filter(None, (body_failed, subject_failed))) or None
        return Rendered(
            subject=(subject_line(subject.text) if subject is not None else "") or subject_line(message.title or ""),
            body=default_of(delivery, message, reader, self._catalog) if body is None else body,
            templated=body is not None,
            language=reader.language,
        ), failed

    async def render(self, template: str, delivery: Delivery) -> str:
        """What a template of a consumer's parameters makes, without marks. Raises TemplateFailed."""
        reader, included = reader_of(delivery, self._catalog.users), pieces(template, self._catalog.templates)
        return (await self._renderer.render(template, delivery, included, reader=reader)).text

    async def _by_template(
        self, field: Literal["template", "subject"], delivery: Delivery, reader: Reader
    ) -> tuple[Marked | None, str | None]:
        """What a template makes, or why it failed; neither where there is none."""
        configuration = self._catalog.configurations.get(delivery.configuration)
        consumer = self._catalog.consumers.get(delivery.consumer)
        if delivery.configuration == OPERATORS:  # a template made for other messages might leave out what is wrong
            return None, None
        own = None if configuration is None else getattr(configuration.spec, field)
        template = own if own is not None else getattr(NO_WORDING if consumer is None else consumer.wording, field)
        if template is None:
            return None, None
        try:
            included = pieces(template, self._catalog.templates)
            return await self._renderer.render(
                template, delivery, included, reader=reader, may_be_blank=field == "subject"
            ), None
        except TemplateFailed as error:
            word = "subject" if field == "subject" else "text"
            of = f"configuration {delivery.configuration}" if own is not None else f"consumer {delivery.consumer}"
            return None, f"the {field} of the {of} failed, so the default {word} was taken: {error}"


def default_of(delivery: Delivery, message: Message, reader: Reader, catalog: Catalog) -> Marked:
    """The default text, without labels where the message's producer tells them in the content."""
    producer = catalog.producers.get(message.producer)
    return default_text(delivery, message, reader.language, labels=producer is None or not producer.tells_labels)


def default_rendered(delivery: Delivery, reader: Reader = ANYONE) -> Rendered:
    """What a delivery says without a template. Raises RecordError where its message cannot be read."""
    message = delivery.read_message()
    body = default_text(delivery, message, reader.language)
    return Rendered(subject=subject_line(message.title or ""), body=body, language=reader.language)
