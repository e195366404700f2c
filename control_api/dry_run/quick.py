"""Quick: the deliveries of messages for one receiver, by filters that look at the receiver or at the message alone.

Most configurations have no others. What becomes of a receiver is found out once, and no other name is looked up. It answers
as `control_api.dry_run.version` does in full, or not at all: where a message is for everyone or for a group, where it
expires, and where a filter raises.
"""

from collections.abc import Callable, Sequence

from control_api.dry_run.deliveries import NONE, Deliveries
from filters.chain import AnyFilter, Chain
from notifier.catalog import Catalog
from notifier.folded import folded
from notifier.group import Group
from notifier.message import Message
from notifier.plugin import Lookup
from notifier.user import User

MOST_NAMES = 100_000  # that are kept of a world; any client may write others without end

_Test = tuple[Callable[[Message], bool], bool]  # a filter's function of the message, and its `negate`


class Quick:
    """Judges by one version of a configuration. `made` gives the deliveries of a message to a user."""

    def __init__(
        self,
        catalog: Catalog,
        receivers: Sequence[tuple[Lookup, bool]],  # with `negate`
        tests: Sequence[_Test],
        made: Callable[[User], Deliveries],
    ) -> None:
        self._catalog = catalog
        self._receivers = receivers
        self._tests = tests
        self._made = made
        # By world, by the receiver as the message writes it; None: it has to be judged in full.
        worlds: dict[str, dict[str, Deliveries | None]] = {}
        self._known = {name: worlds.setdefault(one.world_of(), {}) for name, one in catalog.producers.items()}

    @classmethod
    def of(
        cls, catalog: Catalog, chain: Chain, users: frozenset[str], made: Callable[[User], Deliveries]
    ) -> "Quick | None":
        """For a chain of filters; None where one of them looks at more."""
        receivers: list[tuple[Lookup, bool]] = []
        tests: list[_Test] = []
        for _, filter_ in chain.filters:
            lookup, test = _simple(filter_, users)
            if lookup is not None:
                receivers.append((lookup, filter_.parameters.negate))
            elif test is not None:
                tests.append((test, filter_.parameters.negate))
            else:
                return None
        return cls(catalog, receivers, tests, made)

    def of_message(self, message: Message) -> Deliveries | None:
        """The deliveries of a message whose producer is in the catalog; None: it has to be judged in full."""
        name = message.receiver
        if name is None or message.expires_at is not None:
            return None
        known = self._known[message.producer]
        found = known.get(name, _UNKNOWN)
        if found is _UNKNOWN:
            found = self._of_receiver(message.producer, name)
            if len(known) < MOST_NAMES:
                known[name] = found
        if not found:  # nothing is made whatever the message says, or that cannot be said here
            return found
        try:
            for test, negate in self._tests:
                if bool(test(message)) is negate:
                    return NONE
        except Exception:  # a plugin's fault, which the chain of filters logs
            return None
        return found

    def _of_receiver(self, producer: str, name: str) -> Deliveries | None:
        world = self._catalog.producers[producer].world_of()
        user = self._catalog.directory.world(world).get(folded(name))
        if isinstance(user, Group):
            return None
        if not isinstance(user, User):
            return NONE  # nobody, or more than one
        passes = all((user.username in lookup.values) is not negate for lookup, negate in self._receivers)
        return self._made(user) if passes else NONE


_UNKNOWN: Deliveries = {("", None): None}  # says that a receiver was not looked up yet


def _simple(filter_: AnyFilter, users: frozenset[str]) -> tuple[Lookup | None, Callable[[Message], bool] | None]:
    """Its rule as a look at the receiver, or as a function of the message; neither where it is more, or fails to say."""
    try:
        lookup = filter_.lookup(users)
        return (lookup, None) if lookup is not None and lookup.field == "receiver" else (None, filter_.test())
    except Exception:  # a plugin's fault, of which the chain says more
        return None, None
