"""What is kept of a receiver says the same as the index, however many routes and producers there are, and after changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.router.person import places
from tests.rigs.routed import BEGINNING, Routed, changed, deliveries_of


def spec(*producers: str, users: tuple[str, ...] = ("u0",)) -> dict[str, object]:
    return {"users": list(users), "producers": list(producers), "filters": ["exists"], "consumers": ["file"]}


def reached(routed: Routed, producer: str, receiver: str = "u0") -> list[str]:
    outputs = routed.route({"producer": producer, "receiver": receiver, "content": "x"})
    return [name for (name, _, _), _ in deliveries_of(outputs)]


@given(st.integers(0, 2**30))
def test_the_places_of_a_mask_are_its_bits(mask: int) -> None:
    assert sum(1 << place for place in places[mask]) == mask


@pytest.mark.parametrize("count", [1, 8, 9, 24, 25, 100])
@pytest.mark.parametrize("producers", [3, 300])
def test_a_receiver_has_the_routes_of_each_producer(count: int, producers: int) -> None:
    names = [f"q{number}" for number in range(producers)]
    changes = [("producer", name, {"type": "push"}) for name in names]
    configurations = {
        f"c{number:03}": {names[number % producers], names[number * 7 % producers]} for number in range(count)
    }
    routed = Routed(
        changed(BEGINNING, [*changes, *(("configuration", n, spec(*sorted(s))) for n, s in configurations.items())], 2)
    )
    for _ in range(2):  # the second time by what was kept of the first
        for name in names[:10]:
            assert reached(routed, name) == [c for c, some in configurations.items() if name in some]
            assert reached(routed, name, "u1") == []


def test_a_producer_that_no_configuration_had_named_is_found_with_its_first_one() -> None:
    catalog = changed(BEGINNING, [("producer", "new", {"type": "push"}), ("configuration", "c0", spec("p0"))], 2)
    routed = Routed(catalog)
    assert (reached(routed, "p0"), reached(routed, "new")) == (["c0"], [])
    catalog = changed(catalog, [("configuration", "c1", spec("new", users=("u1",)))], 3)
    routed.router._use(catalog)
    assert (reached(routed, "p0"), reached(routed, "new")) == (["c0"], [])
    assert reached(routed, "new", "u1") == ["c1"]
    catalog = changed(catalog, [("configuration", "c2", spec("new", "p0", users=("u0", "u1")))], 4)
    routed.router._use(catalog)
    assert (reached(routed, "p0"), reached(routed, "new")) == (["c0", "c2"], ["c2"])
    assert reached(routed, "new", "u1") == ["c1", "c2"]


@pytest.mark.parametrize("consumer", ["direct", "file"])
def test_a_message_for_many_gives_turns_and_is_judged_by_one_catalog(consumer: str) -> None:
    users = [f"v{number}" for number in range(2_100)]
    changes = [("user", name, {"additional_info": {"chat": {"username": name, "id": name}}}) for name in users]
    everyone = {"users": users, "producers": ["p0"], "filters": [], "consumers": [consumer]}
    catalog = changed(BEGINNING, [*changes, ("configuration", "c0", everyone), ("configuration", "c1", everyone)], 2)
    routed = Routed(catalog)
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            routed.router._use(changed(catalog, [("configuration", "c1", None), ("configuration", "c0", everyone)], 3))

    found = list(deliveries_of(routed.route({"producer": "p0", "content": "x"}, turn)))
    assert turns >= 8
    assert {delivery.configuration_version for _, delivery in found} == {2}
    assert len(found) == (4_200 if consumer == "direct" else 2)
    after = list(deliveries_of(routed.route({"producer": "p0", "content": "x"})))
    assert {(delivery.configuration, delivery.configuration_version) for _, delivery in after} == {("c0", 3)}
