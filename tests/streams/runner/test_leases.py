"""Leases, which are pure: which of the records of one run are taken and which are passed over."""

from datetime import timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from notifier.record import now
from notifier.run import Run
from streams.runner.leases import CLAIM, OWNER, Leases
from tests.rigs.runner_rig import ID, a_run


class Log:
    """Records of one run on one partition, as a reader gets them."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.offset = -1

    def add(self, run: Run | None, writer: str = "", claim: bytes | None = None) -> bool:
        """Appends a record; answers whether it was taken."""
        self.offset += 1
        headers = ([(OWNER, writer.encode())] if writer else []) + ([] if claim is None else [(CLAIM, claim)])
        value = None if run is None else run.encode()
        transition = self.leases.apply(
            ConsumerRecord(
                "runs", 0, self.offset, int(now().timestamp() * 1000), 0, ID.encode(), value, None,
                len(ID), len(value or b""), tuple(headers),
            )
        )  # fmt: skip
        return transition is not None and transition.taken


def test_the_first_claim_wins_and_the_others_are_passed_over() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert not log.add(a_run(owner="b"), "b", b"")
    assert log.add(a_run(owner="c"), "c", b"0")
    assert not log.add(a_run(owner="d"), "d", b"0")
    assert log.leases.held_by("c") == [ID]


def test_a_renewal_before_a_claim_defeats_it() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="a"), "a")
    assert not log.add(a_run(owner="b"), "b", b"0")
    assert log.leases.held_by("a") == [ID]


def test_who_lost_the_lease_can_neither_renew_nor_end() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="b"), "b", b"0")
    assert not log.add(a_run(owner="a"), "a")
    assert not log.add(a_run(owner="a", state="done"), "a")
    assert log.leases.held_by("b") == [ID]


def test_a_run_that_was_handed_over_has_no_owner_until_it_is_claimed() -> None:
    log = Log()
    assert log.add(a_run(owner="a", lease_until=now() + timedelta(hours=1)), "a", b"")
    assert list(log.leases.expired(now())) == []
    assert log.add(a_run(), "a")
    assert [id_ for id_, _ in log.leases.expired(now())] == [ID]
    assert not log.add(a_run(owner="a"), "a")  # its lease is gone, with its own consent
    assert log.add(a_run(owner="b"), "b", b"1")


@pytest.mark.parametrize("state", ["done", "failed"])
def test_nothing_comes_after_the_end(state: Any) -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="a", state=state), "a")
    assert not log.leases.open(ID)
    assert not log.add(a_run(owner="a"), "a")
    assert not log.add(a_run(owner="b"), "b", b"1")
    assert not log.add(a_run(owner="b"), "b", b"")
    end = log.leases.end_of(ID)
    assert end is not None
    assert end.state == state


def test_a_refused_run_may_be_claimed_again_by_whoever_saw_the_refusal() -> None:
    log = Log()
    assert log.add(a_run(owner="a"), "a", b"")
    assert log.add(a_run(owner="a", state="refused"), "a")
    assert log.leases.open(ID)
    assert not log.add(a_run(owner="b"), "b", b"")
    assert log.add(a_run(owner="b"), "b", b"1")
    assert not log.leases.open(ID)


def test_what_ended_long_ago_and_what_was_deleted_is_forgotten() -> None:
    log = Log()
    log.add(a_run(owner="a", state="done"), "a")
    log.leases.forget_old(now() + timedelta(days=7))
    assert not log.leases.open(ID)
    log.leases.forget_old(now() + timedelta(days=9))
    assert log.leases.open(ID)
    log.add(a_run(owner="a"), "a", b"")
    log.add(None)
    assert log.leases.open(ID)


def test_an_owner_without_a_value_is_the_one_that_the_run_names() -> None:
    run = a_run(owner="a").encode()
    record = ConsumerRecord(
        "runs", 0, 0, 0, 0, ID.encode(), run, None, len(ID), len(run), ((OWNER, None), (CLAIM, b"")),
    )  # fmt: skip
    transition = Leases().apply(record)
    assert transition is not None
    assert transition.writer == "a"
