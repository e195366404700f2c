"""Network: connections to addresses that people name in definitions, which must not lead into the operator's own network.

The addresses of settings are the operator's; `notifier.outside` reaches those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from notifier.outside import open_session


@dataclass(frozen=True, kw_only=True)
class Network:
    """The way out for what people name. `allowed`: addresses, networks and host names that may be private all the same."""

    allowed: Sequence[str] = ()

    def open_session(self, *, proxy: str | None = None, **options: Any) -> aiohttp.ClientSession:
        """A session that refuses addresses that are not public, unless they are allowed. `options` are aiohttp's.

        `proxy`: `http://`, `https://` or `socks5://`, with name and password where it needs them.
        """
        return open_session(**options)
