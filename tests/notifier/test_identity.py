"""Who is who: names in worlds."""

from typing import Any

import pytest
from pydantic import SecretStr

from notifier.folded import folded
from notifier.group import Group
from notifier.identity import Ambiguous, Directory
from notifier.plugin import (
    WorldParameters,
)
from notifier.user import User
from tests.rigs.plugins import Chat, ChatParameters, Push
from tests.rigs.tables import table


def _user(username: str, **worlds: Any) -> User:
    return User(username=username, additional_info=worlds)


def _resolve(directory: Directory, world: str, name: str) -> User | Group | Ambiguous | None:
    return directory.world(world).get(folded(name))


@pytest.mark.predecessor("S-10", "S-11")
@table(
    ("by username in the world", "github", "octocat", "alice"),
    ("whatever the case", "github", "OctoCAT", "alice"),
    ("by id, as text", "telegram", "42", "alice"),
    ("one of several identities", "github", "second", "bob"),
    ("nobody", "github", "alice", None),
    ("a world nobody has", "vk", "alice", None),
    ("by username where there is no default world", "default", "BOB", "bob"),
    ("by the name in the default world", "default", "Chief", "carol"),
    ("not by username where there is a default world", "default", "carol", None),
    ("not the username in another world", "email", "bob", None),
    ("beyond ASCII", "default", "STRASSE", "straße"),
    ("composed", "chat", "Jos\u00e9", "jose"),
    ("decomposed", "chat", "JOSE\u0301", "jose"),
    ("decomposed in the definition", "mac", "J\u00dcRGEN", "jose"),
    ("of another width", "default", "ｂｏｂ", "bob"),
    ("in Turkish capitals", "chat", "İSMAİL", "ismail"),
    ("not a value that is no name", "odd", "True", None),
    ("not a list", "odd", "['x']", None),
    ("not nothing", "odd", "", None),
)
def test_a_name_is_resolved_to_a_user(row: tuple[str, str, str | None]) -> None:
    world, name, username = row
    directory = Directory(
        [
            _user("alice", github={"username": "octocat"}, telegram={"username": "al", "id": 42}),
            _user("bob", github=[{"username": "first"}, {"username": "second"}], odd={"username": ["x"], "id": True}),
            _user("carol", default={"username": "chief"}, odd={"username": "", "id": None}),
            _user("straße"),
            _user("jose", chat={"username": "Jos\u00e9"}, mac={"username": "ju\u0308rgen"}),
            _user("ismail", chat={"username": "İsmail"}),
        ]
    )
    found = _resolve(directory, world, name)
    assert (found.username if isinstance(found, User) else found) == username


@pytest.mark.predecessor("S-12")
def test_a_name_that_two_users_have_is_ambiguous() -> None:
    directory = Directory([_user("b", x={"username": "Same"}), _user("a", x={"id": "same"}), _user("Same")])
    assert _resolve(directory, "x", "SAME") == Ambiguous(("a", "b"))
    assert _resolve(directory, "default", "same") == directory.users["Same"]
    both = Directory([_user("alice"), _user("bob", default={"username": "Alice"})])
    assert _resolve(both, "default", "alice") == Ambiguous(("alice", "bob"))


def test_a_user_who_has_a_name_twice_is_one_user() -> None:
    user = _user("alice", x=[{"username": "a"}, {"username": "A", "id": "a"}])
    assert _resolve(Directory([user]), "x", "a") is user


@pytest.mark.predecessor("S-10", "S-14")
def test_a_consumer_takes_the_first_name_of_its_world() -> None:
    user = _user("alice", x=[{"id": 7}, {"username": "second"}])
    assert user.name_in("x") == "7"
    assert user.name_in("y") is None
    assert user.name_in("default") == "alice"
    assert user.username_in("x") == "second"  # an id says nothing to people
    assert user.username_in("y") is None
    assert user.username_in("default") == "alice"
    assert Chat(ChatParameters(token=SecretStr("t"), world="x")).address(user) == "7"
    assert Push(WorldParameters(world="x")).world_of() == "x"
    assert Push(WorldParameters()).world_of() == "default"
