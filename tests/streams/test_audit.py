"""The audit of the fault tests finds each kind of fault: a check that cannot fail is none."""

from collections.abc import Iterable
from dataclasses import replace

from tests.rigs.audit import EXITS, Seen, Sent, audit


def sent(count: int = 6) -> list[Sent]:
    """Messages of two people in two partitions, one a second."""
    return [
        Sent(person=f"u{number % 2}", number=number // 2, partition=number % 2, offset=number // 2, at=float(number))
        for number in range(count)
    ]


def seen(messages: Iterable[Sent]) -> list[Seen]:
    """All that should come of them, half a second later."""
    return [
        Seen(id=message.delivery(consumer), version=1, parked=False, at=message.at + 0.5)
        for message in messages
        for consumer in EXITS
    ]


def test_the_audit_is_content_with_what_is_right() -> None:
    report = audit(sent(), seen(sent()), unreadable=["0/9"], dead=["0/9"])
    assert (report.lost, report.repeated, report.overtaken, report.backward, report.strange) == ([], {}, [], [], [])
    assert (report.sent, report.parked, report.dead, report.stalls) == (6, 0, 1, {0: 0.5, 1: 0.5})


def test_the_audit_finds_a_loss() -> None:
    found = seen(sent())
    gone = found.pop(7)
    report = audit(sent(), found, unreadable=["0/9", "0/10"], dead=["0/9"])
    assert report.lost == [gone.id, "0/10"]


def test_the_audit_finds_a_copy_too_many() -> None:
    found = seen(sent())
    report = audit(sent(), [*found, found[4], replace(found[3], parked=True)], unreadable=["0/9"], dead=["0/9"] * 3)
    assert report.repeated == {"u1-0": 2, "0/9": 2}
    assert (report.lost, report.overtaken, report.parked) == ([], [], 0)


def test_the_audit_finds_what_was_overtaken() -> None:
    found = seen(sent())
    found[0], found[6] = found[6], found[0]  # the first two of u0 by the consumer one
    assert audit(sent(), found).overtaken == ["ci/u0-0/watch/one/u0"]
    # Whoever is parked may be, and a repetition is no first copy.
    found[6] = replace(found[6], parked=True)
    report = audit(sent(), [*found, found[0]])
    assert (report.overtaken, report.parked) == ([], 1)


def test_the_audit_finds_an_older_judgement_after_a_newer_one() -> None:
    found = seen(sent())
    found[0] = replace(found[0], version=2)  # partition 0, offset 0, consumer one
    found[9] = replace(found[9], version=2)  # partition 1, offset 1: another partition
    assert audit(sent(), found).backward == ["ci/u0-1/watch/one/u0", "ci/u0-2/watch/one/u0", "ci/u1-2/watch/one/u1"]


def test_the_audit_finds_what_nobody_sent() -> None:
    more = sent(7)
    found = [*seen(more), replace(seen(more)[0], id="ci/u0-0/watch/other/u0")]
    report = audit(more[:6], found, dead=["0/1"])
    assert report.strange == [*(found_.id for found_ in seen(more[6:])), "ci/u0-0/watch/other/u0", "0/1"]
    assert audit(more[:6], found, tried=more[6:]).strange == ["ci/u0-0/watch/other/u0"]


def test_the_audit_measures_how_long_a_partition_stood_still() -> None:
    found = [replace(one, at=20.0) if one.id.startswith("ci/u1-1/") else one for one in seen(sent())]
    # Sent at 3, come out at 20; in between, at 5.5, another message of the partition came out.
    assert audit(sent(), found).stalls == {0: 0.5, 1: 14.5}
    assert audit(sent(), found, since=4.0).stalls == {0: 0.5, 1: 0.5}
