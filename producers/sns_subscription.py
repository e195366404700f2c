"""SNS subscription: confirms that Amazon SNS may send to a producer. Its messages are `payload_mapping.ready.sns`'s.

SNS sends its first hook to ask whether its messages are wanted, and none until the address in it was opened. Its own signature
cannot be checked without asking Amazon for a certificate, so it stands for nothing here: who sent a hook is checked by the
API, as for any other one, and nothing but SNS itself is ever asked.
"""

import re  # for our own constant patterns
from urllib.parse import parse_qs, urlsplit

from notifier import Context
from notifier.errors import DeliveryError
from notifier.one_line import one_line

CONFIRMATION = "SubscriptionConfirmation"
CONFIRMED = "the subscription is confirmed"
_HOST = re.compile(r"sns\.[a-z0-9-]{1,40}\.amazonaws\.com(\.cn)?")
_MAX_URL = 2000


async def confirmed(payload: object, context: Context) -> str | None:
    """Confirms the subscription that a payload asks for; what became of it, in words. None: it asks for none.

    `CONFIRMED` is the only good answer. Never raises.
    """
    if not isinstance(payload, dict) or payload.get("Type") != CONFIRMATION:
        return None
    url = payload.get("SubscribeURL")
    if not isinstance(url, str) or not is_confirmation(url):
        return "the subscription is not confirmed: its SubscribeURL does not lead to Amazon SNS"
    import aiohttp  # it takes long, and only this needs it

    try:
        async with (
            context.network.open_session() as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            status = answer.status
    except DeliveryError as error:
        return f"the subscription is not confirmed: {one_line(str(error), 200)}; ask SNS to send the confirmation again"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        # Without the error's text: it may name the address, which holds the token.
        return f"the subscription is not confirmed: {type(error).__name__}; ask SNS to send the confirmation again"
    if status != 200:
        return (
            f"the subscription is not confirmed: Amazon SNS answered {status}; ask SNS to send the confirmation again"
        )
    return CONFIRMED


def is_confirmation(url: str) -> bool:
    """Whether an address confirms a subscription at Amazon SNS, and does nothing else."""
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port, query = parts.port, parse_qs(parts.query, max_num_fields=20)
    except ValueError:
        return False
    plain = parts.scheme == "https" and port in (None, 443) and parts.path in ("", "/") and "@" not in parts.netloc
    return (
        plain and _HOST.fullmatch(parts.hostname or "") is not None and query.get("Action") == ["ConfirmSubscription"]
    )
