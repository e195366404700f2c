"""Kinds: what the pages of each kind of definition show, and what they teach who has none yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from control_api.access.actor import Scope
from control_api.console.navigation import N_
from notifier.outcome import Kind
from notifier.record import JsonObject


@dataclass(frozen=True, kw_only=True)
class KindPage:
    """The pages of one kind. Texts are in English, for the translation."""

    title: str
    columns: Sequence[tuple[str, str]]  # heading, and the field that stands there
    teaching: str  # where there are none
    example: str  # what a new one begins as
    scope: Scope = "write"  # to change one


KIND_PAGES: Mapping[Kind, KindPage] = {
    "user": KindPage(
        title=N_("Users"),
        columns=((N_("Title"), "title"), (N_("Works"), "working_time"), (N_("On leave"), "on_leave")),
        teaching=N_("A user is a person who is told, with a name in each world: in GitHub, in Telegram, by e-mail."),
        example="username: alice\nadditional_info:\n  github: {username: octocat}\n  email: {address: alice@example.org}\n",
    ),
    "group": KindPage(
        title=N_("Groups"),
        columns=((N_("Title"), "title"), (N_("Members"), "members")),
        teaching=N_("A group stands for its members wherever users are named."),
        example="name: backend\nmembers: [alice]\n",
    ),
    "script": KindPage(
        title=N_("Scripts"),
        columns=((N_("Title"), "title"), (N_("Runs in"), "executor")),
        teaching=N_("A script makes messages, or delivers them. It runs in a sandbox."),
        example='name: disk-space\nexecutor: bash\ncontent: |\n  echo \'[{"content": "hello"}]\'\n',
        scope="admin",
    ),
    "template": KindPage(
        title=N_("Templates"),
        columns=((N_("Title"), "title"),),
        teaching=N_("A template is a piece of text that the templates of configurations include."),
        example='name: footer\ncontent: "{{ message.url }}"\n',
    ),
    "producer": KindPage(
        title=N_("Producers"),
        columns=((N_("Type"), "type"), (N_("Title"), "title")),
        teaching=N_("A producer is where messages come from: “push” takes them by HTTP, others ask a service."),
        example="name: ci\ntype: push\n",
    ),
    "mapping": KindPage(
        title=N_("Mappings"),
        columns=((N_("Title"), "title"), (N_("Producers"), "producers"), (N_("Matchers"), "matchers")),
        teaching=N_("A mapping sets labels, title, severity or receiver of messages before the filters see them."),
        example="name: owners\nmatchers: [service=api]\nset: {labels: {team: backend}}\n",
    ),
    "filter": KindPage(
        title=N_("Filters"),
        columns=((N_("Type"), "type"), (N_("Title"), "title")),
        teaching=N_("A filter decides which messages go on."),
        example="name: loud\ntype: severity\nparameters: {at_least: warning}\n",
    ),
    "consumer": KindPage(
        title=N_("Consumers"),
        columns=((N_("Type"), "type"), (N_("Title"), "title")),
        teaching=N_("A consumer is how people are told: Telegram, VK, e-mail, a webhook, a script of yours."),
        example='name: hook\ntype: webhook\nparameters: {url: "https://example.org/hook"}\n',
    ),
    "configuration": KindPage(
        title=N_("Configurations"),
        columns=(
            (N_("Title"), "title"),
            (N_("Enabled"), "enabled"),
            (N_("Producers"), "producers"),
            (N_("Filters"), "filters"),
            (N_("Consumers"), "consumers"),
            (N_("Users"), "users"),
        ),
        teaching=N_("A configuration says whose messages go through which filters to whom, and how."),
        example="name: all-to-hook\nproducers: [ci]\nconsumers: [hook]\nusers: [alice]\n",
    ),
}


def cell(document: JsonObject, field: str) -> str | list[str]:
    """What stands in a list for a field of a definition."""
    value = document.get(field, {"enabled": True, "on_leave": False}.get(field))
    match value:
        case None:
            return "–"
        case bool():
            return "✓" if value else "–"
        case list():
            return [str(one) for one in value]
        case dict():
            return " ".join(str(value[name]) for name in ("start", "end", "timezone") if name in value)
        case _:
            return str(value)
