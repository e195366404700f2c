"""Signature: authorization of hooks. A hook that its sender signed needs no token.

The producer's parameter `signature` says how (`notifier.plugin.signature_scheme`); without it `X-Hub-Signature-256: sha256=<hex>`
is the HMAC-SHA-256 of the body, byte for byte, under the producer's `webhook_secret`, as GitHub and many others send it. Under
`webhook_secret_old` it counts too. A signature that is present must be right, even beside a token; a hook without one needs a
token with the scope `push`, as bearer or as the password of basic authentication.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, SecurityScopes
from pydantic import TypeAdapter, ValidationError

from control_api.access.actor import Actor
from control_api.http import signed
from control_api.http.auth import Credentials, authorize, identify_token
from control_api.http.body import whole_body
from control_api.http.encoding import coding_of, unpacked_parts
from control_api.http.limits import body_limit
from control_api.http.problems import Problem, unauthorized
from control_api.parts import Parts, PartsDep
from notifier.errors import InputError, SecretError, UnknownName
from notifier.plugin import SCHEMES, SchemeName, SignatureScheme, scheme_of, secret_fields
from notifier.record import JsonObject
from notifier.registry import open_secrets

logger = logging.getLogger(__name__)

HEADER = SCHEMES["github"].header
FIELD = "webhook_secret"  # the parameter of producers
FIELD_OLD = "webhook_secret_old"
_NAMED = tuple(dict.fromkeys(scheme.header for scheme in SCHEMES.values()))
_schemes: TypeAdapter[SchemeName | SignatureScheme | None] = TypeAdapter(SchemeName | SignatureScheme | None)

_signature = APIKeyHeader(
    name=HEADER,
    scheme_name="signature",
    auto_error=False,
    description="`sha256=` and the HMAC-SHA-256 of the body in hexadecimal, under the producer's `webhook_secret`, unless its"
    " `signature` says otherwise.",
)
_basic = HTTPBasic(
    scheme_name="basic",
    auto_error=False,
    description="For hooks, whose senders may know no other way: any name, and a token as the password.",
)


def sign(secret: str, body: bytes) -> str:
    """The value of `X-Hub-Signature-256` for a body."""
    return signed.sign(SCHEMES["github"], secret, body)[HEADER]


def _wrong(request: Request) -> Problem:
    # By the request alone: who has no token must not learn which producers there are.
    header = next((name for name in _NAMED if name in request.headers), None)
    if header is None:
        return unauthorized(
            "this needs a token with the scope 'push' (Bearer, or the password of Basic), or the signature of the body"
        )
    return unauthorized(f"{header} is not the signature of this body under the producer's {FIELD}")


async def _spec_of(parts: Parts, producer: str) -> JsonObject | None:
    """The definition of a producer; None where there is no such producer."""
    try:
        return (await parts.services.get("producer", producer)).spec
    except (UnknownName, InputError):
        return None


def _claim_of(spec: JsonObject, request: Request) -> tuple[SignatureScheme, signed.Claim] | None:
    """How hooks of a producer are signed, and what this one claims; None where it is not signed so."""
    try:
        scheme = scheme_of(_schemes.validate_python(spec.get("parameters", {}).get("signature")))
    except ValidationError:
        return None
    claim = signed.claim_of(scheme, request.headers)
    return None if claim is None else (scheme, claim)


def _secrets_of(parts: Parts, producer: str, spec: JsonObject) -> list[str]:
    """The secrets that hooks of a producer are signed with. Raises Problem 500 where one cannot be opened; the log says why."""
    try:
        fields = secret_fields(parts.registry.get("producer", spec["type"]).Parameters) & {FIELD, FIELD_OLD}
        opened = open_secrets(parts.seal, "producer", producer, spec.get("parameters", {}), fields)
    except InputError:
        return []
    except SecretError as error:
        logger.error("A signed hook cannot be checked: %s", error, extra={"action": "check_signature"})
        raise Problem(500, f"the {FIELD} of the producer cannot be opened; write it again") from None
    # The old secret counts beside the new one only. Without a new one, each hook needs a token.
    found = [opened.get(name) for name in (FIELD, FIELD_OLD)] if opened.get(FIELD) else []
    return [secret for secret in found if isinstance(secret, str) and secret]


async def _check_body(scheme: SignatureScheme, claim: signed.Claim, secrets: Sequence[str], request: Request) -> None:
    """Checks the signature of the body as it came or, where it came compressed, as it was before. Raises Problem 401."""
    body = await whole_body(request)
    coding = coding_of(request)
    is_signed = partial(signed.is_signed, scheme, claim, secrets)
    right = is_signed([body])
    if not right and coding is not None:  # something between it and us may have packed it
        limit = body_limit(request.url.path)
        right = await asyncio.to_thread(lambda: is_signed(unpacked_parts(body, coding, limit)))
    if not right:
        raise _wrong(request)
    if not signed.is_timely(scheme, claim, time.time()):
        raise unauthorized(
            f"the signature is right, and its time is more than {scheme.tolerance_s} s away from ours, or is none"
        )


async def _credentials(
    bearer: Credentials,
    basic: Annotated[HTTPBasicCredentials | None, Security(_basic)],
    documented: Annotated[str | None, Security(_signature)],  # the headers say it; None for an empty one too
) -> HTTPAuthorizationCredentials | None:
    """The token of a hook, which may be the password of Basic."""
    if bearer is None and basic is not None:
        return HTTPAuthorizationCredentials(scheme="Bearer", credentials=basic.password)
    return bearer


async def authorize_hook(
    scopes: SecurityScopes,
    producer: str,
    request: Request,
    parts: PartsDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_credentials)],
) -> Actor:
    """The sender of a hook to the producer in the address. Raises Problem 401, and Forbidden and 403.

    Without a token, an answer does not tell whether there is such a producer.
    """
    spec = await _spec_of(parts, producer)
    if spec is not None and (found := _claim_of(spec, request)) is not None:
        request.state.signature_header = found[0].header.lower()
        secrets = _secrets_of(parts, producer, spec)
        if secrets:
            await _check_body(*found, secrets, request)
            return Actor(f"hook {producer}", frozenset({"push"}), producer=producer)
    if credentials is None:
        raise _wrong(request)
    actor = await authorize(scopes, await identify_token(parts, credentials))
    actor.require_producer(producer)
    return actor


def signature_header_of(request: Request) -> str | None:
    """The header, in lower case, that a hook is signed by; None: it is not signed. It may hold the secret itself."""
    header: str | None = getattr(request.state, "signature_header", None)
    return header


HookActor = Annotated[Actor, Security(authorize_hook, scopes=["push"])]  # in routes with `{producer}` in their address
