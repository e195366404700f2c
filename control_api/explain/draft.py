"""Draft: a configuration as somebody thinks of writing it, within a catalog. Nothing is stored."""

from collections.abc import Iterator
from dataclasses import replace

from control_api.access.teams import Hidden
from control_api.definitions.json_value import check_json
from control_api.definitions.spec import check_templates, references_of
from control_api.definitions.usernames import Usernames
from notifier.catalog import Catalog, Configuration
from notifier.definition import ConfigurationSpec, check_name, read_spec
from notifier.errors import FieldError, InputError
from notifier.group import group_named


def with_draft(catalog: Catalog, name: str, document: object, hidden: Hidden, place: str = "/draft") -> Catalog:
    """The catalog with a configuration as the document has it, which is that of PUT. Its version is 0: it is not stored.

    It may not name what is hidden. Raises InputError whose pointers begin with `place`.
    """
    try:
        spec = _read(catalog, name, document)
        missing = list(_missing(catalog, spec, hidden))
        if missing:
            raise InputError(missing)
    except InputError as error:
        raise InputError([FieldError(place + one.pointer, one.detail) for one in error.errors]) from None
    draft = Configuration(name=name, version=0, spec=spec).with_members(catalog.groups)
    return replace(catalog, configurations={**catalog.configurations, name: draft})


def _read(catalog: Catalog, name: str, document: object) -> ConfigurationSpec:
    if not isinstance(document, dict):
        raise InputError(FieldError("", "must be an object"))
    check_json(document)
    check_name("configuration", name)
    if document.get("name", name) != name:
        raise InputError(FieldError("/name", f"must be {name!r}, or left out"))
    spec = read_spec("configuration", {key: value for key, value in document.items() if key != "name"})
    assert isinstance(spec, ConfigurationSpec)
    check_templates(spec)
    known = Usernames(catalog.users)
    found = [name if group_named(name) is not None else known.find(name) for name in spec.users]
    return spec.model_copy(update={"users": tuple(found)})


def _missing(catalog: Catalog, spec: ConfigurationSpec, hidden: Hidden) -> Iterator[FieldError]:
    for one in references_of(spec):
        known = one.name in getattr(catalog, f"{one.kind}s") or f"{one.kind}/{one.name}" in catalog.problems
        if not known or one.name in hidden.of(one.kind):
            yield FieldError(one.pointer, f"there is no {one.kind} {one.name!r}")
