"""Catalog: all definitions at one revision, read and linked, as router, runner and delivery use them. Immutable."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from notifier.definition import (
    SPECS,
    ConfigurationSpec,
    ConsumerSpec,
    Definition,
    GroupSpec,
    MappingSpec,
    PluginSpec,
    ScriptSpec,
    TemplateSpec,
    UserSpec,
)
from notifier.errors import NotifierError, UnknownName
from notifier.group import Group, group_named
from notifier.identity import Directory
from notifier.mapping import Mappings, MessageMapping
from notifier.outcome import Kind
from notifier.plugin import Consumer, Filter, Plugin, Producer
from notifier.registry import Registry
from notifier.script import Script
from notifier.seal import Seal
from notifier.seldom import Seldom
from notifier.user import User
from notifier.validation import validated

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A configuration at one version, which is the revision that wrote it, with the members that its groups have now."""

    name: str
    version: int
    spec: ConfigurationSpec
    members: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # usernames by group, of the groups that it names

    @cached_property
    def usernames(self) -> tuple[str, ...]:
        """Its users, each once, the members of its groups among them.

        A group that cannot be used stands for itself, `group:NAME`. So do groups without members in a configuration that has
        nobody else: it is not one without users.
        """
        found: dict[str, None] = {}
        for name in self.spec.users:
            group = group_named(name)
            found.update(dict.fromkeys((name,) if group is None else self.members.get(group, (name,))))
        return tuple(found) or self.spec.users

    @cached_property
    def users(self) -> frozenset[str]:
        """`usernames` as a set."""
        return frozenset(self.usernames)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups among its users."""
        return tuple([group for name in self.spec.users if (group := group_named(name)) is not None])

    def with_members(self, groups: Mapping[str, Group]) -> "Configuration":
        """The same configuration with the members that its groups have in these."""
        return replace(self, members={name: groups[name].members for name in self.groups if name in groups})


Change = tuple[Kind, str, Definition | None]  # None: deleted


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All definitions. One that this program cannot use is logged, left out, and named in `problems`."""

    registry: Registry
    seal: Seal | None = field(default=None, repr=False)  # none: secrets stay closed
    revision: int = 0
    users: Mapping[str, User] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    scripts: Mapping[str, Script] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)  # the texts of named templates
    producers: Mapping[str, Producer[Any]] = field(default_factory=dict)
    mappings: Mapping[str, MessageMapping] = field(default_factory=dict)
    filters: Mapping[str, Filter[Any]] = field(default_factory=dict)
    consumers: Mapping[str, Consumer[Any]] = field(default_factory=dict)
    configurations: Mapping[str, Configuration] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)  # "<kind>/<name>" → what is wrong with it
    pass_on_error: frozenset[str] = frozenset()  # filters that cannot be used and have `on_error: pass`

    @cached_property
    def directory(self) -> Directory:
        """Who is who."""
        return Directory(self.users.values(), self.groups.values())

    @cached_property
    def by_producer(self) -> Mapping[str, tuple[Configuration, ...]]:
        """The enabled configurations that consider a producer's messages, by producer, in order of their names."""
        found: dict[str, list[Configuration]] = {}
        for name in sorted(self.configurations):
            configuration = self.configurations[name]
            if configuration.spec.enabled:
                for producer in configuration.spec.producers:
                    found.setdefault(producer, []).append(configuration)
        return {producer: tuple(configurations) for producer, configurations in found.items()}

    @cached_property
    def _mappings_in_order(self) -> Mappings:
        return sorted(self.mappings.values(), key=lambda mapping: (mapping.order, mapping.name))

    def mappings_of(self, producer: str) -> Mappings:
        """The mappings of a producer's messages, in the order in which they apply."""
        return tuple([each for each in self._mappings_in_order if not each.producers or producer in each.producers])

    def script(self, name: str) -> Script:
        """The script of that name. Raises UnknownName."""
        try:
            return self.scripts[name]
        except KeyError:
            raise UnknownName("script", name, list(self.scripts)) from None

    def with_changes(self, changes: Iterable[Change]) -> "Catalog":
        """The catalog after some changes. Unchanged parts are shared with this one, plugin instances included."""
        tables: dict[Kind, dict[str, Any]] = {}
        problems = dict(self.problems)
        pass_on_error = set(self.pass_on_error)
        revision = self.revision
        for kind, name, definition in changes:
            table = tables.get(kind)
            if table is None:
                table = tables[kind] = dict(getattr(self, f"{kind}s"))
            table.pop(name, None)
            problems.pop(f"{kind}/{name}", None)
            if kind == "filter":
                pass_on_error.discard(name)
            if definition is None:
                continue
            revision = max(revision, definition.revision)
            try:
                table[name] = self._read(definition)
            except Exception as error:  # a plugin's own fault, too, must cost this definition alone
                # The text of such a fault may hold a secret that was opened for the plugin.
                words = str(error) if isinstance(error, NotifierError) else f"its plugin raised {type(error).__name__}"
                problems[f"{kind}/{name}"] = words
                if kind == "filter" and _passes_on_error(definition):
                    pass_on_error.add(name)
                _seldom.log(
                    logging.ERROR,
                    "The %s %s cannot be used: %s",
                    kind,
                    name,
                    words,
                    extra={"action": "read_definition", "definition": f"{kind}/{name}"},
                )
        self._link(tables)
        changed: dict[str, Any] = {f"{kind}s": table for kind, table in tables.items()}
        changed["pass_on_error"] = frozenset(pass_on_error)
        catalog = replace(self, revision=revision, problems=problems, **changed)
        if "user" not in tables and "group" not in tables and "directory" in self.__dict__:
            catalog.__dict__["directory"] = self.directory
        return catalog

    def _link(self, tables: dict[Kind, dict[str, Any]]) -> None:
        """Gives each configuration the members of its groups, where one of both changed."""
        groups: Mapping[str, Group] = tables.get("group", self.groups)
        other = {name for name in groups.keys() | self.groups.keys() if groups.get(name) is not self.groups.get(name)}
        configurations: Mapping[str, Configuration] = tables.get("configuration", self.configurations)
        linked = {
            name: configuration.with_members(groups)
            for name, configuration in configurations.items()
            if configuration.groups
            and (configuration is not self.configurations.get(name) or not other.isdisjoint(configuration.groups))
        }
        if linked:
            tables["configuration"] = {**configurations, **linked}

    def _read(self, definition: Definition) -> Any:
        # A newer writer of the same version may write more fields.
        spec = validated(SPECS[definition.kind], definition.spec, extra="ignore")
        if isinstance(spec, UserSpec):
            return user_of(definition.name, spec)
        if isinstance(spec, GroupSpec):
            return Group(name=definition.name, members=spec.members, additional_info=spec.additional_info)
        if isinstance(spec, ScriptSpec):
            return Script(name=definition.name, executor=spec.executor, content=spec.content)
        if isinstance(spec, TemplateSpec):
            return spec.content
        if isinstance(spec, MappingSpec):
            return MessageMapping.of(definition.name, spec)
        if isinstance(spec, ConfigurationSpec):
            return Configuration(name=definition.name, version=definition.revision, spec=spec)
        assert isinstance(spec, PluginSpec)
        assert definition.kind in ("producer", "filter", "consumer")
        plugin: Plugin[Any] = self.registry.build(
            definition.kind, definition.name, spec.type, spec.parameters, self.seal
        )
        if isinstance(plugin, Consumer) and isinstance(spec, ConsumerSpec):
            plugin.policy = spec.policy()
            plugin.wording = spec.wording()
        return plugin


def _passes_on_error(definition: Definition) -> bool:
    """Whether a filter that cannot be used says `on_error: pass`, as far as its parameters can be read."""
    parameters = definition.spec.get("parameters")
    return isinstance(parameters, dict) and parameters.get("on_error") == "pass"


def user_of(name: str, spec: UserSpec) -> User:
    """The person that a definition describes."""
    return User(
        username=name,
        on_leave=spec.on_leave,
        working_time=spec.working_time.value() if spec.working_time else None,
        language=spec.language,
        additional_info=spec.additional_info,
        muted_until=spec.muted_until,
        muted=spec.muted,
    )
