"""Report: what a redrive has done so far."""

import msgspec

MOST_SAMPLES = 100
_WHY_CHARACTERS = 300
_MOST_REASONS = 50
_OTHERS = "other reasons"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A letter that was not sent again."""

    id: str
    why: str


class Report(msgspec.Struct, kw_only=True):
    """Counts of dead letters."""

    redriven: int = 0
    skipped: int = 0  # they cannot be sent again
    failed: int = 0  # Kafka does not take them
    why: dict[str, int] = msgspec.field(default_factory=dict)  # why they were skipped or failed, and how many
    samples: list[Sample] = msgspec.field(default_factory=list)  # the first of them

    def skip(self, id_: str, why: str, *, failed: bool = False) -> None:
        """Counts a letter that was not sent again."""
        if failed:
            self.failed += 1
        else:
            self.skipped += 1
        self.count(why, 1)
        if len(self.samples) < MOST_SAMPLES:
            self.samples.append(Sample(id=id_[:1000], why=why[:_WHY_CHARACTERS]))

    def count(self, why: str, letters: int) -> None:
        """Counts letters under the words for why they were not sent again."""
        why = why[:_WHY_CHARACTERS]
        if why not in self.why and len(self.why) >= _MOST_REASONS:
            why = _OTHERS
        self.why[why] = self.why.get(why, 0) + letters
