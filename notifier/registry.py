"""The registry of plugin types: our own, given explicitly, and installed ones, found by entry points.

Entry-point groups are `notifier.producers`, `notifier.filters` and `notifier.consumers`.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from notifier.errors import FieldError, InputError, NotifierError
from notifier.plugin import (
    Consumer,
    Filter,
    FilterParameters,
    Parameters,
    Plugin,
    PluginKind,
    Producer,
    nested_secrets,
    secret_fields,
    wrong_addresses,
)
from notifier.seal import Seal, is_sealed
from notifier.validation import validated

logger = logging.getLogger(__name__)

_BASES: dict[PluginKind, type[Plugin[Any]]] = {"producer": Producer, "filter": Filter, "consumer": Consumer}


class Registry:
    """Plugin classes by kind and type. A value: `with_plugins` makes a larger one, so that a test can build a small one."""

    def __init__(self, plugins: Iterable[type[Plugin[Any]]] = ()) -> None:
        """Raises NotifierError when a class cannot be a plugin, or two plugins of a kind have the same type."""
        self._plugins: dict[tuple[PluginKind, str], type[Plugin[Any]]] = {}
        for plugin in plugins:
            _check_class(plugin)
            key = plugin.kind, plugin.type
            if key in self._plugins and self._plugins[key] is not plugin:
                raise NotifierError(
                    f"two plugins are the {plugin.kind} type {plugin.type!r}: {self._plugins[key]} and {plugin}"
                )
            self._plugins[key] = plugin

    def with_plugins(self, *plugins: type[Plugin[Any]]) -> "Registry":
        """This registry and more plugins."""
        return Registry([*self._plugins.values(), *plugins])

    def with_installed(self) -> "Registry":
        """This registry and the plugins that installed packages announce.

        One that cannot be loaded or used, or whose type there is already, is logged and left out, not raised.
        """
        registry = self
        for kind, base in _BASES.items():
            for entry_point in entry_points(group=f"notifier.{kind}s"):
                try:
                    plugin = entry_point.load()
                    if not (isinstance(plugin, type) and issubclass(plugin, base)):
                        raise NotifierError(f"it is not a class derived from {base.__name__}")
                    registry = registry.with_plugins(plugin)
                except Exception as error:  # other people's code must not stop ours
                    logger.error(
                        "The plugin %s is left out: %s",
                        entry_point.value,
                        str(error) or type(error).__name__,
                        exc_info=None if isinstance(error, NotifierError) else error,
                        extra={"action": "load_plugin"},
                    )
        return registry

    def __iter__(self) -> Iterator[type[Plugin[Any]]]:
        return iter(self._plugins.values())

    def types(self, kind: PluginKind) -> list[str]:
        """The types of a kind, sorted."""
        return sorted(name for plugin_kind, name in self._plugins if plugin_kind == kind)

    def get(self, kind: PluginKind, type_: str) -> type[Plugin[Any]]:
        """The class of a type. Raises InputError at `/type` that lists the known ones."""
        plugin = self._plugins.get((kind, type_))
        if plugin is None:
            known = ", ".join(self.types(kind)) or "none"
            raise InputError(FieldError("/type", f"there is no {kind} type {type_!r} (known: {known})"))
        return plugin

    def check(self, kind: PluginKind, type_: str, parameters: Mapping[str, Any]) -> Parameters:
        """The parameters as the type's model. Raises InputError that names each field under `/parameters`."""
        return validated(self.get(kind, type_).Parameters, dict(parameters), "/parameters")

    def build(
        self, kind: PluginKind, name: str, type_: str, parameters: Mapping[str, Any], seal: Seal | None
    ) -> Plugin[Any]:
        """An instance for a stored definition: secrets opened with `seal`, unknown fields ignored.

        Without a seal (the router has none) secrets stay closed; such an instance can be asked about its world and lanes,
        and does not deliver. Raises InputError or SecretError.
        """
        plugin = self.get(kind, type_)
        opened = dict(parameters)
        if seal is not None:
            opened.update(open_secrets(seal, kind, name, parameters, secret_fields(plugin.Parameters)))
        try:
            return plugin(validated(plugin.Parameters, opened, "/parameters", extra="ignore"))
        except NotifierError:
            raise
        except Exception as error:  # a plugin's own code must not stop the others
            logger.error(
                "The %s type %s raised an error when the %s %s was made.",
                kind,
                type_,
                kind,
                name,
                exc_info=error,
                extra={"action": "build_plugin"},
            )
            raise InputError(FieldError("/parameters", f"the plugin failed: {type(error).__name__}: {error}")) from None


def _check_class(plugin: type[Plugin[Any]]) -> None:
    where = f"{plugin.__module__}.{plugin.__qualname__}"
    if not isinstance(getattr(plugin, "type", None), str) or not plugin.type:
        raise NotifierError(f"the plugin {where} needs a `type`, the word that definitions name it by")
    model = getattr(plugin, "Parameters", None)
    if not (isinstance(model, type) and issubclass(model, Parameters)):
        raise NotifierError(f"the plugin {where} needs `Parameters`, a class derived from notifier.Parameters")
    hidden = nested_secrets(model)
    if hidden:
        # They would be stored and published in clear: only whole fields of the parameters themselves are sealed.
        raise NotifierError(
            f"the plugin {where} has secrets inside of {', '.join(sorted(hidden))}; make them fields of its own"
        )
    if unknown := wrong_addresses(model):
        raise NotifierError(
            f"the plugin {where} names in `addresses` what is no field or no secret: {', '.join(unknown)}"
        )
    if plugin.kind == "filter" and not issubclass(model, FilterParameters):
        raise NotifierError(f"the filter {where} needs `Parameters`, a class derived from notifier.FilterParameters")


def close_secrets(
    seal: Seal, kind: str, name: str, parameters: Mapping[str, Any], fields: frozenset[str]
) -> dict[str, Any]:
    """The secret fields of parameters, sealed for `<kind>/<name>/<field>`. Idempotent: a sealed value stays."""
    return {
        field: map_secret(
            parameters[field],
            lambda value, field=field: value if is_sealed(value) else seal.close(value, f"{kind}/{name}/{field}"),
        )
        for field in fields & parameters.keys()
    }


def open_secrets(
    seal: Seal, kind: str, name: str, parameters: Mapping[str, Any], fields: frozenset[str]
) -> dict[str, Any]:
    """The secret fields of parameters, opened. Raises SecretError."""
    return {
        field: map_secret(parameters[field], lambda value, field=field: seal.open(value, f"{kind}/{name}/{field}"))
        for field in fields & parameters.keys()
    }


def map_secret(value: Any, change: Any) -> Any:
    """The value of a secret parameter with each of its texts changed: one, or those of a list or mapping."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_secret(part, change) for part in value]
    if isinstance(value, dict):
        return {key: map_secret(part, change) for key, part in value.items()}
    return value
