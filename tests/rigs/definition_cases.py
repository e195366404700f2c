"""What can be done with definitions and what comes of it: one table that runs through REST and through GraphQL.

Each case is one operation on `BASE`. Words are those of YAML and REST; a surface translates them, and its answers back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from control_api.access.actor import Scope
from notifier.outcome import Kind

SECRET = "hunter2-and-a-half"

BASE: tuple[tuple[Kind, Mapping[str, Any]], ...] = (
    ("user", {"username": "alice", "additional_info": {"github": {"username": "octocat"}}}),
    ("user", {"username": "bob", "on_leave": True}),
    ("group", {"name": "ops", "members": ["alice"]}),
    ("script", {"name": "disk-space", "content": "df"}),
    ("script", {"name": "unused", "content": "true"}),
    ("template", {"name": "footer", "content": "See {{ message.url }}"}),
    ("template", {"name": "text", "content": '{{ message.content }}{% include "footer" %}'}),
    ("producer", {"name": "ci", "title": "Builds", "type": "push", "parameters": {"webhook_secret": SECRET}}),
    ("producer", {"name": "disk", "type": "script", "parameters": {"script": "disk-space"}}),
    (
        "mapping",
        {
            "name": "owners",
            "producers": ["ci"],
            "table": {"key": "service", "rows": {"web": {"labels": {"team": "a"}}}},
        },
    ),
    ("filter", {"name": "no-drafts", "type": "skip_keywords", "parameters": {"skip_keywords": ["draft"]}}),
    ("filter", {"name": "loud", "type": "severity", "parameters": {"at_least": "error"}}),
    ("consumer", {"name": "to-file", "type": "script", "parameters": {"script": "disk-space", "batch": 5}}),
    (
        "configuration",
        {
            "name": "main",
            "users": ["bob", "alice"],
            "producers": ["disk", "ci"],
            "filters": ["no-drafts", "loud"],
            "consumers": ["to-file"],
            "schedule": {"cron": "*/10 * * * *", "timezone": "Europe/Berlin"},
        },
    ),
)

Operation = Literal["create", "update", "delete", "get", "list"]
Expected = Literal["done", "unknown", "conflict", "stale", "forbidden", "invalid", "malformed"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operation and what is expected of it."""

    id: str
    rows: Sequence[str] = ()  # of the predecessor that it shows
    do: Operation
    kind: Kind
    name: str = ""  # of an update, a delete or a get
    written: Mapping[str, Any] = field(default_factory=dict)  # a document, a merge patch, or a list's parameters
    expect: Expected = "done"
    pointers: Sequence[str] = ()  # of what is `invalid`
    shows: Mapping[str, Any] = field(default_factory=dict)  # what is in the document afterwards
    names: Sequence[str] = ()  # of a list
    if_match: Literal["none", "fresh", "stale"] = "none"
    scope: Scope = "write"
    in_graphql: Expected | None = None  # where its types refuse what the services would


