"""Moves: addresses of one consumer that its service says have become others, such as a group that became a supergroup."""

from collections.abc import Callable


def _keep_nowhere(address: str, became: str) -> None:
    return


class Moves:
    """What each address is now. The delivery worker gives every consumer those that are on record, on the topic `status`."""

    def __init__(self, keep: Callable[[str, str], None] = _keep_nowhere) -> None:
        """`keep` puts a move on record, for all workers and after restarts; it returns at once."""
        self._keep = keep
        self._became: dict[str, str] = {}

    def now(self, address: str) -> str:
        """The address in place of this one; itself where it has not moved."""
        return self._became.get(address, address)

    def has(self, address: str) -> bool:
        """Whether an address has become another."""
        return address in self._became

    def moved(self, address: str, became: str) -> None:
        """The service said so; what is sent there goes to the new address from now on."""
        self.heard(address, became)
        self._keep(address, became)

    def heard(self, address: str, became: str) -> None:
        """The same, where it is on record already."""
        self._became[address] = became

    def forget(self, address: str) -> None:
        """The address is none that has moved."""
        self._became.pop(address, None)

    def all(self) -> dict[str, str]:
        """Address → what it became."""
        return dict(self._became)
