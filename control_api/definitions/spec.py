"""Spec: one definition as it was written, checked and made into its stored form, and back into the document that is shown.

The stored form is minimal: fields that hold their model's default are left out, parameters stay as they were written,
secrets are sealed (`control_api.definitions.secret_parameters`). Whether the names it refers to exist is checked in
`control_api.definitions.changes`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError

from consumers.text.includes import included
from consumers.text.template import check_template
from control_api.definitions.json_value import check_json
from control_api.definitions.secret_parameters import SecretParameters, mask
from notifier.absent import without_nulls
from notifier.definition import (
    SPECS,
    ConfigurationSpec,
    ConsumerSpec,
    GroupSpec,
    MappingSpec,
    PluginSpec,
    TemplateSpec,
    check_name,
    read_spec,
)
from notifier.definition.definition_spec import DefinitionSpec
from notifier.errors import FieldError, InputError
from notifier.group import group_named
from notifier.outcome import Kind
from notifier.plugin import Consumer, Parameters, PluginKind
from notifier.record import JsonObject
from notifier.registry import Registry
from notifier.seal import Seal


@dataclass(frozen=True, kw_only=True)
class Reference:
    """That a definition names another one, and where: `pointer` is a JSON Pointer into the document."""

    kind: Kind
    name: str
    pointer: str


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A definition, checked and ready to be stored."""

    value: JsonObject  # secrets sealed
    title: str | None = None
    references: tuple[Reference, ...] = ()
    privilege: str | None = None  # begins the sentence that says why `admin` must write it; none: `write` may
    partitions: int | None = None  # of its topic, where it is a consumer

    def names(self, kind: Kind) -> list[str]:
        """The definitions of a kind that it refers to."""
        return [reference.name for reference in self.references if reference.kind == kind]


def name_field(kind: Kind) -> str:
    """The field of a document that holds the definition's name: `username` of users, `name` of all others."""
    return "username" if kind == "user" else "name"


def split_name(kind: Kind, document: object) -> tuple[str, JsonObject]:
    """Takes the name out of a document as YAML and REST have it. Raises InputError."""
    if not isinstance(document, dict):
        raise InputError(FieldError("", "must be an object"))
    field = name_field(kind)
    if field not in document:
        raise InputError(FieldError(f"/{field}", "is required"))
    return check_name(kind, document[field]), {key: value for key, value in document.items() if key != field}


def read(kind: Kind, name: str, written: object, *, before: JsonObject | None, registry: Registry, seal: Seal) -> Spec:
    """Checks a document without its name, and seals its secrets; `before` is the stored spec, None for a new definition.

    Raises InputError that names every field, and SecretError where a secret that is kept cannot be opened.
    """
    check_json(written)
    model = read_spec(kind, written)
    check_templates(model)
    value: JsonObject = model.model_dump(mode="json", exclude_defaults=True)
    title = getattr(model, "title", None)
    if isinstance(model, PluginSpec):
        plugin_kind = cast("PluginKind", kind)
        stored = before or {}
        secrets = SecretParameters(
            kind=plugin_kind,
            name=name,
            model=registry.get(plugin_kind, model.type).Parameters,
            kept=stored.get("parameters", {}) if stored.get("type") == model.type else {},
            seal=seal,
        )
        spec = _read_plugin(model, value, secrets, registry)
        _check_partitions(spec, stored, registry)
        return spec
    privilege = "creating or changing a script" if kind == "script" else None
    return Spec(value=value, title=title, references=tuple(references_of(model)), privilege=privilege)


def check_templates(model: DefinitionSpec) -> None:
    """Checks the templates in a definition. Raises InputError that names each field."""
    wrong: list[FieldError] = []
    for pointer, source in _templates(model):
        try:
            check_template(source, pointer)
        except InputError as error:
            wrong += error.errors
    if wrong:
        raise InputError(wrong)


def _templates(model: DefinitionSpec) -> Iterator[tuple[str, str]]:
    fields = ("content",) if isinstance(model, TemplateSpec) else ("subject", "template")
    for field in fields:
        source = getattr(model, field, None)
        if source is not None:
            yield f"/{field}", source


