"""Group: deliveries of one text to several people that go in one call."""

import asyncio
from collections.abc import Mapping

from notifier import Result


class Group:
    """At most `most` deliveries of one text, each to another recipient. The first one sends for all of them."""

    def __init__(self, most: int, first: int, id_: str) -> None:
        self.first = first
        self._most = most
        self._ids = {first: id_}  # by recipient
        self._joined: dict[int, asyncio.Future[Result]] = {}

    def takes(self, peer: int) -> bool:
        """Whether there is room for a recipient, who has no place in it yet."""
        return peer not in self._ids and len(self._ids) < self._most

    async def join(self, peer: int, id_: str) -> Result:
        """Has a delivery go with the others; returns its Result."""
        self._ids[peer] = id_
        joined: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._joined[peer] = joined
        return await joined

    def recipients(self) -> dict[int, str]:
        """Peer → delivery id, without those whose calls were cancelled meanwhile."""
        gone = {peer for peer, joined in self._joined.items() if joined.done()}
        return {peer: id_ for peer, id_ in self._ids.items() if peer not in gone}

    def tell(self, results: Mapping[int, Result]) -> None:
        """Gives each that has none its Result, by recipient."""
        for peer, joined in self._joined.items():
            if not joined.done():
                joined.set_result(results[peer])

    def leave(self) -> None:
        """The first one's call has ended; where it was cut off, nobody knows what became of the others."""
        detail = "cut off with the delivery that it went with; it may have been sent"
        cut_off = Result(outcome="unknown", reason="timeout", detail=detail)
        self.tell(dict.fromkeys(self._joined, cut_off))
