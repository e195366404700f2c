"""What the pages of other sites may do with the cookie of a session."""

from collections.abc import Mapping

import pytest

from tests.rigs.console_server import JSON, Console

pytest_plugins = ["tests.rigs.databases"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


BODY = b'{"query": "{ __typename }"}'


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Origin": "<own>", **JSON}, BODY, 200),
        ({"Sec-Fetch-Site": "same-origin", **JSON}, BODY, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied.example", **JSON}, BODY, 200),
        (JSON, BODY, 403),
        ({"Origin": "https://evil.example", **JSON}, BODY, 403),
        ({"Origin": "null", **JSON}, BODY, 403),
        ({"Origin": "", **JSON}, BODY, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "<own>", **JSON}, BODY, 403),
        ({"Sec-Fetch-Site": "same-site", **JSON}, BODY, 403),
        ({"Sec-Fetch-Site": "none", **JSON}, BODY, 403),
        ({"Origin": "<own>", "Content-Type": "text/plain"}, BODY, 415),
        ({"Origin": "<own>", "Content-Type": "application/x-www-form-urlencoded"}, b"query=a", 415),
        ({"Origin": "<own>", "Content-Type": "multipart/form-data; boundary=a"}, b"--a--", 415),
        ({"Origin": "<own>"}, BODY, 415),
    ],
)
async def test_a_cookie_changes_something_only_from_our_own_pages(
    console: Console, headers: Mapping[str, str], content: bytes, status: int
) -> None:
    own = {name: value.replace("<own>", console.url) for name, value in headers.items()}
    ticket = await console.session("admin")
    async with console.client(ticket) as asking:
        del asking.headers["origin"]
        answer = await asking.post("/graphql", content=content, headers=own)
        assert answer.status_code == status, answer.text
        rest = await asking.delete("/api/v1/users/nobody", headers=own)
        assert rest.status_code == (403 if status == 403 else 404), rest.text
        out = await asking.post("/console/logout", headers=own)
        assert out.status_code == (403 if status == 403 else 303)
    # A program's token is no page's to use, whatever it says of its origin.
    async with console.client(headers={"Authorization": f"Bearer {console.tokens['admin']}"}) as program:
        assert (await program.post("/graphql", content=content, headers={**own, **JSON})).status_code != 403


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("null", 403), (None, 403), ("<own>", 401)]
)
async def test_the_form_is_taken_from_our_own_page_only(console: Console, origin: str | None, status: int) -> None:
    async with console.client() as asking:
        del asking.headers["origin"]
        headers = {} if origin is None else {"Origin": origin.replace("<own>", console.url)}
        answer = await asking.post("/console/login", data={"name": "a", "password": "b"}, headers=headers)
        assert answer.status_code == status
        as_json = await asking.post("/console/login", json={"name": "a", "password": "b"}, headers=headers)
        assert as_json.status_code == (401 if origin is None else status)
