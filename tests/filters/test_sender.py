"""`sender`."""

from notifier.user import User
from tests.rigs.candidates import ALICE, BOB, about, make, table


@table(
    ("the name in the message", ["octocat"], "octocat", None, True),
    ("its case does not matter", ["OctoCat"], "oCtOcAt", None, True),
    ("the user's name", ["alice"], "octocat", ALICE, True),
    ("the case of that does not matter", ["ALICE"], "octocat", ALICE, True),
    ("the plain text of an unknown sender", ["jenkins"], "Jenkins", None, True),
    ("another", ["alice"], "bob", BOB, False),
    ("part of a name", ["alic"], "alice", ALICE, False),
    ("no sender", ["alice"], None, None, False),
)
def test_sender(row: tuple[list[str], str | None, User | None, bool]) -> None:
    senders, name, user, passes = row
    assert make("sender", senders=["nobody", *senders]).passes(about(sender=name, by=user)) is passes


def test_sender_says_who_it_was() -> None:
    filter_ = make("sender", senders=["bob"])
    assert (
        filter_.says(about(sender="octocat", by=ALICE)) == "drops: the sender 'octocat' (the user alice) is not 'bob'"
    )
    assert filter_.says(about(sender="Bob", by=BOB)) == "passes: the sender 'Bob' is one of 'bob'"
    assert filter_.says(about()) == "drops: the message has no sender"
