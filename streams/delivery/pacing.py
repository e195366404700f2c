"""Pacing: the permits to send, at the pace (`streams.delivery.pace`) of each credential that this worker serves.

Consumers of equal credentials share one pace. All partitions of such consumers belong to one worker
(`streams.delivery.assignor`), so what is counted here is all that is sent. Whoever waits for a permit spends nothing and writes
nothing. A consumer without a credential pays nothing for any of this.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from notifier.catalog import Catalog
from notifier.delivery import Delivery
from notifier.plugin import Consumer, Limit
from notifier.seldom import Seldom
from notifier.user import User
from streams.delivery.lanes import Lane, Pending
from streams.delivery.pace import Pace, Turn

logger = logging.getLogger(__name__)
_seldom = Seldom(logger)

T = TypeVar("T")
_FAR_S = 3600.0  # timers are set for no longer


class _Paced:
    """A pace on this machine's clock."""

    def __init__(self) -> None:
        self.pace = Pace(time.monotonic())
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, turn: Turn) -> None:
        self.pace.ask(turn, time.monotonic())
        self.grant()

    def end(self, turn: Turn) -> None:
        self.pace.end(turn, time.monotonic())
        self.grant()

    def give_back(self, turn: Turn) -> None:
        self.pace.give_back(turn)
        self.grant()

    def grant(self) -> None:
        at = time.monotonic()
        self.pace.grant(at)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_at = self.pace.next_at(at)
        if next_at < math.inf:
            self._timer = asyncio.get_running_loop().call_later(min(next_at - at, _FAR_S), self.grant)


class Permit:
    """The right to one send now. As a context it is given back at the end, unless it was used."""

    def __init__(self, paced: _Paced | None = None, turn: Turn | None = None) -> None:
        self._paced = paced
        self._turn = turn
        self._used = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def use(self) -> None:
        """The send begins."""
        self._used = True

    def end(self) -> None:
        """The send has ended, if it began."""
        paced, turn, self._turn = self._paced, self._turn, None
        if paced is not None and turn is not None:
            (paced.end if self._used else paced.give_back)(turn)

    async def renew(self) -> None:
        """The send has ended; waits for another one's turn, which counts as asked for when the first did."""
        before = self._turn
        if self._paced is None or before is None:
            return
        self.end()
        self._used = False
        come = asyncio.Event()
        turn = Turn(
            limits=before.limits,
            place=before.place,
            granted_to=come.set,
            overtakes=before.overtakes,
            yields=before.yields,
        )
        self._turn = turn
        self._paced.ask(turn)
        await come.wait()
        self._used = True


FREE = Permit()  # of a consumer without limits


class Pacing:
    """The paces of a worker's consumers."""

    def __init__(self) -> None:
        self._paced: dict[str, _Paced] = {}  # by credential

    async def permit(self, lane: Lane, head: Pending, instance: Consumer[Any] | None) -> Permit | None:
        """Waits until the head of a lane may be sent; None where its lane was woken before, and is to look at it again."""
        assert head.delivery is not None
        credential = None if instance is None else credential_of(instance)
        if instance is None or credential is None or not (limits := limits_of(instance, head.delivery)):
            return FREE
        paced = self._of(credential)
        if lane.place is None:
            lane.place = paced.pace.next_place()
        turn = Turn(
            limits=limits,
            place=lane.place,
            granted_to=lane.woken.set,
            overtakes=head.critical,
            yields=not head.critical and getattr(instance.parameters, "overtake", "none") == "critical",
        )
        paced.ask(turn)
        if not turn.granted:
            lane.is_patient(True)
            try:
                await lane.woken.wait()
            except asyncio.CancelledError:
                paced.give_back(turn)
                raise
            finally:
                lane.is_patient(False)
        if not turn.granted:
            paced.give_back(turn)
            return None
        lane.place = None
        return Permit(paced, turn)

    def told(self, instance: Consumer[Any] | None, delivery: Delivery, until: float) -> None:
        """The service asked that nothing more goes where a delivery goes before `until`, a time of `time.monotonic()`."""
        credential = None if instance is None else credential_of(instance)
        if instance is not None and credential is not None:
            address = max((limit.of for limit in limits_of(instance, delivery)), default="")
            self._of(credential).pace.told(address, until, time.monotonic())

    def follow(self, catalog: Catalog, changed: Collection[str]) -> None:
        """Forgets what services asked for of the consumers that a new catalog changes."""
        for name in changed:
            instance = catalog.consumers.get(name)
            paced = None if instance is None else self._paced.get(credential_of(instance) or "")
            if paced is not None:
                paced.pace.forget_told()
                paced.grant()

    def keep(self, credentials: Collection[str | None]) -> None:
        """Forgets the paces of other credentials than these: another worker has them now, and uses them."""
        self._paced = {credential: paced for credential, paced in self._paced.items() if credential in credentials}

    def is_new(self, credential: str) -> bool:
        """Whether nothing was sent with a credential since this worker has it."""
        return credential not in self._paced

    def begin(self, credential: str) -> None:
        """From now on this worker sends with a credential."""
        self._of(credential)

    def count(self, credential: str, limits: Sequence[Limit], ended_at: float) -> None:
        """Counts a send that another worker has made, and that ended at a time of `time.monotonic()`."""
        for of in {limit.of for limit in limits}:
            self._of(credential).pace.count(of, ended_at)

    def _of(self, credential: str) -> _Paced:
        found = self._paced.get(credential)
        if found is None:
            found = self._paced[credential] = _Paced()
        return found


def credential_of(instance: Consumer[Any]) -> str | None:
    """The credential of a consumer; None where it has none, or fails to say."""
    return _asked(instance, instance.credential, None)


def limits_of(instance: Consumer[Any], delivery: Delivery) -> Sequence[Limit]:
    """The limits that count for a delivery; none where the consumer fails to say."""
    return _asked(instance, lambda: list(instance.limits(delivery)), [])


def address_of(instance: Consumer[Any], user: User | None) -> str | None:
    """How a consumer reaches a user; None where it does not, has an address of its own, or fails to say."""
    return _asked(instance, lambda: None if user is None or instance.fixed_address() else instance.address(user), None)


def _asked(instance: Consumer[Any], ask: Callable[[], T], otherwise: T) -> T:
    try:
        return ask()
    except Exception as error:  # a plugin's fault must not end the worker; the service's own answers are obeyed still
        _seldom.log(
            logging.WARNING,
            "The consumer type %s cannot say its limits, so they are not kept: %s: %s",
            instance.type,
            type(error).__name__,
            error,
            extra={"action": "deliver"},
        )
        return otherwise
