"""Payloads as GitHub sends them, nearly whole, and what may stand in place of any one field of them."""

import copy
from collections.abc import Iterator
from typing import Any

from notifier import JsonObject
from tests.rigs.github_stub import REPOSITORY

ABSENT = object()
NULLS = (None, ABSENT)
# Of another type, empty, beyond every limit, and what cannot be written as UTF-8.
ODD: tuple[Any, ...] = (
    True,
    5,
    -1,
    1.5,
    float("nan"),
    10**400,
    "",
    " ",
    "x",
    "x" * 401,
    "\ud800",
    "a\0b",
    "y\nz",
    [],
    {},
)
ODD_WITHIN: tuple[Any, ...] = (
    [None],
    [5],
    ["bug"],
    [[]],
    [{}],
    {"login": None},
    {"login": 5},
    {"login": []},
    {"from": {"name": 5}},
)


def person(login: str) -> JsonObject:
    """An account."""
    return {
        "login": login,
        "id": 21031067,
        "node_id": "MDQ6VXNlcjIxMDMxMDY3",
        "html_url": f"https://github.com/{login}",
        "type": "User",
        "site_admin": False,
    }


def real_repository(name: str = REPOSITORY) -> JsonObject:
    """A repository."""
    return {
        "id": 352163,
        "name": name.partition("/")[2],
        "full_name": name,
        "private": False,
        "owner": person(name.partition("/")[0]),
        "html_url": f"https://github.com/{name}",
        "description": None,
        "default_branch": "main",
    }


def real_pull(number: int = 7) -> JsonObject:
    """A pull request."""
    link = f"https://github.com/{REPOSITORY}/pull/{number}"
    return {
        "id": 279147437,
        "number": number,
        "url": f"https://api.github.com/repos/{REPOSITORY}/pulls/{number}",
        "html_url": link,
        "state": "open",
        "locked": False,
        "title": "Update the README",
        "user": person("hubot"),
        "body": None,
        "created_at": "2026-11-23T08:00:00Z",
        "updated_at": "2026-11-23T09:00:00Z",
        "closed_at": None,
        "merged_at": None,
        "assignee": person("octocat"),
        "assignees": [person("octocat")],
        "requested_reviewers": [person("reviewer")],
        "requested_teams": [],
        "labels": [{"id": 1, "name": "bug", "color": "f29513", "description": None, "default": True}],
        "milestone": None,
        "draft": False,
        "head": {"label": "hubot:fix", "ref": "fix", "sha": "ec26c3e", "user": person("hubot"), "repo": None},
        "base": {"label": "octo-org:main", "ref": "main", "sha": "f95f852", "repo": real_repository()},
        "merged": False,
        "author_association": "NONE",
    }


def _run(**more: Any) -> JsonObject:
    return {
        "id": 1,
        "name": "CI",
        "html_url": f"https://github.com/{REPOSITORY}/actions/runs/1",
        "status": "completed",
        "conclusion": "failure",
        "head_branch": "main",
        "head_sha": "ec26c3e",
        "pull_requests": [],
        **more,
    }


def _issue() -> JsonObject:
    link = f"https://github.com/{REPOSITORY}/issues/3"
    return {"number": 3, "title": "It breaks", "html_url": link, "state": "open", "state_reason": None, "labels": []}


EVENTS: dict[str, JsonObject] = {
    "pull_request": {
        "action": "opened",
        "number": 7,
        "pull_request": real_pull(),
        "assignee": person("octocat"),
        "requested_reviewer": person("reviewer"),
    },
    "pull_request_review": {
        "action": "submitted",
        "review": {
            "id": 80,
            "user": person("reviewer"),
            "body": None,
            "state": "changes_requested",
            "html_url": f"https://github.com/{REPOSITORY}/pull/7#pullrequestreview-80",
        },
        "pull_request": real_pull(),
    },
    "pull_request_review_comment": {
        "action": "created",
        "comment": {"html_url": f"https://github.com/{REPOSITORY}/pull/7#discussion_r1", "body": "No."},
        "pull_request": real_pull(),
    },
    "workflow_run": {"action": "completed", "workflow_run": _run(), "workflow": {"name": "CI"}},
    "workflow_job": {"action": "completed", "workflow_job": _run(name="build", workflow_name="CI")},
    "check_run": {
        "action": "completed",
        "check_run": _run(name="lint", check_suite={"head_branch": "main", "conclusion": None}, head_branch=ABSENT),
    },
    "check_suite": {"action": "completed", "check_suite": _run(name=ABSENT, app={"name": "Actions"})},
    "status": {
        "id": 6805126730,
        "sha": "ec26c3e",
        "name": REPOSITORY,
        "target_url": "https://ci.example/build/9",
        "context": "ci/build",
        "description": "Tests failed",
        "state": "failure",
        "commit": {"html_url": f"https://github.com/{REPOSITORY}/commit/ec26c3e", "commit": {"message": "Fix"}},
        "branches": [{"name": "main", "protected": False}],
    },
    "deployment_status": {
        "action": "created",
        "deployment_status": {
            "state": "failure",
            "environment": "production",
            "description": "No room left",
            "target_url": "",
            "log_url": "https://ci.example/deploy/9",
            "environment_url": "",
        },
        "deployment": {"ref": "main", "task": "deploy", "environment": "production", "description": None},
    },
    "issue_comment": {
        "action": "created",
        "issue": _issue(),
        "comment": {"html_url": f"https://github.com/{REPOSITORY}/issues/3#issuecomment-1", "body": "Why?"},
    },
    "issues": {"action": "closed", "issue": _issue() | {"state": "closed", "state_reason": "not_planned"}},
    "push": {
        "ref": "refs/heads/main",
        "compare": f"https://github.com/{REPOSITORY}/compare/a...b",
        "head_commit": {"message": "Fix it\n\nlong"},
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": [],
    },
    "create": {"ref": "v1", "ref_type": "tag", "master_branch": "main"},
    "dependabot_alert": {
        "action": "created",
        "alert": {
            "number": 2,
            "state": "open",
            "security_advisory": {"summary": "Prototype pollution", "severity": "high"},
            "html_url": f"https://github.com/{REPOSITORY}/security/dependabot/2",
        },
    },
    "repository": {"action": "renamed", "changes": {"repository": {"name": {"from": "hello.world"}}}},
}


def real(event: str) -> JsonObject:
    """The payload of an event, with the repository and the person who acted."""
    payload = {**EVENTS[event], "repository": real_repository(), "sender": person("actor")}
    found = _without_absent(copy.deepcopy(payload))
    assert isinstance(found, dict)
    return found


def _without_absent(value: Any) -> Any:
    if isinstance(value, dict):
        # Copies of ABSENT are other objects than ABSENT, so that the type decides.
        return {name: _without_absent(part) for name, part in value.items() if type(part) is not object}
    return value


def altered(value: Any, instead: object) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The value once for each place in it, with `instead` at that place, or without the place where that is ABSENT."""
    places: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, part in list(places):
        changed = copy.copy(value)
        if instead is ABSENT:
            del changed[place]
        else:
            changed[place] = instead
        yield (place,), changed
        for path, deeper in altered(part, instead):
            changed = copy.copy(value)
            changed[place] = deeper
            yield (place, *path), changed
