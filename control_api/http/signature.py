"""Signature: authorization of hooks. A hook that its sender signed needs no token.

`X-Hub-Signature-256: sha256=<hex>` is the HMAC-SHA-256 of the body, byte for byte, under the producer's `webhook_secret`, as
GitHub and many others send it. A signature that is present must be right, even beside a token; a hook without one needs a
token with the scope `push`.
"""

import asyncio
import hashlib
import hmac
import logging
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, SecurityScopes

from control_api.access.actor import Actor
from control_api.http.auth import Credentials, authorize, identify_token
from control_api.http.body import whole_body
from control_api.http.encoding import coding_of, unpacked_parts
from control_api.http.limits import body_limit
from control_api.http.problems import Problem, unauthorized
from control_api.parts import Parts, PartsDep
from notifier.errors import InputError, SecretError, UnknownName
from notifier.plugin import secret_fields
from notifier.registry import open_secrets

logger = logging.getLogger(__name__)

HEADER = "X-Hub-Signature-256"
FIELD = "webhook_secret"  # the parameter of producers
_FORM = "sha256="

_signature = APIKeyHeader(
    name=HEADER,
    scheme_name="signature",
    auto_error=False,
    description="`sha256=` and the HMAC-SHA-256 of the body in hexadecimal, under the producer's `webhook_secret`.",
)


def sign(secret: str, body: bytes) -> str:
    """The header's value for a body."""
    return _FORM + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def check_signature(secret: str, body: bytes, header: str | None) -> None:
    """Raises Problem 401 unless the header is the body's signature under the secret."""
    if header is None:
        raise unauthorized(f"this needs {HEADER}, or a token with the scope 'push'")
    if not hmac.compare_digest(sign(secret, body).encode(), header.strip().lower().encode()):
        raise _wrong()


def _wrong() -> Problem:
    return unauthorized(f"{HEADER} is not the signature of this body under the producer's {FIELD}")


async def webhook_secret_of(parts: Parts, producer: str) -> str | None:
    """The secret that hooks of a producer are signed with; None where it has none, and where there is no such producer.

    Raises Problem 500 where it cannot be opened; the log says why.
    """
    try:
        spec = (await parts.services.get("producer", producer)).spec
        fields = secret_fields(parts.registry.get("producer", spec["type"]).Parameters) & {FIELD}
        opened = open_secrets(parts.seal, "producer", producer, spec.get("parameters", {}), fields)
    except (UnknownName, InputError):
        return None
    except SecretError as error:
        logger.error("A signed hook cannot be checked: %s", error, extra={"action": "check_signature"})
        raise Problem(500, f"the {FIELD} of the producer cannot be opened; write it again") from None
    secret = opened.get(FIELD)
    return secret if isinstance(secret, str) and secret else None


async def _check_body(secret: str, request: Request, signature: str) -> None:
    """Checks the signature of the body as it came or, where it came compressed, as it was before. Raises Problem 401."""
    body = await whole_body(request)
    coding = coding_of(request)
    if coding is None:
        check_signature(secret, body, signature)
        return
    given = signature.strip().lower().encode()

    def is_signed() -> bool:
        if hmac.compare_digest(sign(secret, body).encode(), given):
            return True
        unpacked = hmac.new(secret.encode(), digestmod=hashlib.sha256)
        for part in unpacked_parts(body, coding, body_limit(request.url.path)):
            unpacked.update(part)  # something between it and us may have packed it
        return hmac.compare_digest((_FORM + unpacked.hexdigest()).encode(), given)

    if not await asyncio.to_thread(is_signed):
        raise _wrong()


async def authorize_hook(
    scopes: SecurityScopes,
    producer: str,
    request: Request,
    parts: PartsDep,
    credentials: Credentials,
    documented: Annotated[str | None, Security(_signature)],
) -> Actor:
    """The sender of a hook to the producer in the address. Raises Problem 401 and 403.

    Without a token, an answer does not tell whether there is such a producer.
    """
    signature = request.headers.get(HEADER)  # `documented` is None for an empty one too, which is a wrong one
    if signature is None:
        return await authorize(scopes, await identify_token(parts, credentials))
    secret = await webhook_secret_of(parts, producer)
    if secret is not None:
        await _check_body(secret, request, signature)
        return Actor(f"hook {producer}", frozenset({"push"}))
    if credentials is None:
        raise _wrong()
    return await authorize(scopes, await identify_token(parts, credentials))


HookActor = Annotated[Actor, Security(authorize_hook, scopes=["push"])]  # in routes with `{producer}` in their address
