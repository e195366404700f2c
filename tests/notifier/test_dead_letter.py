"""Dead letters keep the record they came from, and fit into a record themselves."""

from base64 import b64decode

from notifier.dead_letter import LETTER_BYTES, DeadLetter, Source
from notifier.topics import LARGE_BYTES
from tests.rigs.examples import AT
from tests.rigs.tables import table


def _dead(value: bytes | None, key: bytes | None = b"alice", error: str = "no") -> DeadLetter:
    return DeadLetter.of_record(
        Source("messages", 1, 2, round(AT.timestamp() * 1000), key, value), stage="route", reason="invalid", error=error
    )


@table(
    ("a text", b'{"a":"\xc3\xbc"}', True),
    ("not UTF-8", b"\xff\xfe", False),
    ("what JSON would make six times as long", b"\x00" * 900_000, False),
    ("many quotation marks", b'"' * 900_000, True),
    ("more than a message may have", b"x" * 3_900_000, True),
    ("that, and not UTF-8", b"\xff" * 2_900_000, False),
)
def test_a_dead_letter_keeps_the_record(row: tuple[bytes, bool]) -> None:
    value, as_text = row
    letter = DeadLetter.decode(_dead(value).encode())
    kept = letter.value.encode() if letter.value is not None else b64decode(letter.value_base64 or "")
    assert kept == value
    assert (letter.value is not None) is as_text
    assert letter.id == "messages/1/2"
    assert letter.key == "alice"


def test_a_dead_letter_fits_into_a_record_whatever_the_record_was() -> None:
    for value in (b"x" * 4_000_000, b"x" * 3_932_158, b'"' * 1_048_576, b"\x01" * 1_048_576, b"\xff" * 2_949_120):
        letter = _dead(value, key=b"k" * 1_000_000, error="\x01" * 1_000_000)
        assert len(letter.encode()) < LETTER_BYTES < LARGE_BYTES
        assert letter.key is None
        assert (letter.topic, letter.partition, letter.offset) == ("messages", 1, 2)
    tombstone = _dead(None, key=None)
    assert (tombstone.key, tombstone.value, tombstone.value_base64) == (None, None, None)


def test_a_dead_letter_with_a_huge_id_is_kept_without_what_does_not_fit() -> None:
    letter = DeadLetter(
        id="i" * 900_000,
        stage="run",
        reason="invalid",
        error="no",
        topic="messages",
        at=AT,
        key="k" * 9000,
        value='"' * 1_900_000,
    )
    kept = DeadLetter.decode(letter.encode())
    assert len(letter.encode()) < LETTER_BYTES
    assert (kept.id, kept.key, kept.value) == (letter.id, None, None)
