"""Signature: the headers that tell a receiver who sent a request, by Standard Webhooks (standardwebhooks.com), version 1.

webhook-id: msg_4be7…            the same for each try at a delivery, so that a receiver knows a repeat
webhook-timestamp: 1790000000    seconds, of this try
webhook-signature: v1,K5oZ… v1,hnO3…    one for each secret, base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"


def id_of(delivery_id: str) -> str:
    """The id of a delivery as the header may hold it: ASCII, of one length."""
    return "msg_" + hashlib.sha256(delivery_id.encode(errors="replace")).hexdigest()[:32]


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: what follows `whsec_` is base64, any other text is its bytes. Raises ValueError."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("must be base64 after whsec_")
    return key


def headers_of(keys: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The three headers; without a key there is no signature."""
    headers = {"webhook-id": id_, "webhook-timestamp": str(timestamp)}
    if keys:
        signed = f"{id_}.{timestamp}.".encode() + body
        made = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
        headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in made)
    return headers
