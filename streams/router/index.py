"""Index: which configurations may want a message, by looking up its fields, at a cost that does not grow with their number.

Every configuration has a slot: a bit in Python integers that stand for sets of configurations. A field (the receiver, a
label, …) has one such set for each value that a filter names; a few `&` give the candidates. Adding and removing a
configuration touches the bits of its own values only. Filters that are not looked up are left to `streams.router.route`.
"""

from collections.abc import Iterable, Iterator

Value = str | None
Asked = tuple[str, Iterable[Value], bool]  # field, values, and whether they are refused instead of accepted

FEW = 24  # up to this many slots are stored as a tuple, since a set that holds a high slot takes a kilobyte


class Field:
    """One field: for each value, the slots whose filters accept it."""

    def __init__(self) -> None:
        # Slots that accept every value that no filter names: they do not look the field up, or refuse some values.
        self.usually = 0
        self.asking = 0  # slots that look the field up
        # By named value: the slots that decide otherwise about it than `usually`; a tuple where they are `FEW`.
        self.values: dict[Value, int | tuple[int, ...]] = {}

    def accepting(self, *values: Value) -> int:
        """The slots that accept a message with one of these values."""
        otherwise = 0
        for value in values:
            otherwise |= _set_of(self.values.get(value, 0))
        return self.usually ^ otherwise

    def add(self, slot: int, values: Iterable[Value], *, negate: bool) -> None:
        """Adds the lookup of a slot."""
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
        """Removes the lookup of a slot, which then accepts every value."""
        bit = 1 << slot
        self.asking &= ~bit
        self.usually |= bit
        for value in values:
            found = self.values.pop(value)
            left = tuple([each for each in found if each != slot]) if isinstance(found, tuple) else found & ~bit
            if left:
                self.values[value] = left

    def accept_all(self, slots: int) -> None:
        """These slots accept every value."""
        self.usually |= slots


class Index:
    """All slots, by producer and by looked-up fields."""

    def __init__(self) -> None:
        self.fields: dict[str, Field] = {}
        self._producers: dict[str, int] = {}
        self._used = 0  # slots of configurations
        self._all = 0  # slots that were ever used

    def add(self, producers: Iterable[str], lookups: Iterable[Asked]) -> int:
        """Gives a configuration a slot. There is at most one lookup for each field."""
        free = self._all & ~self._used
        slot = (free & -free).bit_length() - 1 if free else self._all.bit_length()
        bit = 1 << slot
        self._used |= bit
        if not self._all & bit:
            self._all |= bit
            for known in self.fields.values():
                known.accept_all(bit)
        for producer in producers:
            self._producers[producer] = self._producers.get(producer, 0) | bit
        for name, values, negate in lookups:
            field = self.fields.get(name)
            if field is None:
                field = self.fields[name] = Field()
                field.accept_all(self._all)
            field.add(slot, values, negate=negate)
        return slot

    def remove(self, slot: int, producers: Iterable[str], lookups: Iterable[Asked]) -> None:
        """Frees a slot; the other arguments are those of `add`."""
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
    text = f"{bits:b}"[::-1]  # linear; taking the lowest bit again and again is quadratic
    slot = text.find("1")
    while slot >= 0:
        yield slot
        slot = text.find("1", slot + 1)
