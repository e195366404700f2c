"""An audit of every message id: what was sent against what came out, without any knowledge of how routers work.

Every message is for one of 40 people, by three consumers; a person's messages are numbered, so that lost, repeated and overtaken
ones can be told by their ids alone. Load, readers and routers are `tests.rigs.faults`'s.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EXITS = {"one": "watch", "two": "watch", "three": "also"}  # consumer → the configuration that it is in


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A message that Kafka has acknowledged."""

    person: str
    number: int  # among the person's messages
    partition: int
    offset: int
    at: float  # of the acknowledgement, in seconds on the monotonic clock

    @property
    def id(self) -> str:
        """The message's id."""
        return f"{self.person}-{self.number}"

    def delivery(self, consumer: str) -> str:
        """The id of the delivery that the consumer must get."""
        return f"ci/{self.id}/{EXITS[consumer]}/{consumer}/{self.person}"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A delivery as it was found on a topic."""

    id: str
    version: int  # of the configuration that it was judged by
    parked: bool
    at: float  # when it was read, in seconds on the monotonic clock


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an audit found. Ids are those of deliveries; of records that nobody can read, `<partition>/<offset>`."""

    sent: int  # messages
    lost: list[str]
    repeated: dict[str, int]  # message, or unreadable record → how many copies too many there are
    overtaken: list[str]  # first copies that came after a later one of the same person
    backward: list[str]  # judged by an older definition than one with a lower offset in its input partition
    strange: list[str]  # of nothing that was written, or dead letters of what can be read
    parked: int
    dead: int  # dead letters, each of another record
    stalls: dict[int, float]  # input partition → the longest time in seconds that it had input and gave no output

    def line(self, name: str) -> str:
        """For people."""
        copies = sum(self.repeated.values())
        stalls = sorted(self.stalls.items(), key=lambda stall: -stall[1])[:2]
        return (
            f"{name}: sent {self.sent}, lost {len(self.lost)}, repeated {len(self.repeated)} ({copies} deliveries),"
            f" overtaken {len(self.overtaken)}, backward {len(self.backward)}, strange {len(self.strange)},"
            f" parked {self.parked}, dead letters {self.dead}, longest stalls "
            + ", ".join(f"{seconds:.1f} s (partition {partition})" for partition, seconds in stalls)
        )


def audit(
    sent: Iterable[Sent],
    seen: Iterable[Seen],
    *,
    unreadable: Iterable[str] = (),
    dead: Iterable[str] = (),
    tried: Iterable[Sent] = (),
    since: float = 0.0,
) -> Report:
    """Compares what was sent with what was found, in the order in which it was found.

    Each of the `unreadable` must be among the `dead`. What was `tried` without an acknowledgement may have come out, or not.
    Stalls are those of messages that were sent `since` then.
    """
    messages = list(sent)
    expected = {message.delivery(consumer): (message, consumer) for message in messages for consumer in EXITS}
    possible = {message.delivery(consumer) for message in tried for consumer in EXITS}
    first: dict[str, Seen] = {}
    repeated: Counter[str] = Counter()
    strange: list[str] = []
    overtaken: list[str] = []
    latest: dict[tuple[str, str], int] = {}  # (person, consumer) → number
    for found in seen:
        if found.id not in expected:
            strange += [found.id] if found.id not in possible else []
            continue
        message, consumer = expected[found.id]
        if found.id in first:
            repeated[message.id] += 1
            continue
        first[found.id] = found
        if found.parked:  # it may be overtaken
            continue
        lane = message.person, consumer
        if message.number < latest.get(lane, -1):
            overtaken.append(found.id)
        latest[lane] = max(message.number, latest.get(lane, -1))
    poison, letters = set(unreadable), Counter(dead)
    repeated.update({record: count - 1 for record, count in letters.items() if count > 1})
    return Report(
        sent=len(messages),
        lost=[id_ for id_ in expected if id_ not in first] + sorted(poison - letters.keys()),
        repeated=dict(repeated),
        overtaken=overtaken,
        backward=_backward(messages, first),
        strange=strange + sorted(letters.keys() - poison),
        parked=sum(found.parked for found in first.values()),
        dead=len(letters),
        stalls=_stalls([message for message in messages if message.at >= since], first),
    )


def _backward(sent: Iterable[Sent], first: Mapping[str, Seen]) -> list[str]:
    newest: dict[tuple[int, str], int] = {}
    backward = []
    for message in sorted(sent, key=lambda message: message.offset):
        for consumer in EXITS:
            found = first.get(message.delivery(consumer))
            if found is None:
                continue
            lane = message.partition, consumer
            if found.version < newest.get(lane, 0):
                backward.append(found.id)
            newest[lane] = max(found.version, newest.get(lane, 0))
    return backward


def _stalls(sent: Iterable[Sent], first: Mapping[str, Seen]) -> dict[int, float]:
    """For each partition: the longest time without output while there was input whose output came later."""
    changes: dict[tuple[int, str], list[tuple[float, int]]] = defaultdict(list)
    for message in sent:
        for consumer in EXITS:
            found = first.get(message.delivery(consumer))
            if found is not None:
                # It may be read before its own acknowledgement is.
                changes[message.partition, consumer] += [(min(message.at, found.at), 1), (found.at, -1)]
    stalls: dict[int, float] = defaultdict(float)
    for (partition, _), moments in changes.items():
        waiting, since = 0, 0.0
        for at, change in sorted(moments, key=lambda moment: (moment[0], -moment[1])):
            if waiting and change < 0:
                stalls[partition] = max(stalls[partition], at - since)
            if not waiting or change < 0:
                since = at
            waiting += change
    return dict(stalls)
