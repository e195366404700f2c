"""Definitions: what people write (users, scripts, producers, filters, consumers, configurations), and its record."""

from notifier.definition.specs import (
    MAX_SCRIPT_BYTES,
    MAX_SPEC_BYTES,
    SPECS,
    ConfigurationSpec,
    Definition,
    Name,
    PluginSpec,
    ScheduleSpec,
    ScriptSpec,
    Username,
    UserSpec,
    check_name,
    definition_key,
    read_spec,
)

__all__ = [
    "MAX_SCRIPT_BYTES",
    "MAX_SPEC_BYTES",
    "SPECS",
    "ConfigurationSpec",
    "Definition",
    "Name",
    "PluginSpec",
    "ScheduleSpec",
    "ScriptSpec",
    "UserSpec",
    "Username",
    "check_name",
    "definition_key",
    "read_spec",
]
