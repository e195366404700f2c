"""The VK API: calls with the token of a community. What the answers mean is `consumers.vk.answers`'s."""

import hashlib
from collections.abc import Callable, Sequence

from pydantic import SecretStr

from consumers.exchange import Exchange, Failed, failure_of_status, shown
from consumers.vk.answers import refusal, results_of
from notifier import Result

VERSION = "5.199"  # of the API; named current on dev.vk.com/api/api-requests


class VkApi:
    """The API as one community. Raises `consumers.exchange.Failed`."""

    def __init__(self, exchange: Exchange, token: SecretStr, mask: Callable[[str], str]) -> None:
        self._exchange = exchange
        self._token = token
        self._mask = mask  # takes secrets out of what VK says

    async def send(
        self, peers: Sequence[int], text: str, random_id: int, *, link_preview: bool = True
    ) -> tuple[dict[int, Result], set[int]]:
        """Sends a text to at most 100 recipients: the Result of each, and which of them refuse it as too long.

        VK sends nothing to a recipient that had a text with this `random_id`, and answers as if it had.
        """
        fields = {
            "peer_ids": ",".join(map(str, peers)),
            "message": text,
            "random_id": str(random_id),
            "disable_mentions": "1",
            "dont_parse_links": "0" if link_preview else "1",
        }
        try:
            results, too_long = results_of(await self._call("messages.send", fields, unsure=True), list(peers))
        except Failed as failure:
            raise Failed(shown(failure.result, self._mask)) from None
        return {peer: shown(result, self._mask) for peer, result in results.items()}, too_long

    async def check(self, peer: int | None) -> None:
        """Asks whether the community may send messages, and to that recipient where there is one. Sends nothing."""
        if peer is None:
            method, fields = "messages.getConversations", {"count": "1"}
        else:
            method, fields = "messages.getConversationsById", {"peer_ids": str(peer)}
        try:
            error = refusal(await self._call(method, fields, unsure=False))
        except Failed as failure:
            error = failure
        if error is not None:
            raise Failed(shown(error.result, self._mask)) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._exchange.close()

    async def _call(self, method: str, fields: dict[str, str], *, unsure: bool) -> bytes:
        # A form, since VK takes no JSON; the token not in the address, which proxies write down.
        form = {**fields, "v": VERSION, "access_token": self._token.get_secret_value()}
        answer = await self._exchange.ask("POST", f"/method/{method}", unsure=unsure, data=form)
        if answer.status != 200:
            raise failure_of_status("VK", answer, setting="NOTIFIER_VK_API")
        return answer.content


def random_id(ids: Sequence[str], part: int) -> int:
    """The `random_id` of a part of a text that goes to the deliveries `ids`: the same on each try, and never 0.

    A signed integer of 32 bits: dev.vk.com/api/bots/development/messages.
    """
    digest = hashlib.sha256("\n".join([*sorted(ids), str(part)]).encode(errors="replace")).digest()
    return int.from_bytes(digest[:4], "big", signed=True) or 1
