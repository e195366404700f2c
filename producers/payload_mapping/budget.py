"""Budget: what expressions may cost.

It counts steps and what is copied, in place of time: a slow machine makes the same messages.
"""

LIST_STEP = 8  # members of a list that count as a step
TEXT_STEP = 32  # characters that do


class Exhausted(Exception):
    """The budget is used up."""


class Budget:
    """The steps that are left."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Raises Exhausted where there are not so many left."""
        self.left -= steps
        if self.left < 0:
            raise Exhausted

    def weigh(self, value: object) -> None:
        """Spends what writing out or comparing the value takes. Raises Exhausted."""
        rest: list[object] = [value]
        while rest:
            one = rest.pop()
            self.spend(1 + (len(one) // TEXT_STEP if isinstance(one, str) else 0))
            if isinstance(one, dict):
                self.spend(len(one) // LIST_STEP)
                rest += one.values()
            elif isinstance(one, list):
                self.spend(len(one) // LIST_STEP)
                rest += one

    def copied(self, value: object) -> None:
        """Spends what making the value took. Raises Exhausted."""
        if isinstance(value, str):
            self.spend(len(value) // TEXT_STEP)
        elif isinstance(value, list | dict):
            self.spend(len(value) // LIST_STEP)
