"""Proxy parameters: the parameter of producers and consumers that names a proxy."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from notifier.plugin.parameters import Parameters
from notifier.proxy import read_proxy
from notifier.seal import is_sealed


def _check(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not is_sealed(text):  # as the router sees it, which has no key
        read_proxy(text)
    return url


class ProxyParameters(Parameters):
    """Parameters of producers and consumers that reach their service by a proxy."""

    proxy: Annotated[SecretStr, AfterValidator(_check)] | None = Field(
        None,
        description="Proxy that the service is reached by, `http://` or `socks5://`, with name and password if it needs them.",
        examples=["socks5://name:password@proxy.example:1080"],
    )

    def proxy_url(self) -> str | None:
        """The proxy with its password, for `Network`; None: none."""
        return None if self.proxy is None else self.proxy.get_secret_value()
