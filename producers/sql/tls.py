"""TLS: how connections to databases are encrypted."""

import ssl
from typing import Any

from notifier.outside import authorities
from producers.sql.address import Tls


def context_of(tls: Tls, authority: str | None, host: str) -> ssl.SSLContext | None:
    """What a driver encrypts by; None: it does not.

    Connections go to addresses that were judged, so drivers do not know the name that the certificate is for: it is `host`.
    """
    if tls == "off":
        return None
    if tls == "verify":
        context = authorities() if authority is None else ssl.create_default_context(cadata=authority)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    wrap = context.wrap_bio

    def wrap_bio(
        incoming: Any, outgoing: Any, server_side: bool = False, server_hostname: Any = None, session: Any = None
    ) -> Any:
        return wrap(incoming, outgoing, server_side=server_side, server_hostname=host, session=session)

    context.wrap_bio = wrap_bio  # type: ignore[method-assign]
    return context
