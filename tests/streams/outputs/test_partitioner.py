"""A key's partition is the one that other Kafka clients give it."""

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from streams.outputs.partitioner import hashed, hashes


@given(key=st.binary(max_size=80))
def test_a_key_has_the_hash_that_other_clients_give_it(key: bytes) -> None:
    assert hashed(key) == murmur2(key) & 0x7FFFFFFF


@given(
    keys=st.lists(st.binary(max_size=40) | st.binary(min_size=11, max_size=13), max_size=60)
    | st.integers(0, 9).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), max_size=60))
)
def test_many_keys_have_the_hashes_of_each(keys: list[bytes]) -> None:
    assert hashes(keys) == [murmur2(key) & 0x7FFFFFFF for key in keys]
