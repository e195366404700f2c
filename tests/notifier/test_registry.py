"""Plugin types, their parameters and their secrets."""

import logging
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from notifier import registry as registry_module
from notifier.errors import InputError, NotifierError, SecretError
from notifier.plugin import (
    Filter,
    FilterParameters,
    Parameters,
    nested_secrets,
    secret_fields,
)
from notifier.registry import Registry, close_secrets, open_secrets
from notifier.seal import Seal, generate_key, is_sealed
from tests.rigs.plugins import REGISTRY, Chat, ChatParameters, Clumsy, Hiding, HidingParameters, Nothing, Push


@pytest.mark.predecessor("S-56")
def test_a_plugin_is_found_by_its_type() -> None:
    assert REGISTRY.get("consumer", "chat") is Chat
    assert REGISTRY.types("filter") == ["clumsy", "nothing"]
    assert set(REGISTRY) == {Chat, Push, Nothing, Clumsy}
    assert Chat.describe() == "A chat."


@pytest.mark.predecessor("S-56")
def test_an_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"/type: there is no filter type 'chat' \(known: clumsy, nothing\)"):
        REGISTRY.get("filter", "chat")
    with pytest.raises(InputError, match=r"\(known: none\)"):
        Registry().get("filter", "nothing")


@pytest.mark.predecessor("S-56")
def test_two_plugins_of_one_type_are_refused() -> None:
    class Other(Nothing):
        """Another of the same type."""

    with pytest.raises(NotifierError, match="two plugins are the filter type 'nothing'"):
        REGISTRY.with_plugins(Other)
    assert set(REGISTRY.with_plugins(Nothing)) == set(REGISTRY)


def test_a_filter_whose_parameters_are_not_those_of_a_filter_is_refused() -> None:
    class Bare(Filter[Any]):
        """Has no `negate` and no `on_error`."""

        type = "bare"
        Parameters = Parameters

    with pytest.raises(
        NotifierError, match=r"Bare needs `Parameters`, a class derived from notifier\.FilterParameters"
    ):
        Registry([Bare])


def test_secrets_are_found_wherever_they_can_be_sealed() -> None:
    assert secret_fields(ChatParameters) == {"token", "spare", "headers"}
    assert nested_secrets(ChatParameters) == frozenset()
    assert nested_secrets(HidingParameters) == {"login"}
    with pytest.raises(NotifierError, match="has secrets inside of login"):
        Registry([Hiding])


class _Announced:
    """Stands in a test module, where entry points look for what installed packages announce."""

    Good = Nothing
    NotAPlugin = dict
    WrongKind = Push
    Hidden = Hiding
    Taken: Any = None


def test_installed_plugins_that_cannot_be_used_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Taken(Nothing):
        """Has the type of another."""

    _Announced.Taken = Taken
    values = [
        "_Announced.Good",
        "_Announced.Taken",
        "_Announced.NotAPlugin",
        "_Announced.WrongKind",
        "_Announced.Hidden",
    ]
    points = [EntryPoint("x", f"{__name__}:{value}", "notifier.filters") for value in values]
    points += [EntryPoint("x", value, "notifier.filters") for value in ("no.such.module:X", f"{__name__}:NoSuchClass")]

    def announced(*, group: str) -> list[EntryPoint]:
        return points if group == "notifier.filters" else []

    monkeypatch.setattr(registry_module, "entry_points", announced)
    with caplog.at_level(logging.ERROR):
        assert set(Registry([Push]).with_installed()) == {Push, Nothing}
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 6
    assert "two plugins are the filter type 'nothing'" in texts[0]
    assert "it is not a class derived from Filter" in texts[1]
    assert "it is not a class derived from Filter" in texts[2]
    assert "has secrets inside of login" in texts[3]
    assert "No module named 'no'" in texts[4]
    assert "NoSuchClass" in texts[5]


@pytest.mark.predecessor("S-58")
def test_parameters_are_checked_and_each_field_named() -> None:
    assert REGISTRY.check("filter", "nothing", {"negate": True}) == FilterParameters(negate=True)
    with pytest.raises(InputError) as caught:
        REGISTRY.check("consumer", "chat", {"partitions": 0, "headers": {"a/b": 5}, "rooms": 1})
    assert [str(error) for error in caught.value.errors] == [
        "/parameters/partitions: must be greater than or equal to 1",
        "/parameters/token: is required",
        "/parameters/headers/a~1b: must be text; put it in quotes",
        "/parameters/rooms: is not a field here",
    ]


def test_secrets_are_sealed_where_they_lie_and_opened_where_the_plugin_runs() -> None:
    seal = Seal(generate_key())
    written = {"token": "t0ken", "spare": ["a", "b"], "headers": {"X-Key": "k"}, "chat": "team"}
    closed = {**written, **close_secrets(seal, "consumer", "c", written, secret_fields(ChatParameters))}
    assert closed["chat"] == "team"
    assert is_sealed(closed["token"])
    assert all(map(is_sealed, [*closed["spare"], *closed["headers"].values()]))
    assert open_secrets(seal, "consumer", "c", closed, secret_fields(ChatParameters)) == {
        "token": "t0ken",
        "spare": ["a", "b"],
        "headers": {"X-Key": "k"},
    }
    assert close_secrets(seal, "consumer", "c", closed, secret_fields(ChatParameters))["token"] == closed["token"]
    opened = REGISTRY.build("consumer", "c", "chat", closed, seal)
    assert opened.parameters.token.get_secret_value() == "t0ken"
    assert "t0ken" not in repr(opened.parameters)
    unopened = REGISTRY.build("consumer", "c", "chat", closed, None)
    assert unopened.parameters.token.get_secret_value() == closed["token"]
    with pytest.raises(SecretError, match="changed or moved"):
        REGISTRY.build("consumer", "another", "chat", closed, seal)
