"""VK: sends messages to a conversation, or to people, as a community.

The text is `consumers.text`'s or the template's, the calls are `consumers.vk.api`'s, and what VK's answers mean for a delivery is
the table in `consumers.vk.answers`.

VK has no markup, so texts are plain, and nobody is mentioned by them (`consumers.vk.mentions`). A text longer than VK takes goes
in parts. Deliveries of one text to several people that are sent at the same time go in one call, each with its own Result.

Every part has a `random_id` of its own that follows from the delivery's id, so that VK recognises what it is sent again: what
nobody knows the end of is sent again and arrives once. For texts that went together it follows from the ids of all of
them, which this instance remembers; after a restart they go in another company, and may arrive twice.

A community cannot write to a person first: for `peer_id: recipient` each user writes to it once or allows its messages, and has
`{"vk": {"username": "alice", "id": 123}}` in `additional_info`.
"""

import asyncio
import hashlib
import re  # for our own constant patterns
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from consumers.exchange import REQUEST_S, Failed, open_exchange
from consumers.vk.api import VkApi
from consumers.vk.group import Group
from consumers.vk.mentions import neutralised
from consumers.vk.sending import PARTS, Progress, Sending, parts_of
from notifier import (
    Consumer,
    ConsumerParameters,
    Context,
    Delivery,
    Limit,
    Marked,
    ProxyParameters,
    Rendered,
    Result,
    User,
    at_most,
)
from notifier.errors import RecordError
from notifier.plain_text import plain_text
from notifier.seal import is_sealed

API = "https://api.vk.com"
MAX_TOGETHER = 100  # recipients of one call: VKCOM/vk-api-schema, messages/methods.json
MAX_TEXT = 9000  # characters, by the same page; many programs send no more than 4096
MAX_PEER = 2**53
GATHER_S = 0.05  # for which a text waits for others to go with it
_REMEMBERED = 1000  # texts that were not sent whole
_LONG = 10_000  # characters

_NUMBER = re.compile(r"[-+]?[0-9]{1,16}")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,1000}")


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    # The router has no key and sees the sealed form.
    if not is_sealed(text) and not _TOKEN.fullmatch(text):
        raise ValueError("is not a token of a community; VK shows one at Manage, API usage, Access tokens")
    return token


def _check_peer(value: Any) -> Any:
    if value == "recipient":
        return value
    if (isinstance(value, str) and _NUMBER.fullmatch(value.strip())) or (
        isinstance(value, float) and value.is_integer()
    ):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < abs(value) <= MAX_PEER:
        raise ValueError(
            "must be the number of a person, of a conversation (2000000000 and more) or of a community (negative), "
            "or the word recipient"
        )
    return value


PeerId = Annotated[int, Field(ge=-MAX_PEER, le=MAX_PEER)]


class VkParameters(ProxyParameters, ConsumerParameters):
    """Parameters of a VK consumer."""

    token: Annotated[SecretStr, AfterValidator(_check_token)] = Field(
        description="Access token of the community, with the right to send messages.", examples=["vk1.a.abc-DEF_123"]
    )
    peer_id: Annotated[PeerId | Literal["recipient"], BeforeValidator(_check_peer)] = Field(
        description="Number of the conversation that all messages go to; `recipient`: each to its receiver.",
        examples=[2000000001, "recipient"],
    )
    link_preview: bool = Field(True, description="Show what the first link of a text leads to.")
    together: int = Field(
        MAX_TOGETHER, ge=1, le=MAX_TOGETHER, description="People who are sent one text in one call at most."
    )
    # dev.vk.com says 9000, most programs stop at 4096; what VK refuses is halved.
    max_text: int = Field(4096, ge=512, le=MAX_TEXT, description="UTF-16 units of a text; a longer one goes in parts.")
    # dev.vk.com/api/bots/development/messages: 20 requests a second with the token of a community.
    per_second: float = Field(
        20.0, gt=0, le=1000, description="Texts that the community sends in a second at most, each recipient counted."
    )


