"""The GitHub producer against a stub of GitHub's API: pages, messages, parameters and the check."""

import pytest
from pydantic import SecretStr, ValidationError

from control_api.registry import load_registry
from notifier import JsonObject, Permanent
from notifier.catalog import Catalog
from notifier.message import check_message_object
from notifier.seal import load_seal
from notifier.settings import Settings
from producers.github import GitHubParameters
from streams.runner.produced import read_items
from streams.runner.producing import Given, Producing
from tests.rigs.github_stub import PULLS, REPOSITORY, TOKEN, GitHubStub, answering, context, producer, pull, said


@pytest.mark.predecessor("S-38", "S-41", "S-42", "S-43")
async def test_open_pull_requests_become_a_message_for_each_assignee(stub: GitHubStub) -> None:
    stub.pages = [[pull(42, ["octocat", "hubot"]), pull(43, [])]]
    produced = await producer().produce(context(stub))
    link = f"https://github.com/{REPOSITORY}/pull/42"
    assert [message["id"] for message in produced] == ["42-octocat", "42-hubot"]
    assert produced[0] == {
        "id": "42-octocat",
        "sender": "author",
        "receiver": "octocat",
        "title": "Change 42",
        "url": link,
        "content": f"Change 42 ({link})\nLabels: bug,good first issue",
        "occurred_at": "2026-11-23T09:00:00Z",
        "labels": {"repository": REPOSITORY, "number": "42", "draft": "false", "labels": "bug,good first issue"},
    }
    (request,) = stub.asked
    assert request.query == {"state": "open", "per_page": "100", "page": "1"}
    assert request.headers["Authorization"] == f"token {TOKEN}"
    assert request.headers["User-Agent"] == "notifier"
    items = read_items(produced, "reviews-to-chat/2026-11-23T09:00:00Z", "reviews", "reviews-to-chat")
    assert [item.error for item in items] == [None, None]


@pytest.mark.parametrize(
    ("more", "field", "expected"),
    [
        pytest.param(
            {"labels": []}, "content", f"Change 1 (https://github.com/{REPOSITORY}/pull/1)\nLabels: ", id="none"
        ),
        pytest.param({"user": None}, "sender", None, id="the author's account is gone"),
        pytest.param({"draft": True}, "labels", "true", id="a draft"),
        pytest.param({"title": "a \ud800 b"}, "title", "a ? b", id="a lone surrogate"),
        pytest.param({"updated_at": None}, "occurred_at", None, id="no time"),
        pytest.param({"user": {"login": "dependabot[bot]"}}, "sender", "dependabot[bot]", id="a bot"),
    ],
)
async def test_unusual_pull_requests(stub: GitHubStub, more: JsonObject, field: str, expected: str | None) -> None:
    stub.pages = [[pull(**more)]]
    (message,) = await producer().produce(context(stub))
    found = message["labels"]["draft"] if field == "labels" else message.get(field)
    assert found == expected
    check_message_object({"producer": "reviews", **message})


@pytest.mark.predecessor("S-40")
async def test_all_pages_are_read_and_a_pull_request_on_two_of_them_is_told_once(stub: GitHubStub) -> None:
    numbers = [*range(1, 101), *range(100, 200), *range(200, 230)]
    stub.pages = [[pull(number) for number in numbers[start : start + 100]] for start in (0, 100, 200)]
    produced = await producer().produce(context(stub))
    assert [message["id"] for message in produced] == [f"{number}-octocat" for number in range(1, 230)]
    assert stub.pages_asked() == ["1", "2", "3"]


async def test_a_short_page_that_names_a_next_one_is_not_the_end(stub: GitHubStub) -> None:
    stub.pages, asking = [[pull(1)], [], [pull(2)]], producer()
    for _ in range(2):
        assert [message["id"] for message in await asking.produce(context(stub))] == ["1-octocat", "2-octocat"]


