"""What deliveries say: whose template counts, for whom, and what becomes of one that fails."""

from collections.abc import AsyncIterator
from datetime import time
from typing import Any

import pytest
from msgspec.structs import replace

from consumers import BUILT_IN
from consumers.text.reader import Reader, reader_of
from consumers.text.template import Renderer
from consumers.text.texts import Texts
from notifier import Marked, Span, User
from notifier.catalog import Catalog
from notifier.definition import Definition
from notifier.delivery import OPERATORS
from notifier.errors import RecordError
from notifier.registry import Registry
from notifier.working_time import WorkingTime
from producers import BUILT_IN as PRODUCERS
from tests.rigs.plugin_world import make_delivery

USERS: list[tuple[str, dict[str, Any]]] = [
    ("alice", {"language": "ru", "working_time": {"start": "09:00", "end": "18:00", "timezone": "Europe/Moscow"}}),
    ("bob", {}),
]


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    yield renderer
    await renderer.close()


def catalog_of(configuration: dict[str, Any], consumer: dict[str, Any]) -> Catalog:
    made = [
        *(Definition(kind="user", name=name, spec=spec, revision=1) for name, spec in USERS),
        Definition(
            kind="consumer",
            name="chat",
            spec={"type": "script", "parameters": {"script": "x"}, **consumer},
            revision=1,
        ),
        Definition(kind="configuration", name="all", spec=configuration, revision=1),
    ]
    catalog = Catalog(registry=Registry(BUILT_IN)).with_changes((one.kind, one.name, one) for one in made)
    assert not catalog.problems
    return catalog


@pytest.mark.parametrize(
    ("configuration", "consumer", "subject", "body", "failed"),
    [
        pytest.param({}, {}, "CI", "От octocat для al: CI\nx", None, id="none"),
        pytest.param({}, {"template": "by consumer", "subject": "s"}, "s", "by consumer", None, id="the consumer's"),
        pytest.param(
            {"template": "by configuration"},
            {"template": "by consumer", "subject": "of consumer"},
            "of consumer",
            "by configuration",
            None,
            id="the configuration's before the consumer's, each for itself",
        ),
        pytest.param(
            {"subject": "{{ message.title }}:\n{{ 'x'|bold }}\x1b[31m"},
            {"subject": "no"},
            "CI: x",
            None,
            None,
            id="one plain line",
        ),
        pytest.param({"subject": "{{ message.sender }}"}, {}, "CI", None, None, id="a blank subject"),
        pytest.param(
            {"template": "{{ message.sendr }}"},
            {"template": "by consumer"},
            "CI",
            "От octocat для al: CI\nx",
            "the template of the configuration all failed, so the default text was taken: ",
            id="one that fails",
        ),
        pytest.param(
            {},
            {"subject": "{{ 1 / 0 }}", "template": "{{ '\u200b' }}"},
            "CI",
            "От octocat для al: CI\nx",
            "the template of the consumer chat failed, so the default text was taken: the text is empty; the subject of",
            id="both fail",
        ),
    ],
)
async def test_whose_template_counts(
    renderer: Renderer,
    configuration: dict[str, Any],
    consumer: dict[str, Any],
    subject: str,
    body: str | None,
    failed: str | None,
) -> None:
    texts = Texts(renderer, catalog_of(configuration, consumer))
    rendered, why = await texts.of(make_delivery("x", message={"title": "CI"}))
    assert rendered.subject == subject
    assert body is None or rendered.body.text == body
    assert (why or "").startswith(failed or "")
    assert (why is None) == (failed is None)
    assert rendered.language == "ru"
    assert rendered.templated == ((body or "").startswith("by "))


async def test_a_template_marks_and_speaks_to_its_reader(renderer: Renderer) -> None:
    template = "{{ message.title|bold }} {{ message.occurred_at|time }}"
    texts = Texts(renderer, catalog_of({"template": template}, {}))
    rendered, why = await texts.of(make_delivery("x", message={"title": "CI", "occurred_at": "2026-11-29T18:00:00Z"}))
    assert why is None
    assert rendered.body == Marked("CI 29 ноября 2026, 21:00 MSK", (Span(start=0, end=2, style="bold"),))


async def test_what_the_operators_are_told_is_the_default_text(renderer: Renderer) -> None:
    texts = Texts(renderer, catalog_of({}, {"template": "{{ message.labels.team }}", "subject": "s"}))
    rendered, why = await texts.of(
        replace(make_delivery("paused", sender=None, receiver=None), configuration=OPERATORS)
    )
    assert (rendered.body.text, rendered.subject, why) == ("Для alice: paused", "", None)


async def test_a_message_that_cannot_be_read_has_no_text(renderer: Renderer) -> None:
    with pytest.raises(RecordError):
        await Texts(renderer, catalog_of({}, {})).of(make_delivery(message={"title": 7}))


@pytest.mark.parametrize(
    ("recipient", "recipients", "expected"),
    [
        pytest.param("ru", None, Reader(language="ru", timezone="Europe/Moscow"), id="one"),
        pytest.param("en", None, Reader(), id="one who says nothing"),
        pytest.param("nobody", None, Reader(), id="one whom nobody knows"),
        pytest.param(None, ("ru", "ru2"), Reader(language="ru"), id="two of one language in two zones"),
        pytest.param(None, ("ru", "en"), Reader(), id="two languages"),
        pytest.param(
            None, ("ru", "nobody"), Reader(language="ru", timezone="Europe/Moscow"), id="one of them is known"
        ),
        pytest.param(None, (), Reader(), id="nobody"),
        pytest.param(None, None, Reader(), id="everyone"),
    ],
)
def test_the_reader_is_what_the_recipients_have_in_common(
    recipient: str | None, recipients: tuple[str, ...] | None, expected: Reader
) -> None:
    def zone(name: str) -> WorkingTime:
        return WorkingTime(start=time(9), end=time(18), timezone=name)

    users = {
        "ru": User(username="ru", language="ru", working_time=zone("Europe/Moscow")),
        "ru2": User(username="ru2", language="ru", working_time=zone("Asia/Tomsk")),
        "en": User(username="en"),
    }
    assert reader_of(make_delivery(recipient=recipient, recipients=recipients), users) == expected


async def test_labels_that_a_producer_tells_itself_are_not_repeated(renderer: Renderer) -> None:
    made = [
        Definition(kind="producer", name="ci", spec={"type": type_, "parameters": parameters}, revision=1)
        for type_, parameters in (("github", {"repository": "octo-org/hello"}), ("push", {}))
    ]
    delivery = make_delivery(message={"labels": {"team": "infra"}, "severity": "error"})
    texts = []
    for one in made:
        catalog = Catalog(registry=Registry([*BUILT_IN, *PRODUCERS])).with_changes([("producer", "ci", one)])
        assert not catalog.problems
        texts.append((await Texts(renderer, catalog).of(delivery))[0].body.text)
    assert texts == [f"From octocat to al: build failed\nSeverity: error{more}" for more in ("", "\nteam: infra")]
