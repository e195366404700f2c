"""Authority: the certificates that a service's own one is held against, as PEM."""

import ssl
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, StringConstraints


def _check_authority(pem: str) -> str:
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise ValueError("is no certificate as PEM: -----BEGIN CERTIFICATE-----…") from None
    return pem


Authority: TypeAlias = Annotated[str, StringConstraints(max_length=100_000), AfterValidator(_check_authority)]
