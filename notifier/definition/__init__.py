"""Definitions: what people write (users, scripts, templates, consumers, configurations and so on), and its record."""

from notifier.definition.consumer_spec import ConsumerSpec
from notifier.definition.definition import Definition, definition_key
from notifier.definition.group_spec import GroupSpec
from notifier.definition.mapping_spec import MappingSpec
from notifier.definition.names import Name, Username, check_name, is_username
from notifier.definition.plugin_spec import PluginSpec
from notifier.definition.producer_spec import ProducerSpec
from notifier.definition.schedule_spec import ScheduleSpec
from notifier.definition.specs import (
    MAX_SCRIPT_BYTES,
    MAX_SPEC_BYTES,
    SPECS,
    ConfigurationSpec,
    ScriptSpec,
    read_spec,
)
from notifier.definition.template_spec import TemplateSpec
from notifier.definition.user_spec import UserSpec

__all__ = [
    "MAX_SCRIPT_BYTES",
    "MAX_SPEC_BYTES",
    "SPECS",
    "ConfigurationSpec",
    "ConsumerSpec",
    "Definition",
    "GroupSpec",
    "MappingSpec",
    "Name",
    "PluginSpec",
    "ProducerSpec",
    "ScheduleSpec",
    "ScriptSpec",
    "TemplateSpec",
    "UserSpec",
    "Username",
    "check_name",
    "definition_key",
    "is_username",
    "read_spec",
]
