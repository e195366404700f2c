"""The index finds what a look at every entry finds."""

from hypothesis import given
from hypothesis import strategies as st

from streams.router.index import Asked, Field, Index, slots_of


@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.sampled_from("abc"), unique=True, min_size=1),
            st.none() | st.tuples(st.frozensets(st.sampled_from(["1", "2", "3", None])), st.booleans()),
            st.integers(0, 3),
        ),
        max_size=30,
    )
)
def test_an_index_finds_what_a_look_at_every_entry_finds(
    steps: list[tuple[list[str], tuple[frozenset[str | None], bool] | None, int]],
) -> None:
    index = Index()
    entries: dict[int, tuple[list[str], list[Asked]]] = {}
    for producers, asked, removals in steps:
        lookups: list[Asked] = [("labels.x", asked[0], asked[1])] if asked else []
        slot = index.add(producers, lookups)
        assert slot not in entries
        entries[slot] = producers, lookups
        for _ in range(min(removals, len(entries) - 1)):
            old = next(iter(entries))
            index.remove(old, *entries.pop(old))
        field = index.fields.get("labels.x", Field())
        for producer in "abc":
            for value in ("1", "2", "3", "4", None):
                found = index.considering(producer)
                if "labels.x" in index.fields:
                    found &= field.accepting(value)
                assert set(slots_of(found)) == {
                    slot
                    for slot, (producers_, lookups_) in entries.items()
                    if producer in producers_
                    and all((value in accepted) is not negate for _, accepted, negate in lookups_)
                }


@given(slots=st.sets(st.integers(0, 3000)))
def test_the_slots_of_a_set_are_found_in_order(slots: set[int]) -> None:
    assert list(slots_of(sum(1 << slot for slot in slots))) == sorted(slots)
