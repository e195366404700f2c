"""Specs: what people write of each kind, the one schema of YAML, REST, GraphQL and the `definitions` topic.

A plugin's own parameters are checked by its `Parameters` model (`notifier.registry`); whether the names that a configuration
refers to exist is checked where all definitions are known (`control_api`).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from notifier.definition.consumer_spec import ConsumerSpec
from notifier.definition.definition_spec import DefinitionSpec
from notifier.definition.group_spec import GroupSpec
from notifier.definition.mapping_spec import MappingSpec
from notifier.definition.names import Names, Recipients, Title
from notifier.definition.plugin_spec import PluginSpec
from notifier.definition.producer_spec import ProducerSpec
from notifier.definition.schedule_spec import ScheduleSpec
from notifier.definition.script_text import check_first_line, executor_of, with_plain_line_ends
from notifier.definition.seconds import Lifetime
from notifier.definition.spec import WRITTEN, is_written
from notifier.definition.template_spec import SubjectText, TemplateSpec, TemplateText
from notifier.definition.user_spec import UserSpec, faults_of_identities
from notifier.errors import FieldError, InputError
from notifier.outcome import KINDS, Kind
from notifier.validation import validated

MAX_SCRIPT_BYTES = 256 * 1024
MAX_SPEC_BYTES = 700_000  # of a spec as JSON; sealing makes a third more of secrets, and a record may have 1 MiB


def _check_content(text: str, info: ValidationInfo) -> str:
    text = with_plain_line_ends(text)
    if not text:
        raise ValueError("is empty")
    if len(text.encode()) > MAX_SCRIPT_BYTES:
        raise ValueError(f"is larger than {MAX_SCRIPT_BYTES // 1024} KiB; a script may read what it needs from files")
    if "\0" in text:
        raise ValueError("holds a NUL character, which no script may; is it a program file?")
    if is_written(info):
        check_first_line(text, info.data.get("executor"))
    return text


class ScriptSpec(DefinitionSpec):
    """A script that producers or consumers of type `script` run in the sandbox."""

    title: Title | None = Field(None, description="What people call it.")
    executor: Literal["python", "bash"] = Field(
        "bash", description="What runs it; absent: what the first line of the content names, else bash."
    )
    content: Annotated[str, StringConstraints(min_length=1), AfterValidator(_check_content)] = Field(
        description=f"The text of the script, at most {MAX_SCRIPT_BYTES // 1024} KiB of UTF-8."
    )

    @model_validator(mode="before")
    @classmethod
    def _executor_of_first_line(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("executor") is None and isinstance(value.get("content"), str):
            named = executor_of(with_plain_line_ends(value["content"]))
            return value if named is None else {**value, "executor": named}
        return value


class ConfigurationSpec(DefinitionSpec):
    """Whose messages go through which filters to which users by which consumers, and when."""

    title: Title | None = Field(None, description="What people call it.")
    users: Recipients = Field((), description="Who may be told: usernames, and groups as `group:NAME`.")
    producers: Names = Field((), description="Whose messages are considered.")
    filters: Names = Field((), description="What they must pass, in this order.")
    consumers: Names = Field((), description="How they are delivered.")
    schedule: ScheduleSpec | None = Field(None, description="When its pull producers run; absent: only by hand.")
    subject: SubjectText | None = Field(
        None,
        description="Subject of a delivery as a Jinja template; absent: the consumer's, or the title of the message.",
    )
    template: TemplateText | None = Field(
        None, description="Text of a delivery as a Jinja template; absent: the consumer's, or the default text."
    )
    ttl_s: Lifetime | None = Field(
        None, description="Seconds after which a message is not delivered any more; absent: it does not expire."
    )
    enabled: bool = Field(True, description="Whether it takes part.")


SPECS: dict[Kind, type[DefinitionSpec]] = {
    "user": UserSpec,
    "group": GroupSpec,
    "script": ScriptSpec,
    "template": TemplateSpec,
    "producer": ProducerSpec,
    "mapping": MappingSpec,
    "filter": PluginSpec,
    "consumer": ConsumerSpec,
    "configuration": ConfigurationSpec,
}
assert tuple(SPECS) == KINDS


def read_spec(kind: Kind, value: Any) -> DefinitionSpec:
    """Checks what a person wrote against the kind's model. Raises InputError that names every field."""
    wrong = faults_of_identities(value) if kind in ("user", "group") else []
    try:
        spec = validated(SPECS[kind], value, context=WRITTEN)
    except InputError as error:
        raise InputError([*error.errors, *wrong]) from None
    if wrong:
        raise InputError(wrong)
    # A spec too large for a record of `definitions` could be stored, and would then hold up every later revision.
    size = len(spec.model_dump_json(exclude_unset=True).encode())
    if size > MAX_SPEC_BYTES:
        raise InputError(FieldError("", f"is too large: {size} bytes of JSON, {MAX_SPEC_BYTES} are possible; split it"))
    return spec