async def test_what_has_not_changed_is_not_sent_again(stub: GitHubStub) -> None:
    asking = producer()
    stub.pages = [[pull(number) for number in range(100)], [pull(100)]]
    first = await asking.produce(context(stub))
    stub.asked.clear()
    assert await asking.produce(context(stub)) == first
    assert all("If-None-Match" in request.headers for request in stub.asked)
    stub.pages = [stub.pages[0], [pull(100, ["hubot"])]]
    changed = await asking.produce(context(stub))
    assert changed[:100] == first[:100]
    assert changed[100]["receiver"] == "hubot"
    stub.pages = [[pull(7)]]
    assert [message["id"] for message in await asking.produce(context(stub))] == ["7-octocat"]
    assert len(asking._pages) == 1


async def test_a_full_page_that_did_not_change_is_asked_beyond(stub: GitHubStub) -> None:
    asking, stub.links = producer(), False
    stub.pages = [[pull(number) for number in range(100)]]
    await asking.produce(context(stub))
    stub.pages.append([pull(100)])
    assert len(await asking.produce(context(stub))) == 101


@pytest.mark.predecessor("S-38")
async def test_without_a_token_none_is_sent(stub: GitHubStub) -> None:
    stub.pages = [[pull()]]
    assert len(await producer(None).produce(context(stub))) == 1
    assert "Authorization" not in stub.asked[0].headers


async def test_there_is_an_end_to_the_pages(stub: GitHubStub) -> None:
    stub.pages = [[] for _ in range(102)]
    with pytest.raises(Permanent, match="10000 open pull requests or more"):
        await producer().produce(context(stub))
    assert len(stub.asked) == 100


@pytest.mark.predecessor("S-39")
async def test_the_check_reads_the_repository_with_the_token(stub: GitHubStub) -> None:
    await producer().check(context(stub))
    assert [request.path for request in stub.asked] == [f"/repos/{REPOSITORY}", PULLS]
    stub.answer = answering(401, said("Bad credentials"))
    with pytest.raises(Permanent, match="Bad credentials"):
        await producer().check(context(stub))
    stub.answer = answering(404, said("Not Found"))
    with pytest.raises(Permanent, match=REPOSITORY) as raised:
        await producer().check(context(stub))
    assert raised.value.reason == "not_found"


@pytest.mark.predecessor("S-38")
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        *(
            {"repository": name}
            for name in ("", "hello", "a/b/c", "/b", "a/", "../b", "a/..", "a b/c", "a/b?c", "a/b#")
        ),
        {"repository": "https://github.com/octocat/hello-world"},
        {"repository": "o/" + "x" * 200},
        {"repository": 5},
    ],
)
def test_what_is_no_repository_is_refused(parameters: JsonObject) -> None:
    with pytest.raises(ValidationError) as raised:
        GitHubParameters.model_validate(parameters)
    assert [error["loc"] for error in raised.value.errors()] == [("repository",)]


@pytest.mark.parametrize("token", ["", "two words", "planted\nHost: x", "plantéd", "planted\x00"])
def test_what_is_no_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValidationError) as raised:
        GitHubParameters.model_validate({"repository": REPOSITORY, "token": token})
    (error,) = raised.value.errors(include_input=False)
    assert error["loc"] == ("token",)
    assert "plant" not in str(error)


def test_a_sealed_token_is_still_a_token_to_who_cannot_open_it(settings: Settings) -> None:
    sealed = load_seal(settings).close(TOKEN, "producer/reviews/token")
    assert GitHubParameters.model_validate({"repository": REPOSITORY, "token": sealed}).token is not None
    assert TOKEN not in repr(GitHubParameters(repository=REPOSITORY, token=SecretStr(TOKEN)))


async def test_the_runner_asks_it_and_masks_what_it_says(stub: GitHubStub) -> None:
    catalog = Catalog(registry=load_registry(), producers={"reviews": producer()})
    producing = Producing(context(stub).sandbox, catalog, context(stub).services)
    stub.pages = [[pull(1)]]
    given = await producing.ask("reviews")
    assert (len(given.items), given.error) == (1, None)
    stub.answer = answering(401, said(f"Bad credentials: {TOKEN}"))
    assert await producing.ask("reviews") == Given(
        error="GitHub answered 401: Bad credentials: ***; write a `token` that is valid"
    )
    await producing.close()
