"""How much one request may ask, and what a list with its relations costs."""

from typing import Any

import pytest
from sqlalchemy import event

from control_api.access.actor import COMMAND_LINE
from control_api.graphql.limits import MAX_ALIASES, MAX_CHARACTERS, MAX_DEPTH, MAX_FIELDS, MAX_TOKENS
from tests.rigs.graphql_api import Api

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


def _nested(depth: int) -> str:
    return "{ users { items " + "{ configurations { users " * depth + "{ username }" + " } }" * depth + " } }"


FRAGMENTS = "".join(f"fragment f{n} on User {{ ...f{n + 1} ...f{n + 1} }} " for n in range(15))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{" + " ".join(f"a{n}: __typename" for n in range(10_000)) + "}", "TOO_COMPLEX"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(200)) + "}", "TOO_COMPLEX"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(MAX_ALIASES + 1)) + "}", "TOO_COMPLEX"),
        ("{ a " * 3_000 + "}" * 3_000, None),  # too long, or too deep for the parser: whichever is noticed first
        ("{a" * 3_000 + "}" * 3_000, "BAD_REQUEST"),  # too many tokens
        ("{a" * 320 + "}" * 320, "BAD_REQUEST"),  # too deep for the parser, or for us
        (_nested(20), "TOO_COMPLEX"),
        (_nested(3), "TOO_COMPLEX"),
        ("{ users(q: " + "[" * 900 + "]" * 90 + ") { nextCursor } }", "BAD_REQUEST"),
        ("{" + "__typename " * 1_100 + "}", "BAD_REQUEST"),
        ("{" + "... {" * 300 + "__typename" + "}" * 300 + "}", None),
        ("#" * MAX_CHARACTERS + "\n{ __typename }", "TOO_COMPLEX"),
        ("{ users { items { ...f0 } } } " + FRAGMENTS + "fragment f15 on User { username }", "TOO_COMPLEX"),
        ("{ users { items { ...a } } } fragment a on User { ...b } fragment b on User { ...a }", "TOO_COMPLEX"),
        ("{ ...nothing }", "BAD_REQUEST"),
        ("{ users { items { username } }", "BAD_REQUEST"),
        ("", "BAD_REQUEST"),
        ("subscription { users { nextCursor } }", "BAD_REQUEST"),
        ("{ users }", "BAD_REQUEST"),
        ("{ users { items { password } } }", "BAD_REQUEST"),
    ],
    ids=range(20),
)
async def test_what_asks_too_much_or_is_no_query_is_refused(api: Api, query: str, code: str | None) -> None:
    answer = await api.ask(query)
    assert "data" not in answer
    codes = {error["extensions"]["code"] for error in answer["errors"]}
    assert codes <= ({code} if code else {"BAD_REQUEST", "TOO_COMPLEX"}), answer


async def test_what_is_just_within_the_limits_is_answered(api: Api) -> None:
    assert len(await api.data("{" + " ".join(f"a{n}: __typename" for n in range(MAX_ALIASES)) + "}")) == MAX_ALIASES
    deep = "{ users { items { configurations { producers { script { consumers { configurations { name } } } } } } } }"
    assert MAX_DEPTH == 8
    assert await api.data(deep)
    assert MAX_TOKENS == 1_000
    assert MAX_FIELDS == 1_000


async def test_an_answer_that_would_hold_too_much_is_refused(own: Api) -> None:
    services = own.parts.services
    for number in range(40):
        await services.create(COMMAND_LINE, "configuration", {"name": f"c{number}", "users": ["alice", "bob"]})
    query = "{ configurations(limit: 500) { items { users { configurations { users { username } } } } } }"
    answer = await own.ask(query)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"TOO_COMPLEX"}


async def test_a_list_with_its_relations_costs_a_few_statements_however_long_it_is(own: Api) -> None:
    services = own.parts.services
    for number in range(30):
        await services.create(
            COMMAND_LINE, "configuration", {"name": f"c{number}", "users": ["alice"], "producers": ["ci"]}
        )
    query = "{ configurations { items { name users { username configurations { name } } producers { name } } } }"
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "FROM definition" in statement or "FROM reference" in statement:
            statements.append(statement)

    engine = own.parts.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    data = await own.data(query)
    event.remove(engine, "before_cursor_execute", note)
    items = data["configurations"]["items"]
    assert len(items) == 31
    assert len(items[0]["users"][0]["configurations"]) == 31
    assert len(statements) <= 5, statements
