"""Signed: whether the body of a hook is signed as its sender's scheme says, under one of the producer's secrets. No I/O."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from notifier.plugin import SignatureScheme

_MAX_SIGNATURES = 10  # in one header; more than the secrets of any rotation
_MAX_HEADER = 8_192  # characters
_MILLISECONDS = 1e11  # a time as a number that is larger is in milliseconds: as seconds it would be the year 5138


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers of a hook say of its signature."""

    signatures: tuple[bytes, ...]  # without their prefix; none: there is none of that form
    before: bytes = b""  # what is signed before the body
    at: float | None = None  # seconds since 1970 that are signed; None: none are, or they are none


def claim_of(scheme: SignatureScheme, headers: Mapping[str, str]) -> Claim | None:
    """What the headers claim; None where the signature's header is missing."""
    value = headers.get(scheme.header)
    if value is None:
        return None
    if scheme.algorithm == "none":
        return Claim((value.encode("latin-1", "replace"),))  # the bytes as they came: the secret in UTF-8
    parts = _parts(scheme, value[:_MAX_HEADER])
    prefix = _folded(scheme, scheme.prefix)
    found = [_folded(scheme, part) for part in parts]
    signatures = [part.removeprefix(prefix).encode() for part in found if part.startswith(prefix)]
    time = _time_text(scheme, headers, parts)
    id_ = headers.get(scheme.id_header, "") if scheme.id_header is not None else ""
    before = scheme.signed.removesuffix("{body}")
    # One after the other, so that an id that holds `{timestamp}` stays what it is.
    words = [word.replace("{id}", id_) for word in before.split("{timestamp}")]
    return Claim(tuple(signatures[:_MAX_SIGNATURES]), time.join(words).encode(), _seconds(time) if time else None)


def is_signed(scheme: SignatureScheme, claim: Claim, secrets: Sequence[str], body: Iterable[bytes]) -> bool:
    """Whether one of the signatures is that of the body, given part by part, under one of the secrets."""
    if scheme.algorithm == "none":
        matches = [hmac.compare_digest(secret.encode(), one) for secret in secrets for one in claim.signatures]
        return any(matches)
    macs = [hmac.new(_key(scheme, secret), claim.before, getattr(hashlib, scheme.algorithm)) for secret in secrets]
    for part in body:
        for mac in macs:
            mac.update(part)
    wanted = [
        base64.b64encode(mac.digest()) if scheme.encoding == "base64" else mac.hexdigest().encode() for mac in macs
    ]
    matches = [hmac.compare_digest(one, given) for one in wanted for given in claim.signatures]
    return any(matches)


def is_timely(scheme: SignatureScheme, claim: Claim, now: float) -> bool:
    """Whether the signed time is near enough to `now`, in seconds since 1970; True where the scheme signs none."""
    return not scheme.timed or (claim.at is not None and abs(now - claim.at) <= scheme.tolerance_s)


def sign(scheme: SignatureScheme, secret: str, body: bytes, *, timestamp: str = "", id_: str = "") -> dict[str, str]:
    """The headers of a hook with that body, as a sender makes them."""
    if scheme.algorithm == "none":
        return {scheme.header: secret}
    before = scheme.signed.removesuffix("{body}").replace("{timestamp}", timestamp).replace("{id}", id_)
    mac = hmac.new(_key(scheme, secret), before.encode() + body, getattr(hashlib, scheme.algorithm))
    text = base64.b64encode(mac.digest()).decode() if scheme.encoding == "base64" else mac.hexdigest()
    times = {} if scheme.timestamp_header is None else {scheme.timestamp_header: timestamp}
    ids = {} if scheme.id_header is None else {scheme.id_header: id_}
    first = "" if scheme.timestamp_prefix is None else f"{scheme.timestamp_prefix}{timestamp},"
    return {scheme.header: f"{first}{scheme.prefix}{text}", **times, **ids}


def _parts(scheme: SignatureScheme, value: str) -> list[str]:
    """The parts of the signature's header: some senders put several signatures there, or the time too."""
    separated = value if "," in scheme.prefix else value.replace(",", " ")
    return separated.split()


def _folded(scheme: SignatureScheme, text: str) -> str:
    return text.lower() if scheme.encoding == "hex" else text


def _time_text(scheme: SignatureScheme, headers: Mapping[str, str], parts: Sequence[str]) -> str:
    if scheme.timestamp_header is not None:
        return headers.get(scheme.timestamp_header, "").strip()
    prefix = scheme.timestamp_prefix
    if prefix is None:
        return ""
    return next((part.removeprefix(prefix) for part in parts if part.startswith(prefix)), "")


def _seconds(text: str) -> float | None:
    if text.isascii() and text.isdigit() and len(text) <= 16:
        number = float(text)
        return number / 1000 if number >= _MILLISECONDS else number
    try:
        found = datetime.fromisoformat(text)
        return found.timestamp() if found.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def _key(scheme: SignatureScheme, secret: str) -> bytes:
    if scheme.key == "text":
        return secret.encode()
    text = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()  # as some senders sign with a secret that is no Base64