def references_of(model: DefinitionSpec) -> Iterator[Reference]:
    """What a configuration, group or mapping names, the fallback of a consumer, and the templates that texts include."""
    if isinstance(model, ConsumerSpec) and model.fallback is not None:
        yield Reference(kind="consumer", name=model.fallback, pointer="/fallback")
    if isinstance(model, GroupSpec):
        yield from _references_to("user", "members", model.members)
    kinds: tuple[Kind, ...] = ("user", "producer", "filter", "consumer")
    for kind in kinds if isinstance(model, ConfigurationSpec) else ():
        yield from _references_to(kind, f"{kind}s", getattr(model, f"{kind}s"))
    if isinstance(model, MappingSpec):
        yield from _references_to("producer", "producers", model.producers)
    for pointer, source in _templates(model):
        for name in included(source):
            yield Reference(kind="template", name=name, pointer=pointer)


def _references_to(kind: Kind, field: str, names: Iterable[str]) -> Iterator[Reference]:
    for position, name in enumerate(names):
        group = group_named(name) if kind == "user" else None
        pointer = f"/{field}/{position}"
        if group is None:
            yield Reference(kind=kind, name=name, pointer=pointer)
        else:
            yield Reference(kind="group", name=group, pointer=pointer)


def _read_plugin(model: PluginSpec, value: JsonObject, secrets: SecretParameters, registry: Registry) -> Spec:
    stored, opened = secrets.merge(model.parameters)
    parameters = registry.check(secrets.kind, model.type, opened)
    stored = without_nulls(type(parameters), stored)
    value.pop("parameters", None)
    if stored:
        value["parameters"] = stored
    script = getattr(parameters, "script", None)  # of every plugin that runs one, built-in or installed
    references: tuple[Reference, ...] = ()
    if isinstance(script, str):
        references = (Reference(kind="script", name=script, pointer="/parameters/script"),)
    references += tuple(references_of(model))
    has_topic = issubclass(registry.get(secrets.kind, model.type), Consumer)
    return Spec(
        value=value,
        title=model.title or parameters.title,
        references=references,
        privilege=_privilege(parameters),
        partitions=int(getattr(parameters, "partitions", 1)) if has_topic else None,
    )


def _check_partitions(spec: Spec, stored: JsonObject, registry: Registry) -> None:
    """Raises InputError where a consumer's topic would have to lose partitions, which no topic can."""
    if spec.partitions is None or not stored:
        return
    parameters = stored.get("parameters", {})
    try:
        usual = registry.get("consumer", stored["type"]).Parameters.model_fields["partitions"].default
    except (InputError, KeyError):  # a type that is not installed any more
        usual = 1
    before = parameters.get("partitions", usual)
    if isinstance(before, int) and spec.partitions < before:
        raise InputError(
            FieldError(
                "/parameters/partitions",
                f"must be {before} or more: its topic has {before}, and no topic can lose some; "
                f"write partitions: {before}, or make a consumer of another name",
            )
        )


def _privilege(parameters: Parameters) -> str | None:
    if getattr(parameters, "write", None):
        return "letting a script write files (`write`)"
    if getattr(parameters, "tools", None):
        return "letting a script run programs outside the system's (`tools`)"
    if getattr(parameters, "network", None):
        return "letting a script use the network (`network`)"
    return None


def document(kind: Kind, name: str, value: JsonObject, registry: Registry) -> JsonObject:
    """A stored definition as it is shown: the name, every field of the kind's model, secrets as `{"set": true}`."""
    return whole(kind, name, mask(kind, value, registry))


def whole(kind: Kind, name: str, masked: JsonObject) -> JsonObject:
    """A masked spec with its name and every field of the kind's model."""
    try:
        shown = SPECS[kind].model_validate(masked, extra="ignore").model_dump(mode="json")
    except ValidationError:  # stored by an older program that allowed more; it must be seen to be mended
        shown = masked
    return {name_field(kind): name, **shown}
