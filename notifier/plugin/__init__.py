"""The plugin API: what a producer, a filter and a consumer are. A plugin author imports `notifier` and nothing else."""

from notifier.plugin.consumer import ACCEPTED, Consumer, ConsumerParameters, Result, result_of
from notifier.plugin.context import Context
from notifier.plugin.feed import Feed
from notifier.plugin.filter import Candidate, Filter, FilterParameters, Lookup
from notifier.plugin.hearing import Hearing
from notifier.plugin.hook import Hook, Received
from notifier.plugin.hook_parameters import HookParameters
from notifier.plugin.limit import Limit, at_most
from notifier.plugin.moves import Moves
from notifier.plugin.parameters import (
    Parameters,
    ParametersModel,
    WorldParameters,
    nested_secrets,
    secret_addresses,
    secret_fields,
    secrets_in,
    wrong_addresses,
)
from notifier.plugin.plugin import Plugin, PluginKind
from notifier.plugin.producer import Producer
from notifier.plugin.proxy_parameters import ProxyParameters
from notifier.plugin.signature_scheme import SCHEMES, SchemeName, SignatureScheme, scheme_of

__all__ = [
    "ACCEPTED",
    "SCHEMES",
    "Candidate",
    "Consumer",
    "ConsumerParameters",
    "Context",
    "Feed",
    "Filter",
    "FilterParameters",
    "Hearing",
    "Hook",
    "HookParameters",
    "Limit",
    "Lookup",
    "Moves",
    "Parameters",
    "ParametersModel",
    "Plugin",
    "PluginKind",
    "Producer",
    "ProxyParameters",
    "Received",
    "Result",
    "SchemeName",
    "SignatureScheme",
    "WorldParameters",
    "at_most",
    "nested_secrets",
    "result_of",
    "scheme_of",
    "secret_addresses",
    "secret_fields",
    "secrets_in",
    "wrong_addresses",
]
