"""Write: a definition that is to be created, replaced or patched, and the document that comes of it.

Nothing here touches the database; `control_api.definitions.services` stores, and `control_api.definitions.spec` checks.
"""

from dataclasses import dataclass
from typing import Literal

from control_api.definitions.json_value import check_json, merge_patch
from control_api.definitions.secret_parameters import mask, secrets_of
from control_api.definitions.spec import Spec, name_field, split_name
from notifier.errors import FieldError, InputError
from notifier.folded import folded
from notifier.outcome import Kind
from notifier.record import JsonObject
from notifier.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Write:
    """One write as it was asked for, not yet checked."""

    action: Literal["create", "replace", "patch", "rollback"]  # a rollback replaces, or creates what was deleted
    kind: Kind
    name: str | None = None  # none: the document has it, as with `create`
    document: object  # parsed JSON or YAML; with `patch`, a merge patch (RFC 7396)
    expected: int | None = None  # revision that the caller has read; none: any

    def split(self) -> tuple[str, JsonObject]:
        """The name, and the document without it. Raises InputError."""
        name, rest = split_name(self.kind, self.document) if self.name is None else (self.name, self._without_name())
        if self.action == "patch":
            check_json(rest)
        return name, rest

    def _without_name(self) -> JsonObject:
        # A document that is addressed by its name may repeat it, and may not change it.
        if not isinstance(self.document, dict):
            raise InputError(FieldError("", "must be an object"))
        field = name_field(self.kind)
        given = self.document.get(field, self.name)
        same = isinstance(given, str) and self.kind == "user" and folded(given) == folded(str(self.name))
        if given != self.name and not same:
            text = f"is {self.name!r} and cannot be changed; create another {self.kind}, delete this one"
            raise InputError(FieldError(f"/{field}", text))
        return {key: value for key, value in self.document.items() if key != field}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a write would store. `revision` is of what is stored now; None: it would be new."""

    name: str
    spec: Spec
    revision: int | None


def patched(kind: Kind, before: JsonObject, patch: JsonObject, registry: Registry) -> JsonObject:
    """A stored spec, secrets masked, with a merge patch applied to it; null and objects for secrets stay to be seen."""
    secrets = secrets_of(kind, before, registry)
    target = mask(kind, before, registry)
    changes = patch.get("parameters")
    changes = changes if isinstance(changes, dict) else {}
    if patch.get("type", before.get("type")) != before.get("type"):
        kept = {field: value for field, value in target.get("parameters", {}).items() if field not in secrets}
        target = {**target, "parameters": kept}
    merged: JsonObject = merge_patch(target, patch)
    # A merge patch removes what is null, and a secret that is missing is kept; so null has to stay to be seen.
    cleared = {field: None for field in secrets if field in changes and changes[field] is None}
    # An object must replace the masked secret, not be merged with it.
    replaced = {field: changes[field] for field in secrets if isinstance(changes.get(field), dict)}
    if cleared or replaced:
        merged["parameters"] = {**merged.get("parameters", {}), **cleared, **replaced}
    return merged
