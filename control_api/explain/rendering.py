"""Rendering: the texts that consumers would send, put into an explanation. Templates run in the renderer's own processes."""

from collections.abc import Mapping
from typing import Any

from consumers.text.template import Renderer
from consumers.text.text import default_text
from control_api.explain.explainer import MAX_RENDERED, Explained, Sending
from filters.chain import told
from notifier.errors import RecordError, TemplateFailed
from notifier.plugin import Consumer


async def render(explained: Explained, consumers: Mapping[str, Consumer[Any]], renderer: Renderer) -> None:
    """Fills in `rendered` of the first `MAX_RENDERED` deliveries. What fails is said in the consumer's text."""
    texts: dict[str, tuple[str | None, str]] = {}  # by delivery: one to everyone is told of for each recipient
    for sending in explained.sendings:
        id_ = sending.delivery.id
        if id_ not in texts:
            if len(texts) == MAX_RENDERED:
                break
            texts[id_] = await _text(sending, consumers[sending.consumer.consumer], renderer)
        rendered, why = texts[id_]
        sending.consumer.rendered = rendered
        sending.consumer.text += why


async def _text(sending: Sending, consumer: Consumer[Any], renderer: Renderer) -> tuple[str | None, str]:
    """The text, and what is to be said about it."""
    delivery, why = sending.delivery, ""
    text: str | None = None
    if sending.template is not None:
        try:
            text = await renderer.render(sending.template, delivery)
        except TemplateFailed as error:
            why = f"; its template fails, so the default text is taken: {error}"
    try:
        return consumer.preview(
            delivery, default_text(delivery, delivery.read_message()) if text is None else text
        ), why
    except RecordError as error:
        return None, f"{why}; its message cannot be read: {error}"
    except Exception as error:  # a plugin's fault
        return None, f"{why}; its plugin cannot show the text: {told(error)}"
