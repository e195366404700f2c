"""Ready: mappings for services that many use, by name. Each is a pure function, total over whatever JSON comes."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, get_args

from producers.payload_mapping.ready.bitbucket import bitbucket
from producers.payload_mapping.ready.cloudevents import cloudevents
from producers.payload_mapping.ready.docker_registry import docker_registry
from producers.payload_mapping.ready.gitea import gitea
from producers.payload_mapping.ready.gitlab import gitlab
from producers.payload_mapping.ready.grafana import grafana
from producers.payload_mapping.ready.healthchecks import healthchecks
from producers.payload_mapping.ready.part import Part, Parts
from producers.payload_mapping.ready.sentry import sentry
from producers.payload_mapping.ready.sns import sns
from producers.payload_mapping.ready.uptime_kuma import uptime_kuma

__all__ = ["READY", "Part", "Parts", "ReadyName"]

ReadyName: TypeAlias = Literal[
    "bitbucket",
    "cloudevents",
    "docker_registry",
    "forgejo",
    "gitea",
    "gitlab",
    "grafana",
    "healthchecks",
    "sentry",
    "sns",
    "uptime_kuma",
]
READY: Mapping[ReadyName, Callable[[object, Mapping[str, str]], Parts]] = {
    "bitbucket": bitbucket,
    "cloudevents": cloudevents,
    "docker_registry": docker_registry,
    "forgejo": gitea,
    "gitea": gitea,
    "gitlab": gitlab,
    "grafana": grafana,
    "healthchecks": healthchecks,
    "sentry": sentry,
    "sns": sns,
    "uptime_kuma": uptime_kuma,
}
assert READY.keys() == set(get_args(ReadyName))
