"""Texts: what deliveries say, by the templates of a catalog or by default."""

from consumers.text.includes import pieces
from consumers.text.template import Renderer
from consumers.text.text import default_text
from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.errors import TemplateFailed
from notifier.marked import Marked
from notifier.rendered import Rendered


class Texts:
    """Renders deliveries by the definitions of one catalog."""

    def __init__(self, renderer: Renderer, catalog: Catalog) -> None:
        self._renderer = renderer
        self._catalog = catalog

    async def of(self, delivery: Delivery) -> tuple[Rendered, str | None]:
        """What a delivery says, and why its template failed, in words; None where none did.

        Raises RecordError where the message cannot be read.
        """
        configuration = self._catalog.configurations.get(delivery.configuration)
        failed = None
        if configuration is not None and configuration.spec.template is not None:
            try:
                template = configuration.spec.template
                text = await self._renderer.render(template, delivery, pieces(template, self._catalog.templates))
                return Rendered(subject="", body=Marked(text), templated=True), None
            except TemplateFailed as error:
                name = delivery.configuration
                failed = f"the template of the configuration {name} failed, so the default text was taken: {error}"
        return default_rendered(delivery), failed


def default_rendered(delivery: Delivery) -> Rendered:
    """What a delivery says without a template. Raises RecordError where its message cannot be read."""
    message = delivery.read_message()
    return Rendered(subject=message.title or "", body=Marked(default_text(delivery, message)))
