"""Examples: bodies as people would write them, for OpenAPI. Together they are a small installation that works."""

from collections.abc import Mapping

from control_api.definitions.spec import name_field
from notifier.outcome import KINDS, Kind
from notifier.record import JsonObject

DOCUMENTS: Mapping[Kind, JsonObject] = {
    "user": {
        "username": "alice",
        "working_time": {"start": "09:00", "end": "18:00", "timezone": "Europe/Berlin"},
        "additional_info": {"github": {"username": "octocat"}, "telegram": {"id": 123}},
    },
    "group": {"name": "ops", "title": "Operations", "members": ["alice"]},
    "script": {"name": "append", "executor": "bash", "content": "cat >> /srv/out\n"},
    "template": {"name": "footer", "content": "{% if message.url %}See {{ message.url }}{% endif %}"},
    "producer": {"name": "builds", "title": "The build server", "type": "push"},
    "mapping": {
        "name": "owners",
        "producers": ["builds"],
        "matchers": ["service!=test"],
        "set": {"severity": "error"},
        "table": {"key": "service", "rows": {"billing": {"labels": {"team": "payments"}, "receiver": "alice"}}},
    },
    "filter": {"name": "no-drafts", "type": "skip_keywords", "parameters": {"skip_keywords": ["draft", "wip"]}},
    "consumer": {
        "name": "to-file",
        "type": "script",
        "retry": {"schedule_s": [5, 30, 300], "ttl_s": 3600},
        "parameters": {"script": "append", "timeout_s": 30},
    },
    "configuration": {
        "name": "broken-builds",
        "users": ["alice", "group:ops"],
        "producers": ["builds"],
        "filters": ["no-drafts"],
        "consumers": ["to-file"],
        "template": '{{ message.title or message.content }} {% include "footer" %}',
    },
}
PATCHES: Mapping[Kind, JsonObject] = {
    "user": {"on_leave": True, "working_time": {"end": "17:00"}},
    "group": {"title": "On call"},
    "script": {"content": "cat >> /srv/messages\n"},
    "template": {"title": "Below each text"},
    "producer": {"title": None, "parameters": {"world": "ci"}},
    "mapping": {"order": 10, "set": {"labels": {"team": "infra"}}},
    "filter": {"parameters": {"ignore_case": True}},
    "consumer": {"retry": {"ttl_s": None}, "unknown": "give_up", "parameters": {"timeout_s": 10}},
    "configuration": {"enabled": False},
}
BULK: JsonObject = {f"{kind}s": [DOCUMENTS[kind]] for kind in KINDS}
MESSAGE: JsonObject = {
    "producer": "builds",
    "receiver": "alice",
    "title": "Build 42 failed",
    "content": "3 tests failed on main",
    "severity": "error",
    "url": "https://ci.example/42",
}
SHOWN_MESSAGE: JsonObject = {
    **MESSAGE,
    "id": "019ad0c4-5e31-7d52-9f0b-6c1d7f5f2a10",
    "sender": None,
    "labels": {},
    "cut": False,
    "at": "2026-11-29T11:52:39.071000Z",
    "partition": 3,
    "offset": 4711,
    "attempts": [],
}
COUNTERS: JsonObject = {
    "step": "hour",
    "since": "2026-11-28T12:00:00Z",
    "until": "2026-11-29T12:00:00Z",
    "items": [
        {
            "at": "2026-11-29T11:00:00Z",
            "configuration": "broken-builds",
            "outcome": "accepted",
            "reason": "ok",
            "count": 7,
        }
    ],
    "next_cursor": None,
}
HOOK: JsonObject = {"content": "Build 42 failed", "severity": "error", "labels": {"branch": "main"}}
ALERTS: JsonObject = {
    "version": "4",
    "groupKey": '{}:{alertname="DiskFull"}',
    "status": "firing",
    "receiver": "notifier",
    "groupLabels": {"alertname": "DiskFull"},
    "commonLabels": {"alertname": "DiskFull", "severity": "critical", "instance": "db1:9100"},
    "commonAnnotations": {"summary": "The disk of db1 is full"},
    "externalURL": "http://alertmanager.example:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "DiskFull", "severity": "critical", "instance": "db1:9100"},
            "annotations": {"summary": "The disk of db1 is full", "description": "98 % of /var are used"},
            "startsAt": "2026-11-29T09:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example:9090/graph?g0.expr=disk",
            "fingerprint": "8f6e0a6c2d1b4c3e",
        }
    ],
}
WEBHOOK: JsonObject = {"zen": "Keep it logically awesome.", "hook_id": 1}
TOKEN: JsonObject = {"name": "ci", "scopes": ["push"], "expires_at": "2199-01-31T00:00:00Z"}
ACCOUNT: JsonObject = {"name": "ada", "password": "correct horse battery staple", "role": "editor"}
ACCOUNT_CHANGE: JsonObject = {"role": "viewer"}
DRY_RUN: JsonObject = {
    "draft": {"users": ["alice"], "producers": ["builds"], "filters": [], "consumers": ["to-file"]},
    "since": "2026-11-28T00:00:00Z",
}
EXPLAIN: JsonObject = {"message": MESSAGE, "configuration": "broken-builds"}
CONFIGURATION_EXPLAIN: JsonObject = {"message": MESSAGE, "draft": {**DRY_RUN["draft"], "enabled": True}}
PAYLOAD_PREVIEW: JsonObject = {
    "payload": {"text": "failed", "level": "fatal"},
    "mapping": {"content": "text", "severity": "level"},
}
PREVIEW: JsonObject = {"message": MESSAGE, "consumer": "to-file"}
REDRIVE: JsonObject = {"consumer": "to-file", "reason": "exhausted", "since": "2026-11-28T00:00:00Z"}
ROLLBACK: JsonObject = {"version": 1}
SEND_TEST: JsonObject = {"text": "Do you read me?"}
PAUSE: JsonObject = {"reason": "moving to another chat"}


def replacement(kind: Kind) -> JsonObject:
    """A document without its name, which is in the address."""
    return {field: value for field, value in DOCUMENTS[kind].items() if field != name_field(kind)}