class Vk(Consumer[VkParameters]):
    """Sends messages to a VK conversation or, with `peer_id: recipient`, to people, as a community."""

    type = "vk"
    world = "vk"
    shows_ids = False  # which are numbers that nobody knows
    Parameters = VkParameters

    def __init__(self, parameters: VkParameters) -> None:
        super().__init__(parameters)
        self._api: VkApi | None = None
        self._groups: dict[tuple[str, tuple[str, ...], int], Group] = {}  # that wait for others to join
        self._begun: OrderedDict[tuple[str, int], Progress] = OrderedDict()  # by delivery and recipient

    def fixed_address(self) -> bool:
        """Whether all messages go to one conversation."""
        return self.parameters.peer_id != "recipient"

    def address(self, user: User) -> str | None:
        """The `id` of the user's first identity in the world that has one."""
        for identity in user.identities(self.world_of()):
            found = identity.get("id")
            if isinstance(found, int | str) and not isinstance(found, bool) and _is_peer(str(found)):
                return str(found)
        return None

    def addressing(self) -> object:
        """Its world: all communities reach a person at the same number."""
        return (Vk, self.world_of()) if type(self).address is Vk.address else self

    def timeout_s(self) -> float:
        """Seconds that sending all parts of one text may take."""
        return PARTS * REQUEST_S + 15.0

    def credential(self) -> str:
        """A digest of the token."""
        return hashlib.sha256(f"vk/{self.parameters.token.get_secret_value()}".encode()).hexdigest()

    def limits(self, delivery: Delivery) -> Sequence[Limit]:
        """The limit of the community. VK names none of a recipient, but may ask to let one alone."""
        peer = str(self._peer_of(delivery) or 0)
        per_second = self.parameters.per_second
        return [at_most(per_second), at_most(per_second, of=peer)]

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Sends each text, to several people at once where they are sent the same."""
        results: list[Result] = []
        while len(results) < len(deliveries):
            # Nobody is in one run twice, so that each gets texts in their order.
            run: dict[int | str, Delivery] = {}
            for delivery in deliveries[len(results) :]:
                peer = self._peer_of(delivery) or delivery.id
                if peer in run:
                    break
                run[peer] = delivery
            results += await asyncio.gather(*(self._deliver(delivery, context) for delivery in run.values()))
        return results

    def preview(self, delivery: Delivery, text: str) -> str:
        """The parts that the text is sent in, a blank line between two."""
        return "\n\n".join(parts_of(neutralised(plain_text(text)), self.parameters.max_text))

    def parts(self, delivery: Delivery, rendered: Rendered) -> Sequence[str]:
        """The parts that the text is sent in."""
        return parts_of(neutralised(plain_text(rendered.body.plain())), self.parameters.max_text)

    async def check(self, context: Context) -> None:
        """Asks VK whether the token may send, and to the one conversation. Raises Permanent or Retryable."""
        peer_id = self.parameters.peer_id
        try:
            await self._open(context).check(None if peer_id == "recipient" else peer_id)
        except Failed as failure:
            raise failure.error() from None

    async def close(self) -> None:
        """Closes the connections."""
        api, self._api = self._api, None
        if api is not None:
            await api.close()

    async def _deliver(self, delivery: Delivery, context: Context) -> Result:
        peer = self._peer_of(delivery)
        if peer is None:
            return Result(outcome="refused", reason="no_address", detail=f"{delivery.address!r} is no number of VK")
        try:
            rendered = await context.rendered(delivery)
        except RecordError as error:
            return Result(outcome="refused", reason="invalid_content", detail=str(error))
        progress = await self._progress((delivery.id, peer), rendered.body)
        if not progress.parts:
            return Result(outcome="refused", reason="invalid_content", detail="the text is empty")
        key = (progress.text, progress.ids, progress.done)
        group = self._groups.get(key)
        if group is not None and group.takes(peer):
            return await group.join(peer, delivery.id)
        group = self._groups[key] = Group(self.parameters.together, peer, delivery.id)
        try:
            if not self.fixed_address() and self.parameters.together > 1:
                await asyncio.sleep(GATHER_S)
            if self._groups.get(key) is group:
                del self._groups[key]
            return await self._send(group, progress, context)
        finally:
            if self._groups.get(key) is group:
                del self._groups[key]
            group.leave()

    async def _send(self, group: Group, progress: Progress, context: Context) -> Result:
        """Sends one text to all of a group, and tells each its Result; returns that of the first."""
        recipients = group.recipients()
        parameters = self.parameters
        sending = Sending(progress, recipients, parameters.max_text, link_preview=parameters.link_preview)
        try:
            await sending.go_on(self._open(context), context.permit)
        finally:
            for peer, id_ in recipients.items():
                result, after = sending.results.get(peer), sending.progress(peer)
                unsure = result is None or result.outcome == "unknown"  # of one alone, too: it may meet company
                again = unsure or (result is not None and result.outcome == "deferred")
                begun = unsure or after.done or len(after.ids) > 1 or len(after.parts) > len(progress.parts)
                if again and begun:
                    self._remember((id_, peer), after)
        group.tell(sending.results)
        return sending.results[group.first]

    async def _progress(self, key: tuple[str, int], body: Marked) -> Progress:
        """Where a delivery of that text begins: where its last try ended, unless its text has changed, with its template."""

        def begin() -> Progress:
            text = neutralised(plain_text(body.plain()))
            return Progress(text=text, parts=parts_of(text, self.parameters.max_text))

        # A long text takes its time, and others must not wait for it.
        progress = await asyncio.to_thread(begin) if len(body.text) > _LONG else begin()
        before = self._begun.pop(key, None)
        return progress if before is None or before.text != progress.text else before

    def _remember(self, key: tuple[str, int], progress: Progress) -> None:
        self._begun[key] = progress
        if len(self._begun) > _REMEMBERED:
            self._begun.popitem(last=False)

    def _peer_of(self, delivery: Delivery) -> int | None:
        peer_id = self.parameters.peer_id
        if peer_id != "recipient":
            return peer_id
        return int(delivery.address) if delivery.address is not None and _is_peer(delivery.address) else None

    def _open(self, context: Context) -> VkApi:
        if self._api is None:
            parameters = self.parameters
            exchange = open_exchange("VK", context, context.services.get("vk", API), parameters.proxy_url())
            self._api = VkApi(exchange, parameters.token, self.mask)
        return self._api


def _is_peer(text: str) -> bool:
    return re.fullmatch("-?[0-9]{1,16}", text) is not None and 0 < abs(int(text)) <= MAX_PEER
