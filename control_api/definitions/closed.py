"""Closed: definitions of files as a catalog reads them, without their secrets, which need not be known.

Something else stands in the place of each secret. So a plugin can be asked for its world and its addresses, as the router asks
it, and not deliver.
"""

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic import SecretStr

from control_api.definitions.documents import Document, first_of, named
from control_api.definitions.spec import references_of
from control_api.definitions.usernames import Usernames
from notifier.catalog import Catalog
from notifier.definition import ConfigurationSpec, Definition, GroupSpec, PluginSpec, read_spec
from notifier.errors import FieldError, InputError
from notifier.outcome import Kind
from notifier.plugin import secret_fields
from notifier.record import JsonObject
from notifier.registry import Registry

_CLOSED = "sealed:none:closed"  # in place of a secret


def catalog_of(documents: Sequence[Document], before: Catalog) -> Catalog:
    """A catalog with the documents' definitions in place of those of the same names.

    Raises InputError that names every definition that does not fit, cannot be used, or names another that is not there.
    """
    usernames = Usernames([*_names(documents, "user"), *before.users])
    definitions: list[Definition] = []
    wrong: list[FieldError] = []
    for document in documents:
        try:
            definitions.append(_closed(document, before.registry, usernames))
        except InputError as error:
            wrong += named(document, error)
    if not wrong:
        catalog = before.with_changes((one.kind, one.name, one) for one in definitions)
        wrong = [fault for document in documents for fault in _faults(document, catalog, usernames)]
    if wrong:
        raise InputError(first_of(wrong))
    return catalog


def _names(documents: Sequence[Document], kind: Kind) -> list[str]:
    return [document.name for document in documents if document.kind == kind]


def _closed(document: Document, registry: Registry, usernames: Usernames) -> Definition:
    kind, name = document.kind, document.name
    model = read_spec(kind, document.value)
    spec: JsonObject = model.model_dump(mode="json", exclude_defaults=True)
    if kind == "user":
        name = usernames.find(name)
    if isinstance(model, ConfigurationSpec) and model.users:
        spec["users"] = [usernames.find(user) for user in model.users]
    if isinstance(model, GroupSpec) and model.members:
        spec["members"] = [usernames.find(user) for user in model.members]
    if isinstance(model, PluginSpec) and kind in ("producer", "filter", "consumer"):
        parameters = registry.get(kind, model.type).Parameters
        fields = parameters.model_fields
        secrets = {
            field: _shaped(fields[field].annotation)
            for field in secret_fields(parameters)
            if field in model.parameters or fields[field].is_required()
        }
        spec["parameters"] = {**model.parameters, **secrets}
    return Definition(kind=kind, name=name, revision=0, spec=spec)


def _shaped(annotation: Any) -> Any:
    """What a secret field of that type may hold, without a secret."""
    if annotation is SecretStr:
        return _CLOSED
    origin = get_origin(annotation)
    if origin is dict:
        return {"closed": _CLOSED}
    if origin in (list, tuple, set, frozenset):
        return [_CLOSED]
    return next((shaped for part in get_args(annotation) if (shaped := _shaped(part)) is not None), None)


def _faults(document: Document, catalog: Catalog, usernames: Usernames) -> Iterator[FieldError]:
    """Why the catalog cannot use a definition, and what it names and is not there."""
    at = f"{document.place} {document.kind} {document.name}"
    problem = catalog.problems.get(f"{document.kind}/{document.name}")
    if problem is not None:
        yield FieldError(at, problem)
    model = read_spec(document.kind, document.value)
    for one in references_of(model):
        name = usernames.find(one.name) if one.kind == "user" else one.name
        if name not in getattr(catalog, f"{one.kind}s") and f"{one.kind}/{name}" not in catalog.problems:
            yield FieldError(f"{at} {one.pointer}", f"there is no {one.kind} {one.name!r}")
