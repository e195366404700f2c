"""TemplateSpec: what people write of a named template. Its language, and what it may include, are `consumers.text`'s."""

from typing import Annotated

from pydantic import Field, StringConstraints

from notifier.definition.definition_spec import DefinitionSpec
from notifier.definition.names import Title

MAX_TEMPLATE = 20_000  # characters
MAX_SUBJECT = 2_000  # characters of a template that makes a subject

TemplateText = Annotated[str, StringConstraints(max_length=MAX_TEMPLATE)]
SubjectText = Annotated[str, StringConstraints(max_length=MAX_SUBJECT)]


class TemplateSpec(DefinitionSpec):
    """A piece of text that other templates include by its name: `{% include "footer" %}`."""

    title: Title | None = Field(None, description="What people call it.")
    content: Annotated[TemplateText, StringConstraints(min_length=1)] = Field(
        description="The text as a Jinja template, with the names that a configuration's template has.",
        examples=["{{ message.title }} ({{ message.url }})"],
    )
