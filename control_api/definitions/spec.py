"""Spec: what a person writes about one definition, checked and made into what is stored, and back into what is shown.

Stored is the least that says it: fields of the kind's model that hold their default are left out, parameters stay as they
were written, secrets are sealed. Whether the names it refers to exist is `control_api.definitions.changes`' to say.

A secret is write-only. Shown is `{"set": true}` in its place. Writing the field replaces it, `null` clears it; leaving it
out, or writing back the `{"set": true}` that was shown, keeps it, as long as the type of the plugin stays the same.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from consumers.text.template import check_template
from notifier.definition import SPECS, ConfigurationSpec, PluginSpec, check_name, read_spec
from notifier.errors import FieldError, InputError, SecretError
from notifier.outcome import Kind
from notifier.plugin import Consumer, Parameters, PluginKind, secret_fields
from notifier.pointer import pointer
from notifier.record import JsonObject
from notifier.registry import Registry, close_secrets, open_secrets
from notifier.seal import Seal, is_sealed

SET: Mapping[str, bool] = {"set": True}  # what is shown in place of a secret
MAX_DEPTH = 64  # of nested objects and lists
_PLUGIN_KINDS = ("producer", "filter", "consumer")


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
    privilege: str | None = None  # what in it needs the scope `admin`, as the beginning of a sentence
    partitions: int | None = None  # of its topic, where it is a consumer


def name_field(kind: Kind) -> str:
    """What the name of a definition is called in documents: `username` of users, `name` of all others."""
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
    """Checks what a person wrote (without the name) and seals its secrets; `before` is what is stored now, if anything is.

    Raises InputError that names every field, and SecretError where a secret that is kept cannot be opened.
    """
    check_json(written)
    model = read_spec(kind, written)
    value: JsonObject = model.model_dump(mode="json", exclude_defaults=True)
    title = getattr(model, "title", None)
    if isinstance(model, PluginSpec):
        return _read_plugin(cast("PluginKind", kind), name, model, value, before or {}, registry, seal)
    if isinstance(model, ConfigurationSpec):
        if model.template is not None:
            check_template(model.template)
        return Spec(value=value, title=title, references=tuple(_references(model)))
    return Spec(value=value, title=title, privilege="creating or changing a script" if kind == "script" else None)


def _references(model: ConfigurationSpec) -> Iterator[Reference]:
    kinds: tuple[Kind, ...] = ("user", "producer", "filter", "consumer")
    for kind in kinds:
        for position, name in enumerate(getattr(model, f"{kind}s")):
            yield Reference(kind=kind, name=name, pointer=f"/{kind}s/{position}")


def _read_plugin(
    kind: PluginKind,
    name: str,
    model: PluginSpec,
    value: JsonObject,
    before: JsonObject,
    registry: Registry,
    seal: Seal,
) -> Spec:
    fields = secret_fields(registry.get(kind, model.type).Parameters)
    kept = before.get("parameters", {}) if before.get("type") == model.type else {}
    stored, opened = _merge_secrets(f"{kind}/{name}", model.parameters, kept, fields, seal)
    parameters = registry.check(kind, model.type, opened)
    value.pop("parameters", None)
    if stored:
        value["parameters"] = stored
    script = getattr(parameters, "script", None)  # of every plugin that runs one, ours or not
    return Spec(
        value=value,
        title=model.title or parameters.title,
        references=(Reference(kind="script", name=script, pointer="/parameters/script"),)
        if isinstance(script, str)
        else (),
        privilege=_privilege(parameters),
        partitions=int(getattr(parameters, "partitions", 1))
        if issubclass(registry.get(kind, model.type), Consumer)
        else None,
    )


def _privilege(parameters: Parameters) -> str | None:
    if getattr(parameters, "write", None):
        return "letting a script write files (`write`)"
    if getattr(parameters, "network", None):
        return "letting a script use the network (`network`)"
    return None


def _merge_secrets(
    owner: str, written: JsonObject, kept: JsonObject, fields: frozenset[str], seal: Seal
) -> tuple[JsonObject, JsonObject]:
    """The parameters as they are to be stored, and the same with secrets in clear, for the check."""
    kind, _, name = owner.partition("/")
    stored: JsonObject = {}
    opened: JsonObject = {}
    wrong: list[FieldError] = []
    for field in [*written, *sorted(fields & kept.keys() - written.keys())]:
        value = written.get(field, SET)
        if field not in fields:
            stored[field] = opened[field] = value
        elif value is None:
            continue  # cleared
        elif value == SET:
            if field not in kept:
                wrong.append(
                    FieldError(f"/parameters/{field}", "there is no stored secret to keep; write the secret itself")
                )
                continue
            stored[field] = kept[field]
            opened.update(open_secrets(seal, kind, name, {field: kept[field]}, fields))
        elif holds_sealed(value):
            wrong.append(FieldError(f"/parameters/{field}", "must be the secret itself, not its sealed form"))
        else:
            opened[field] = value
            # Sealing twice never gives the same text; what did not change must stay as it is, or nothing is ever unchanged.
            if field in kept and _opens_to(value, field, owner, kept, seal):
                stored[field] = kept[field]
            else:
                stored.update(close_secrets(seal, kind, name, {field: value}, fields))
    if wrong:
        raise InputError(wrong)
    return stored, opened


def _opens_to(value: object, field: str, owner: str, kept: JsonObject, seal: Seal) -> bool:
    kind, _, name = owner.partition("/")
    try:
        return bool(open_secrets(seal, kind, name, {field: kept[field]}, frozenset({field}))[field] == value)
    except SecretError:  # sealed with a key that is gone; writing the secret again is how to mend it
        return False


def holds_sealed(value: object) -> bool:
    """Whether a sealed secret is in the value, however deep."""
    if isinstance(value, list):
        return any(map(holds_sealed, value))
    if isinstance(value, dict):
        return any(map(holds_sealed, value.values()))
    return is_sealed(value)


def secrets_of(kind: Kind, value: JsonObject, registry: Registry) -> frozenset[str]:
    """The parameters of a stored definition that hold secrets; of a type that is not installed any more, those sealed."""
    if kind not in _PLUGIN_KINDS:
        return frozenset()
    parameters: JsonObject = value.get("parameters", {})
    try:
        fields = secret_fields(registry.get(cast("PluginKind", kind), value["type"]).Parameters)
    except InputError:
        return frozenset(field for field, part in parameters.items() if holds_sealed(part))
    return fields & parameters.keys()


def mask(kind: Kind, value: JsonObject, registry: Registry) -> JsonObject:
    """A stored spec with `{"set": true}` in place of each secret."""
    secrets = secrets_of(kind, value, registry)
    if not secrets:
        return value
    parameters = {field: dict(SET) if field in secrets else part for field, part in value["parameters"].items()}
    return {**value, "parameters": parameters}


def without_secrets(kind: Kind, value: JsonObject, registry: Registry) -> JsonObject:
    """A stored spec with the secret parameters left out."""
    secrets = secrets_of(kind, value, registry)
    if not secrets:
        return value
    parameters = {field: part for field, part in value["parameters"].items() if field not in secrets}
    rest = {key: part for key, part in value.items() if key != "parameters"}
    return {**rest, "parameters": parameters} if parameters else rest


def document(kind: Kind, name: str, value: JsonObject, registry: Registry) -> JsonObject:
    """A stored definition as it is shown: the name, every field of the kind's model, secrets as `{"set": true}`."""
    masked = mask(kind, value, registry)
    try:
        shown = SPECS[kind].model_validate(masked, extra="ignore").model_dump(mode="json")
    except ValidationError:  # stored by an older program that allowed more; it must be seen to be mended
        shown = masked
    return {name_field(kind): name, **shown}


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def check_json(value: object) -> None:
    """Refuses what JSON or the databases cannot hold: NaN, NUL, lone surrogates, huge numbers, deep nesting. InputError."""
    wrong: list[FieldError] = []
    stack: list[tuple[object, str, int]] = [(value, "", 0)]
    while stack:
        part, at, depth = stack.pop()
        fault = _fault(part, depth)
        if fault is not None:
            wrong.append(FieldError(at, fault))
        elif isinstance(part, list):
            stack += [(below, f"{at}/{position}", depth + 1) for position, below in enumerate(part)]
        elif isinstance(part, dict):
            for key, below in part.items():
                place = pointer([key], at)
                if (fault := _fault(key, 0) if isinstance(key, str) else "a field's name must be text") is not None:
                    wrong.append(FieldError(at, f"in a field's name: {fault}"))
                else:
                    stack.append((below, place, depth + 1))
    if wrong:
        raise InputError(wrong[::-1])


def _fault(value: object, depth: int) -> str | None:
    if isinstance(value, str):
        if "\x00" in value:
            return "must not hold the character NUL"
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return "is not Unicode text (a lone surrogate)"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return "must be a number"
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            return "is too large a number"
    elif isinstance(value, list | dict):
        if depth >= MAX_DEPTH:
            return f"is nested more than {MAX_DEPTH} deep"
    elif value is not None:
        return f"must be JSON, not {type(value).__name__}"
    return None
