"""Rendering: the texts that consumers would send, put into an explanation. Templates run in the renderer's own processes."""

import asyncio
from collections.abc import Mapping

from consumers.text.includes import pieces
from consumers.text.reader import Reader, reader_of
from consumers.text.template import Renderer
from consumers.text.texts import default_of
from control_api.explain.explainer import MAX_RENDERED, Explained, Sending
from filters.chain import told
from notifier.catalog import Catalog
from notifier.errors import RecordError, TemplateEnded, TemplateFailed

MAX_S = 5.0  # for the templates of one answer
_INSTEAD = "so the default text is shown"


class Rendering:
    """Renders for one answer. A template that was ended once is not tried again: each time would cost a process more."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._left_s = MAX_S
        self._ended: set[str] = set()  # templates
        self._named: Mapping[str, str] = {}  # named templates

    async def render(self, explained: Explained, catalog: Catalog) -> None:
        """Fills in `rendered` of the first `MAX_RENDERED` deliveries. What fails is said in the consumer's text."""
        self._named = catalog.templates
        texts: dict[str, tuple[str | None, str]] = {}  # by delivery: one to everyone is told of for each recipient
        for sending in explained.sendings:
            id_ = sending.delivery.id
            if id_ not in texts:
                if len(texts) == MAX_RENDERED:
                    break
                reader = reader_of(sending.delivery, catalog.users)
                texts[id_] = await self._text(sending, catalog, reader)
            rendered, why = texts[id_]
            sending.consumer.rendered = rendered
            sending.consumer.text += why

    async def _text(self, sending: Sending, catalog: Catalog, reader: Reader) -> tuple[str | None, str]:
        """The text, and what is to be said about it."""
        delivery, why = sending.delivery, ""
        consumer = catalog.consumers[sending.consumer.consumer]
        text: str | None = None
        if sending.template is not None:
            text, why = await self._by_template(sending, sending.template, reader)
        try:
            if text is None:
                text = default_of(delivery, delivery.read_message(), reader, catalog).plain()
            return consumer.preview(delivery, text), why
        except RecordError as error:
            return None, f"{why}; its message cannot be read: {error}"
        except Exception as error:  # a plugin's fault
            return None, f"{why}; its plugin cannot show the text: {told(error)}"

    async def _by_template(self, sending: Sending, template: str, reader: Reader) -> tuple[str | None, str]:
        if template in self._ended:
            return None, f"; its template is not tried again, {_INSTEAD}"
        if self._left_s <= 0:
            return None, f"; the templates of this answer took too long to try this one, {_INSTEAD}"
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._left_s):
                included = pieces(template, self._named)
                return (await self._renderer.render(template, sending.delivery, included, reader=reader)).plain(), ""
        except TimeoutError:
            return None, f"; the templates of this answer took longer than {MAX_S:g} s, {_INSTEAD}"
        except TemplateFailed as error:
            if isinstance(error, TemplateEnded):
                self._ended.add(template)
            return None, f"; its template fails, so the default text is taken: {error}"
        finally:
            self._left_s -= asyncio.get_running_loop().time() - begun
