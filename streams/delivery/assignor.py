"""Assignor: which worker of the group gets which partitions. All those of consumers with one credential go to one worker.

So what that worker counts is all that is sent with the credential, and its limits are kept exactly; a share of the limits for
each of several workers, the way that lost, leaves the shares of idle ones unused.

It goes by the name of aiokafka's own assignor, which older workers have, so that both can be in one group: whoever leads the
group decides. A second one beside it was worse: aiokafka 0.14 asks to join once for each assignor, so that every change
divides the group twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

Credential = Callable[[str], str | None]  # of a topic's consumer


class Assignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """The assignor of one worker, which is asked when this worker leads the group."""

    name = "roundrobin"
    version = 0

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._assigned: dict[TopicPartition, str] | None = None  # partition → member; none: another worker decided
        self._assigning: dict[TopicPartition, str] | None = None
        self._known: dict[str, str | None] = {}  # topic → credential, when it was decided

    def assign(self, cluster: ClusterMetadata, members: Mapping[str, Any]) -> dict[str, Any]:
        """Decides for all members of the group."""
        subscribed = {member: frozenset(metadata.subscription) for member, metadata in members.items()}
        topics = sorted(frozenset().union(*subscribed.values()))
        partitions = [TopicPartition(topic, n) for topic in topics for n in cluster.partitions_for_topic(topic) or ()]
        self._known = self._credentials(topics)
        self._assigning = divided(sorted(partitions), subscribed, self._known)
        found: dict[str, defaultdict[str, list[int]]] = {member: defaultdict(list) for member in members}
        for partition, member in self._assigning.items():
            found[member][partition.topic].append(partition.partition)
        return {
            member: ConsumerProtocolMemberAssignment(self.version, sorted(by_topic.items()), b"")
            for member, by_topic in found.items()
        }

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this worker tells the one that leads."""
        return ConsumerProtocolMemberMetadata(self.version, list(topics), b"")

    def on_assignment(self, assignment: Any) -> None:
        """A decision was made, here if `assign` was asked since the one before."""
        self._assigned, self._assigning = self._assigning, None

    def is_outdated(self) -> bool:
        """Whether a credential has been changed since this worker decided, and has partitions with several workers now.

        Then the group is to be divided anew.
        """
        if self._assigned is None:
            return False
        credentials = self._credentials({partition.topic for partition in self._assigned})
        if all(self._known.get(topic) == credential for topic, credential in credentials.items()):
            return False
        members: defaultdict[str, set[str]] = defaultdict(set)
        for partition, member in self._assigned.items():
            if (credential := credentials[partition.topic]) is not None:
                members[credential].add(member)
        return any(len(having) > 1 for having in members.values())

    def _credentials(self, topics: Iterable[str]) -> dict[str, str | None]:
        return {topic: self._credential(topic) for topic in topics}


def divided(
    partitions: Sequence[TopicPartition],
    subscribed: Mapping[str, frozenset[str]],
    credentials: Mapping[str, str | None],
) -> dict[TopicPartition, str]:
    """Which member gets which partition: those of one credential the same, all members about as many.

    `subscribed` maps a member to its topics.
    """
    together: defaultdict[object, list[TopicPartition]] = defaultdict(list)
    for partition in partitions:
        together[credentials.get(partition.topic) or partition].append(partition)
    load = dict.fromkeys(sorted(subscribed), 0)
    found: dict[TopicPartition, str] = {}
    for part in sorted(together.values(), key=lambda part: (-len(part), part)):
        for some in _givable(part, subscribed):
            topics = {partition.topic for partition in some}
            member = min((member for member in load if topics <= subscribed[member]), key=lambda member: load[member])
            load[member] += len(some)
            found.update(dict.fromkeys(some, member))
    return found


def _givable(
    part: Sequence[TopicPartition], subscribed: Mapping[str, frozenset[str]]
) -> Iterable[Sequence[TopicPartition]]:
    """The partitions as a whole, or one by one where no member knows all their topics yet."""
    topics = {partition.topic for partition in part}
    return [part] if any(topics <= known for known in subscribed.values()) else [[partition] for partition in part]
