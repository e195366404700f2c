"""A key's partition is the one that other Kafka clients give it."""

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from streams.outputs.partitioner import partition_of


@given(key=st.binary(max_size=80), partitions=st.integers(1, 1000))
def test_a_key_has_the_partition_that_other_clients_give_it(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions
