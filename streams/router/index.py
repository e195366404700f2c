"""Index: which configurations may want a message, whatever their number, by looking its fields up.

Every configuration has a slot, a bit in Python integers that stand for sets of configurations. A field (the receiver, a
label, …) has one such set for each value that a filter names; a few `&` give the candidates. Adding and removing a
configuration touches the bits of its own values only.
"""

from collections.abc import Iterable, Iterator

Value = str | None
Asked = tuple[str, Iterable[Value], bool]  # field, the values that are accepted, and whether it is the others instead
NOTHING_NAMED = object()  # stands for every value that no filter names


FEW = 8  # slots; so many are kept one by one, since a set with a high slot in it takes a kilobyte


class Field:
    """One field: for each value, the slots whose filters accept it."""

    def __init__(self) -> None:
        # Slots that accept a value that nobody names: they ask nothing of the field, or refuse some values.
        self.usually = 0
        self.asking = 0  # slots that ask something of it
        # By value that is named: the slots that decide the other way about it, one by one where they are few.
        self.values: dict[Value, int | tuple[int, ...]] = {}

    def accepting(self, *values: Value) -> int:
        """The slots that accept a message that has one of these values."""
        otherwise = 0
        for value in values:
            otherwise |= _set_of(self.values.get(value, 0))
        return self.usually ^ otherwise

    def add(self, slot: int, values: Iterable[Value], *, negate: bool) -> None:
        """Puts a slot's filter in."""
        bit = 1 << slot
        self.asking |= bit
        if negate:
            self.usually |= bit
        else:
            self.usually &= ~bit
        for value in values:
            found = self.values.get(value, ())
            if isinstance(found, tuple) and len(found) < FEW:
                self.values[value] = (*found, slot)
            else:
                self.values[value] = _set_of(found) | bit

    def remove(self, slot: int, values: Iterable[Value]) -> None:
        """Takes it out again; then the slot asks nothing of the field."""
        bit = 1 << slot
        self.asking &= ~bit
        self.usually |= bit
        for value in values:
            found = self.values.pop(value)
            left = tuple([each for each in found if each != slot]) if isinstance(found, tuple) else found & ~bit
            if left:
                self.values[value] = left

    def ask_nothing(self, slots: int) -> None:
        """These slots accept every value."""
        self.usually |= slots


class Index:
    """All slots by producer and by what their filters look up."""

    def __init__(self) -> None:
        self.fields: dict[str, Field] = {}
        self._producers: dict[str, int] = {}
        self._used = 0  # the slots that are taken
        self._all = 0  # the slots that ever were

    def add(self, producers: Iterable[str], lookups: Iterable[Asked]) -> int:
        """Takes a slot for a configuration; each lookup with whether it is negated, at most one for each field."""
        free = self._all & ~self._used
        slot = (free & -free).bit_length() - 1 if free else self._all.bit_length()
        bit = 1 << slot
        self._used |= bit
        if not self._all & bit:
            self._all |= bit
            for known in self.fields.values():
                known.ask_nothing(bit)
        for producer in producers:
            self._producers[producer] = self._producers.get(producer, 0) | bit
        for name, values, negate in lookups:
            field = self.fields.get(name)
            if field is None:
                field = self.fields[name] = Field()
                field.ask_nothing(self._all)
            field.add(slot, values, negate=negate)
        return slot

    def remove(self, slot: int, producers: Iterable[str], lookups: Iterable[Asked]) -> None:
        """Gives a slot back; the rest is what `add` was given."""
        bit = 1 << slot
        self._used &= ~bit
        for producer in producers:
            left = self._producers.pop(producer) & ~bit
            if left:
                self._producers[producer] = left
        for name, values, _ in lookups:
            field = self.fields[name]
            field.remove(slot, values)
            if not field.asking:
                del self.fields[name]

    def considering(self, producer: str) -> int:
        """The slots that take messages of a producer."""
        return self._producers.get(producer, 0)


def _set_of(slots: int | tuple[int, ...]) -> int:
    if isinstance(slots, int):
        return slots
    found = 0
    for slot in slots:
        found |= 1 << slot
    return found


def slots_of(bits: int) -> Iterator[int]:
    """The slots of a set, ascending."""
    if bits.bit_count() <= 16:
        while bits:
            low = bits & -bits
            yield low.bit_length() - 1
            bits ^= low
        return
    text = f"{bits:b}"[::-1]  # linear, where taking the lowest bit again and again is quadratic
    slot = text.find("1")
    while slot >= 0:
        yield slot
        slot = text.find("1", slot + 1)
