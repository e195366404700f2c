"""Sending: one text on its way to one recipient or to several at once, part by part."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from consumers.exchange import Failed
from consumers.text.splitting import cut_marked
from consumers.vk.api import VkApi, random_id
from consumers.vk.mentions import neutralised
from notifier import ACCEPTED, Marked, Result

PARTS = 20  # VK takes no more in a second, and 30,000 characters of any kind fit
SHORTEST = 256  # UTF-16 units: a part that VK refuses as too long is halved down to this

_OF_ONE = frozenset({"forbidden", "not_found", "invalid_content"})  # reasons that one recipient may be at fault for

Permit = Callable[[], Awaitable[None]]  # waits until another call is within the limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a text is that was not sent whole. The next try goes on from there, with the same `random_id`."""

    text: str
    parts: Sequence[str]
    done: int = 0  # parts that were sent
    ids: tuple[str, ...] = ()  # the deliveries that went together; empty: it was not tried yet


class Sending:
    """One text and its recipients: peer → delivery id. Their Results are in `results` when `go_on` has ended."""

    def __init__(self, progress: Progress, recipients: Mapping[int, str], limit: int, *, link_preview: bool) -> None:
        self.results: dict[int, Result] = {}
        self._text = progress.text
        self._parts = list(progress.parts)
        self._done = progress.done
        self._ids = progress.ids or tuple(sorted(recipients.values()))
        self._left = list(recipients)  # they took all parts before
        self._limit, self._first_limit = limit, limit
        self._link_preview = link_preview
        self._stopped: dict[int, Progress] = {}  # of those that did not take a part

    async def go_on(self, api: VkApi, permit: Permit) -> None:
        """Sends the parts that are left, each with a permit; there is one for the first."""
        try:
            asked = False
            while self._left and self._done < len(self._parts):
                if asked:
                    await permit()
                asked = True
                await self._send_part(api, permit)
        except Failed as failure:
            self.results.update({peer: self._told(failure.result) for peer in self._left})
        else:
            self.results.update(dict.fromkeys(self._left, ACCEPTED))

    def progress(self, peer: int) -> Progress:
        """Where the next try goes on for a recipient."""
        return self._stopped.get(peer) or self._progress()

    def _progress(self) -> Progress:
        return Progress(text=self._text, parts=tuple(self._parts), done=self._done, ids=self._ids)

    async def _send_part(self, api: VkApi, permit: Permit) -> None:
        """Sends the next part to all that are left, or puts its halves in its place where it is too long."""
        part = self._parts[self._done]
        try:
            found, too_long = await self._call(api, self._left, part)
        except Failed as failure:
            if len(self._left) == 1 or failure.result.reason not in _OF_ONE:
                raise
            found, too_long = await self._call_each(api, permit, part)
        if too_long.issuperset(self._left) and self._halve(part):
            return
        for peer, result in found.items():
            if result is not ACCEPTED:
                self.results[peer] = self._told(result)
                self._stopped[peer] = self._progress()
        self._left = [peer for peer in self._left if found[peer] is ACCEPTED]
        if self._left:
            self._done += 1

    async def _call(self, api: VkApi, peers: Sequence[int], part: str) -> tuple[dict[int, Result], set[int]]:
        number = random_id(self._ids, self._done)
        return await api.send(peers, neutralised(part), number, link_preview=self._link_preview)

    async def _call_each(self, api: VkApi, permit: Permit, part: str) -> tuple[dict[int, Result], set[int]]:
        """One call for each: VK refused all of them for what may be the fault of one."""
        found: dict[int, Result] = {}
        too_long: set[int] = set()
        for peer in self._left:
            await permit()
            try:
                results, refused = await self._call(api, [peer], part)
            except Failed as failure:
                results, refused = {peer: failure.result}, set()
            found |= results
            too_long |= refused
        return found, too_long

    def _halve(self, part: str) -> bool:
        """Cuts what was too long into shorter parts; False where it is short already."""
        self._limit //= 2
        if self._limit < SHORTEST:
            return False
        if self._done == 0:
            self._parts = list(parts_of(self._text, self._limit, PARTS * (self._first_limit // self._limit)))
        else:  # the parts before it were sent with their numbers, so its halves have none of their own
            halves = [half.partition("\n")[2] for half in parts_of(part, self._limit)]
            self._parts[self._done : self._done + 1] = halves
        return True

    def _told(self, result: Result) -> Result:
        if not self._done:
            return result
        where = f"(part {self._done + 1} of {len(self._parts)}; those before it were sent)"
        return replace(result, detail=f"{result.detail} {where}")


def parts_of(text: str, limit: int, parts: int = PARTS) -> Sequence[str]:
    """The parts that a text goes in; what does not fit into them is left out, and the last one says how much that is."""
    return [part.text for part in cut_marked(Marked(text), limit, parts=parts)]
