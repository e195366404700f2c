"""Who gets which partitions: those of one credential stay together."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.assignor import Assignor, divided

TOPICS = [f"t{n}" for n in range(8)]


@given(
    st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 4)),
    st.dictionaries(st.sampled_from(TOPICS), st.sampled_from(["x", "y", None])),
    st.integers(1, 4),
)
def test_each_partition_has_one_member_and_each_credential_too(
    counts: dict[str, int], credentials: dict[str, str | None], members: int
) -> None:
    partitions = [TopicPartition(topic, n) for topic, count in sorted(counts.items()) for n in range(count)]
    subscribed = {f"m{n}": frozenset(counts) for n in range(members)}
    found = divided(partitions, subscribed, credentials)
    assert sorted(found) == partitions
    for credential in ("x", "y"):
        assert len({member for p, member in found.items() if credentials.get(p.topic) == credential}) <= 1
    if not any(credentials.values()) and partitions:
        loads = Counter(found.values())
        assert max(loads.values()) - min(loads[member] for member in subscribed) <= 1


def test_a_member_gets_no_topic_that_it_does_not_know() -> None:
    partitions = [TopicPartition("a", 0), TopicPartition("b", 0)]
    subscribed = {"m0": frozenset("a"), "m1": frozenset("b")}
    assert divided(partitions, subscribed, {"a": "x", "b": "x"}) == {partitions[0]: "m0", partitions[1]: "m1"}


def test_a_credential_that_changes_divides_the_group_anew_once() -> None:
    credentials: dict[str, str | None] = {"a": "x", "b": None, "c": None}
    assignor = Assignor(credentials.get)
    cluster: Any = SimpleNamespace(partitions_for_topic=lambda topic: {0})
    members = {member: assignor.metadata(["a", "b", "c"]) for member in ("m0", "m1")}
    assert assignor.name == RoundRobinPartitionAssignor.name  # so that older workers can be in the group
    given = assignor.assign(cluster, members)
    for assignment in given.values():
        decoded = ConsumerProtocolMemberAssignment.decode(assignment.encode())
        assert decoded.partitions() == assignment.partitions()
    assignor.on_assignment(given["m0"])
    assert not assignor.is_outdated()
    owner = {topic: m for m, a in given.items() for topic, _ in a.assignment}
    other = next(topic for topic in "bc" if owner[topic] != owner["a"])
    credentials[other] = "x"
    assert assignor.is_outdated()
    given = assignor.assign(cluster, members)
    owner = {topic: m for m, a in given.items() for topic, _ in a.assignment}
    assert owner[other] == owner["a"]
    assignor.on_assignment(given["m0"])
    assert not assignor.is_outdated()
    credentials[other] = None
    assert not assignor.is_outdated()
    assignor.on_assignment(given["m0"])  # another worker has decided
    credentials["b"] = credentials["c"] = "x"
    assert not assignor.is_outdated()