CASES: tuple[Case, ...] = (
    # what is written is what is shown, and what is left out is its default
    Case(
        id="a user is created", rows=("S-1", "S-67",),
        do="create",
        kind="user",
        written={
            "username": "carol@x",
            "on_leave": True,
            "working_time": {"start": "09:00", "end": "18:00", "days": ["mon"], "timezone": "Europe/Moscow"},
            "additional_info": {"telegram": [{"id": 123, "username": "carol"}]},
            "muted_until": "2199-01-01T00:00:00Z",
            "muted": {"builds": "2199-01-01T00:00:00Z"},
        },
        shows={
            "username": "carol@x",
            "on_leave": True,
            "working_time": {"start": "09:00", "end": "18:00", "days": ["mon"], "timezone": "Europe/Moscow"},
            "additional_info": {"telegram": [{"id": 123, "username": "carol"}]},
            "muted_until": "2199-01-01T00:00:00Z",
            "muted": {"builds": "2199-01-01T00:00:00Z"},
        },
    ),
    Case(
        id="a user needs only a name", rows=("S-1",),
        do="create",
        kind="user",
        written={"username": "dave"},
        shows={"on_leave": False, "working_time": None, "language": "en", "additional_info": {}},
    ),
    Case(
        id="a user has a language", do="update", kind="user", name="alice", written={"language": "ru"},
        shows={"language": "ru"},
    ),
    Case(
        id="a language that nobody speaks here", do="create", kind="user", written={"username": "x", "language": "tlh"},
        expect="invalid", pointers=["/language"],
    ),
    Case(
        id="null is no field", rows=("S-15",), do="create", kind="user",
        written={"username": "erin", "on_leave": None, "working_time": None, "additional_info": None, "muted": None},
        shows={"on_leave": False, "working_time": None, "additional_info": {}, "muted": {}, "muted_until": None},
    ),
    Case(
        id="a group is created", do="create", kind="group",
        written={"name": "devs", "members": ["BOB", "alice"], "additional_info": {"github": {"username": "org/devs"}}},
        shows={"members": ["bob", "alice"], "additional_info": {"github": {"username": "org/devs"}}},
    ),
    Case(
        id="a group of nobody", do="create", kind="group", written={"name": "devs", "members": ["nobody", "zoe"]},
        expect="invalid", pointers=["/members/0", "/members/1"],
    ),
    Case(
        id="a group in a group", do="create", kind="group", written={"name": "devs", "members": ["bob", "group:ops"]},
        expect="invalid", pointers=["/members/1"],
    ),
    Case(id="a group among users", do="update", kind="configuration", name="main", written={"users": ["bob", "group:ops"]}),
    Case(
        id="a group that is not there", do="update", kind="configuration", name="main",
        written={"users": ["group:devs", "group:ops"]}, expect="invalid", pointers=["/users/0"],
    ),
    Case(
        id="a group that no name can have", do="update", kind="configuration", name="main",
        written={"users": ["group:", "group:Ops", "group:ops:x"]}, expect="invalid",
        pointers=["/users/0", "/users/1", "/users/2"],
    ),
    Case(id="a group is deleted", do="delete", kind="group", name="ops"),
    Case(
        id="a script is created", rows=("S-7", "S-69",),
        do="create",
        kind="script",
        written={"name": "load", "executor": "python", "content": "print([])"},
        shows={"name": "load", "executor": "python", "content": "print([])", "title": None},
        scope="admin",
    ),
    Case(
        id="a template is created", do="create", kind="template",
        written={"name": "mail", "title": "For mail", "content": '{% include "text" %}'},
        shows={"name": "mail", "title": "For mail", "content": '{% include "text" %}'},
    ),
    Case(
        id="a template that includes nobody's", do="create", kind="template",
        written={"name": "mail", "content": '{% include "text" %}{% include "signature" %}'},
        expect="invalid", pointers=["/content"],
    ),
    Case(
        id="a template that is none", do="create", kind="template", written={"name": "mail", "content": "{% if %}"},
        expect="invalid", pointers=["/content"],
    ),
    Case(
        id="a template without content", do="create", kind="template", written={"name": "mail"},
        expect="invalid", pointers=["/content"],
    ),
    Case(
        id="a template that leads back to itself", do="update", kind="template", name="footer",
        written={"content": '{% include "text" %}'}, expect="invalid", pointers=["/content"],
    ),
    Case(
        id="a configuration includes a template", do="update", kind="configuration", name="main",
        written={"template": '{% include "text" %}'}, shows={"template": '{% include "text" %}'},
    ),
    Case(
        id="a configuration includes what is not there", do="update", kind="configuration", name="main",
        written={"template": '{% include "signature" %}'}, expect="invalid", pointers=["/template"],
    ),
    Case(
        id="a consumer has texts", do="update", kind="consumer", name="to-file",
        written={"subject": "{{ message.title|bold }}", "template": '{% include "text" %}'},
        shows={"subject": "{{ message.title|bold }}", "template": '{% include "text" %}'},
    ),
    Case(
        id="a consumer's texts that are none", do="update", kind="consumer", name="to-file",
        written={"subject": "{{ nobody }}", "template": "{{ message|linked }}"},
        expect="invalid", pointers=["/subject", "/template"],
    ),
    Case(
        id="a subject that is none", do="update", kind="configuration", name="main", written={"subject": "{{"},
        expect="invalid", pointers=["/subject"],
    ),
    Case(id="a template that is included stays", do="delete", kind="template", name="footer", expect="conflict"),
    Case(id="a template is deleted", do="delete", kind="template", name="text"),
    Case(
        id="a mapping is created", do="create", kind="mapping",
        written={"name": "loud", "producers": ["ci"], "matchers": ["env=prod"], "set": {"severity": "error"}, "order": 7},
        shows={
            "name": "loud", "producers": ["ci"], "matchers": ["env=prod"], "order": 7, "table": None,
            "set": {"labels": {}, "title": None, "severity": "error", "receiver": None},
        },
    ),
    Case(
        id="a mapping that does not fit", do="create", kind="mapping",
        written={
            "name": "loud", "matchers": ["env"], "set": {"severity": "fatal", "labels": {"a": 7}},
            "table": {"key": "x", "rows": {"y": {"team": "z"}}},
        },
        expect="invalid",
        pointers=["/matchers/0", "/set/labels/a", "/set/severity", "/table/rows/y/team"],
    ),
    Case(
        id="a mapping of nobody's messages", do="create", kind="mapping",
        written={"name": "loud", "producers": ["nobody"], "set": {"title": "x"}}, expect="invalid", pointers=["/producers/0"],
    ),
    Case(
        id="a mapping is changed", do="update", kind="mapping", name="owners", written={"set": {"labels": {"env": "prod"}}},
        shows={
            "set": {"labels": {"env": "prod"}, "title": None, "severity": None, "receiver": None},
            "table": {
                "key": "service",
                "rows": {"web": {"labels": {"team": "a"}, "title": None, "severity": None, "receiver": None}},
            },
        },
    ),
    Case(id="a mapping is deleted", do="delete", kind="mapping", name="owners"),
    Case(
        id="a producer is created and its secret is not shown",
        do="create",
        kind="producer",
        written={"name": "hook", "type": "push", "parameters": {"webhook_secret": SECRET}},
        shows={"name": "hook", "type": "push", "parameters": {"webhook_secret": {"set": True}}},
    ),
    Case(
        id="a filter is created", rows=("S-37",),
        do="create",
        kind="filter",
        written={
            "name": "wip",
            "title": "Skip",
            "type": "skip_keywords",
            "parameters": {"skip_keywords": ["wip"], "negate": True},
        },
        shows={"title": "Skip", "type": "skip_keywords", "parameters": {"skip_keywords": ["wip"], "negate": True}},
    ),
    Case(
        id="a consumer is created", rows=("S-52",),
        do="create",
        kind="consumer",
        written={"name": "also-to-file", "type": "script", "parameters": {"script": "disk-space"}},
        shows={"name": "also-to-file", "type": "script", "parameters": {"script": "disk-space"}},
    ),
    Case(
        id="a configuration is created and its filters keep their order", rows=("S-8", "S-9", "S-64",),
        do="create",
        kind="configuration",
        written={
            "name": "other",
            "title": "Another",
            "users": ["bob"],
            "producers": ["ci"],
            "filters": ["loud", "no-drafts"],
            "consumers": ["to-file"],
            "schedule": {"cron": "0 9 * * mon-fri", "missed": "none"},
            "template": "{{ message.title }}",
            "enabled": False,
        },
        shows={
            "title": "Another",
            "users": ["bob"],
            "producers": ["ci"],
            "filters": ["loud", "no-drafts"],
            "consumers": ["to-file"],
            "template": "{{ message.title }}",
            "enabled": False,
        },
    ),
    Case(
        id="a configuration may name nothing", rows=("S-8", "S-64",),
        do="create",
        kind="configuration",
        written={"name": "empty"},
        shows={"users": [], "producers": [], "filters": [], "consumers": [], "schedule": None, "enabled": True},
    ),
    Case(
        id="a script is for bash unless it says otherwise", rows=("S-7",), do="create", kind="script",
        written={"name": "load", "content": "uptime"}, shows={"executor": "bash"}, scope="admin",
    ),
    Case(
        id="parameters may be left out", rows=("S-5",), do="create", kind="producer",
        written={"name": "hook", "type": "push"}, shows={"name": "hook", "type": "push", "parameters": {}},
    ),
    Case(
        id="two configurations may have one title and one schedule", rows=("S-79",), do="create", kind="configuration",
        written={"name": "twin", "title": "Main", "schedule": {"cron": "*/10 * * * *", "timezone": "Europe/Berlin"}},
        shows={"name": "twin", "title": "Main"},
    ),
    # what does not fit is named
    Case(
        id="the field status is gone", rows=("S-4", "S-67"),
        do="create", kind="user", written={"username": "x", "status": "Developer"},
        expect="invalid", pointers=["/status"], in_graphql="malformed",
    ),
    Case(
        id="information about a user that is none", rows=("S-15",), do="create", kind="user",
        written={"username": "x", "additional_info": "nothing"}, expect="invalid", pointers=["/additional_info"],
    ),
    Case(
        id="a user without name", do="create", kind="user", written={}, expect="invalid", pointers=["/username"]
    ),
    Case(
        id="a name with a capital letter", do="create", kind="filter",
        written={"name": "Loud", "type": "severity", "parameters": {"at_least": "error"}}, expect="invalid", pointers=["/name"],
    ),
    Case(
        id="a producer without type", do="create", kind="producer", written={"name": "x"}, expect="invalid", pointers=["/type"]
    ),
    Case(
        id="an unknown type", rows=("S-68",), do="create", kind="producer", written={"name": "x", "type": "pigeon"},
        expect="invalid", pointers=["/type"],
    ),
    Case(
        id="a required parameter is missing", rows=("S-59",),
        do="create", kind="filter", written={"name": "x", "type": "severity"},
        expect="invalid", pointers=["/parameters/at_least"],
    ),
    Case(
        id="two wrong parameters", rows=("S-59",), do="create", kind="consumer",
        written={"name": "x", "type": "script", "parameters": {"script": "disk-space", "batch": 0, "color": "red"}},
        expect="invalid", pointers=["/parameters/batch", "/parameters/color"],
    ),
    Case(
        id="a working time that cannot be", do="create", kind="user",
        written={"username": "x", "working_time": {"start": "25:00", "end": "18:00", "timezone": "Mars"}},
        expect="invalid", pointers=["/working_time/start", "/working_time/timezone"],
    ),
    Case(
        id="a wrong world", do="create", kind="user", written={"username": "x", "additional_info": {"github": "octocat"}},
        expect="invalid", pointers=["/additional_info"],
    ),
    Case(
        id="names of nothing", do="create", kind="configuration",
        written={"name": "x", "users": ["alice", "nobody"], "consumers": ["nothing"]},
        expect="invalid", pointers=["/consumers/0", "/users/1"],
    ),
    Case(
        id="a producer of a script that is not there", rows=("S-52",), do="create", kind="producer",
        written={"name": "x", "type": "script", "parameters": {"script": "nothing"}},
        expect="invalid", pointers=["/parameters/script"],
    ),
    Case(
        id="a minute that no hour has", do="create", kind="configuration",
        written={"name": "x", "schedule": {"cron": "142 * * * *"}}, expect="invalid", pointers=["/schedule/cron"],
    ),
    Case(
        id="a field that is not there", do="create", kind="user", written={"username": "x", "color": "red"},
        expect="invalid", pointers=["/color"], in_graphql="malformed",
    ),
    Case(
        id="a number for a truth", do="create", kind="user", written={"username": "x", "on_leave": 7},
        expect="invalid", pointers=["/on_leave"], in_graphql="malformed",
    ),
    Case(id="a name is given once", rows=("S-1",), do="create", kind="user", written={"username": "alice"}, expect="conflict"),
    Case(id="a name is given once in any case", do="create", kind="user", written={"username": "ALICE"}, expect="conflict"),
    # changes are merge patches
    Case(
        id="what is not given stays", do="update", kind="producer", name="ci", written={"title": "CI"},
        shows={"title": "CI", "type": "push", "parameters": {"webhook_secret": {"set": True}}},
    ),
    Case(
        id="a secret is written back as it is shown", do="update", kind="producer", name="ci",
        written={"parameters": {"webhook_secret": {"set": True}}}, shows={"parameters": {"webhook_secret": {"set": True}}},
    ),
    Case(
        id="null clears a secret", do="update", kind="producer", name="ci",
        written={"parameters": {"webhook_secret": None}}, shows={"parameters": {}},
    ),
    Case(
        id="null goes back to the default", rows=("S-80",), do="update", kind="configuration", name="main",
        written={"schedule": None}, shows={"schedule": None, "users": ["bob", "alice"]},
    ),
    Case(
        id="objects are merged", do="update", kind="user", name="alice",
        written={"additional_info": {"telegram": {"id": 5}}},
        shows={"additional_info": {"github": {"username": "octocat"}, "telegram": {"id": 5}}},
    ),
    Case(
        id="lists are replaced", do="update", kind="configuration", name="main", written={"filters": ["loud"]},
        shows={"filters": ["loud"], "consumers": ["to-file"]},
    ),
    Case(
        id="a name cannot be changed", do="update", kind="user", name="alice", written={"username": "carol"},
        expect="invalid", pointers=["/username"],
    ),
    Case(
        id="a change that does not fit", do="update", kind="filter", name="loud",
        written={"parameters": {"at_least": "scream"}}, expect="invalid", pointers=["/parameters/at_least"],
    ),
    Case(id="a change of nobody", do="update", kind="user", name="nobody", written={"on_leave": True}, expect="unknown"),
    Case(
        id="a change of what was read", do="update", kind="user", name="alice", written={"on_leave": True}, if_match="fresh",
        shows={"on_leave": True},
    ),
    Case(
        id="a change of what was changed", do="update", kind="user", name="alice", written={"on_leave": True}, if_match="stale",
        expect="stale",
    ),
    # deleting
    Case(id="a configuration is deleted", rows=("S-80",), do="delete", kind="configuration", name="main"),
    Case(id="a script is deleted", rows=("S-54",), do="delete", kind="script", name="unused", scope="admin"),
    Case(id="a user that is named stays", do="delete", kind="user", name="alice", expect="conflict"),
    Case(id="a script that is run stays", rows=("S-54",),
    do="delete", kind="script", name="disk-space", expect="conflict", scope="admin"),
    Case(id="nobody is deleted", do="delete", kind="user", name="nobody", expect="unknown"),
    Case(
        id="what was read is deleted", do="delete", kind="configuration", name="main", if_match="fresh"
    ),
    Case(id="what was changed stays", do="delete", kind="configuration", name="main", if_match="stale", expect="stale"),
    # reading
    Case(
        id="a producer is read", rows=("S-6", "S-68",), do="get", kind="producer", name="ci", scope="read",
        shows={"name": "ci", "title": "Builds", "type": "push", "parameters": {"webhook_secret": {"set": True}}},
    ),
    Case(
        id="a configuration is read", rows=("S-65",), do="get", kind="configuration", name="main", scope="read",
        shows={"users": ["bob", "alice"], "producers": ["disk", "ci"], "filters": ["no-drafts", "loud"]},
    ),
    Case(id="nobody is read", do="get", kind="user", name="nobody", scope="read", expect="unknown"),
    Case(id="a list is by name", rows=("S-67",), do="list", kind="user", scope="read", names=["alice", "bob"]),
    Case(
        id="configurations that have filters are listed", rows=("S-65",),
        do="list", kind="configuration", scope="read", names=["main"]
    ),
    Case(id="a list is searched", do="list", kind="user", written={"q": "LIC"}, scope="read", names=["alice"]),
    Case(id="a list is searched by title", rows=("S-6",),
    do="list", kind="producer", written={"q": "build"}, scope="read", names=["ci"]),
    Case(id="a list has a limit", do="list", kind="filter", written={"limit": 1}, scope="read", names=["loud"]),
    Case(
        id="a limit that cannot be", do="list", kind="user", written={"limit": 501}, scope="read",
        expect="invalid", pointers=["/limit"],
    ),
    # who may
    Case(id="a reader writes", do="create", kind="user", written={"username": "x"}, scope="read", expect="forbidden"),
    Case(id="a writer reads", do="get", kind="user", name="alice", scope="write", expect="forbidden"),
    Case(
        id="a writer writes a script", do="create", kind="script", written={"name": "x", "content": "rm"}, expect="forbidden"
    ),
    Case(
        id="a writer changes a script", do="update", kind="script", name="unused", written={"content": "rm"}, expect="forbidden"
    ),
    Case(id="a writer deletes a script", do="delete", kind="script", name="unused", expect="forbidden"),
    Case(
        id="a writer opens the network", do="update", kind="producer", name="disk", written={"parameters": {"network": True}},
        expect="forbidden",
    ),
    Case(
        id="a writer lets write", do="create", kind="consumer",
        written={"name": "x", "type": "script", "parameters": {"script": "disk-space", "write": ["/srv"]}}, expect="forbidden",
    ),
)  # fmt: skip

# For pytest.mark.parametrize: each with its name and the rows of the predecessor that it shows.
PARAMETERS = [pytest.param(case, id=case.id, marks=pytest.mark.predecessor(*case.rows)) for case in CASES]
