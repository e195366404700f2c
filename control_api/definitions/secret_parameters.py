"""Secret parameters of definitions: sealed where they are stored, `{"set": true}` where they are shown.

A secret is write-only. Writing the field replaces it and `null` clears it. Leaving it out keeps it, and so does writing
back the `{"set": true}` that was shown, as long as the plugin's type and the address that it is sent to stay the same: who
may edit a definition could have its secret sent elsewhere. What files and editors put around a secret unseen is left out or
refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from unicodedata import category

from notifier.errors import Conflict, FieldError, InputError, SecretError
from notifier.outcome import Kind
from notifier.plugin import ParametersModel, PluginKind, secret_addresses, secret_fields
from notifier.record import JsonObject
from notifier.registry import Registry, close_secrets, open_secrets
from notifier.seal import Seal, is_sealed

SET: Mapping[str, bool] = {"set": True}  # shown in place of a secret
MOVED = "was given for another"  # begins what is said of a secret that would go to another address
_PLUGIN_KINDS = ("producer", "filter", "consumer")


@dataclass(frozen=True, kw_only=True)
class SecretParameters:
    """The secrets of one definition that is being written."""

    kind: PluginKind
    name: str
    model: ParametersModel  # of the plugin's type
    kept: JsonObject  # stored parameters that a write may keep; empty where the plugin's type changes
    seal: Seal

    @property
    def fields(self) -> frozenset[str]:
        """The secret parameters of the plugin's type."""
        return secret_fields(self.model)

    def merge(self, written: JsonObject) -> tuple[JsonObject, JsonObject]:
        """The parameters as they are to be stored, and the same with secrets in clear for the plugin's own check.

        Raises InputError, and SecretError where a secret that is kept cannot be opened.
        """
        stored: JsonObject = {}
        opened: JsonObject = {}
        wrong: list[FieldError] = []
        for field in [*written, *sorted(self.fields & self.kept.keys() - written.keys())]:
            value = written.get(field, SET)
            if field not in self.fields:
                stored[field] = opened[field] = value
            elif value is None:
                continue  # cleared
            elif value == SET:
                if field not in self.kept:
                    text = "there is no stored secret to keep; write the secret itself"
                    wrong.append(FieldError(f"/parameters/{field}", text))
                    continue
                if (address := self._moved(field, written)) is not None:
                    if self.model.model_fields[field].is_required():
                        text = f"{MOVED} `{address}` and is not sent to a new one; write the secret itself"
                        wrong.append(FieldError(f"/parameters/{field}", text))
                    continue  # cleared
                stored[field] = self.kept[field]
                opened[field] = self._open(field)
            elif holds_sealed(value):
                wrong.append(FieldError(f"/parameters/{field}", "must be the secret itself, not its sealed form"))
            else:
                try:
                    value = _clean(value)
                except ValueError as error:
                    wrong.append(FieldError(f"/parameters/{field}", str(error)))
                    continue
                opened[field] = value
                # Sealing twice never gives the same text. An equal secret keeps its stored form, or every write is a change.
                if field in self.kept and self._is_kept(field, value):
                    stored[field] = self.kept[field]
                else:
                    stored.update(close_secrets(self.seal, self.kind, self.name, {field: value}, self.fields))
        if wrong:
            raise InputError(wrong)
        return stored, opened

    def _moved(self, field: str, written: JsonObject) -> str | None:
        """The parameter that says where the secret is sent, and says something else than what is stored; None: none does."""
        return next(
            (name for name in secret_addresses(self.model).get(field, ()) if self._differs(name, written)), None
        )

    def _differs(self, name: str, written: JsonObject) -> bool:
        if name in self.fields:
            new = written.get(name, SET)
            return new != SET and not (name in self.kept and self._is_kept(name, new))
        default = self.model.model_fields[name].get_default(call_default_factory=True, validated_data={})
        before, after = (default if (value := side.get(name)) is None else value for side in (self.kept, written))
        return bool(before != after)

    def _open(self, field: str) -> object:
        return open_secrets(self.seal, self.kind, self.name, {field: self.kept[field]}, self.fields)[field]

    def _is_kept(self, field: str, value: object) -> bool:
        try:
            return bool(self._open(field) == value)
        except SecretError:  # sealed with a key that is gone; writing the secret again is how to mend it
            return False


def _clean(value: object) -> object:
    """Secrets without a byte order mark before them and line ends behind them. Raises ValueError."""
    if isinstance(value, list):
        return [_clean(part) for part in value]
    if isinstance(value, dict):
        return {key: _clean(part) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    text = value.removeprefix("\ufeff").rstrip("\r\n")
    for end, word in ((text[:1], "begins"), (text[-1:], "ends")):
        # Cc and Cf: control characters and invisible ones, such as the zero-width space; Z: blanks of every width.
        if end and (category(end) in ("Cc", "Cf") or category(end).startswith("Z")):
            what = "a blank" if end == " " else f"the character U+{ord(end):04X}, which cannot be seen"
            raise ValueError(f"{word} with {what}; take it out")
    return text


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


def check_kept(kind: Kind, name: str, before: JsonObject, after: JsonObject, registry: Registry) -> None:
    """Raises Conflict where a stored secret would be cleared, since its address becomes another; of the same type only."""
    if before.get("type") != after.get("type"):
        return
    lost = sorted(secrets_of(kind, before, registry) - after.get("parameters", {}).keys())
    if lost:
        named = ", ".join(f"/parameters/{field}" for field in lost)
        raise Conflict(
            f"{named} of the {kind} {name!r} {MOVED} address and would be cleared; clear it first,"
            " or write it anew together with the address that it is for"
        )


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
