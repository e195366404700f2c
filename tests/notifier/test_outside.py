"""Which proxy a request goes by, and whom it trusts."""

import ssl

import pytest
import truststore

from notifier import Retryable
from notifier.outside import authorities, proxy_of
from tests.rigs.company_network import forget_proxies

TELEGRAM = "https://api.telegram.org/bot1/sendMessage"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        pytest.param({}, TELEGRAM, None, id="none"),
        pytest.param({"HTTPS_PROXY": "http://p:3128"}, TELEGRAM, "http://p:3128", id="https"),
        pytest.param({"https_proxy": "http://p:3128/"}, TELEGRAM, "http://p:3128/", id="in lower case"),
        pytest.param({"HTTPS_PROXY": "p:3128"}, TELEGRAM, "http://p:3128", id="without a scheme"),
        pytest.param({"HTTPS_PROXY": "https://p"}, TELEGRAM, "https://p", id="a proxy with TLS"),
        pytest.param({"HTTPS_PROXY": "http://[::1]:3128"}, TELEGRAM, "http://[::1]:3128", id="IPv6"),
        pytest.param({"HTTP_PROXY": "http://p"}, TELEGRAM, None, id="of another scheme"),
        pytest.param({"ALL_PROXY": "http://p"}, TELEGRAM, "http://p", id="all"),
        pytest.param({"ALL_PROXY": "http://p", "HTTPS_PROXY": "http://q"}, TELEGRAM, "http://q", id="not all"),
        pytest.param({"HTTPS_PROXY": ""}, TELEGRAM, None, id="empty"),
        pytest.param({"HTTPS_PROXY": "http://p", "NO_PROXY": "telegram.org"}, TELEGRAM, None, id="a domain"),
        pytest.param({"HTTPS_PROXY": "http://p", "NO_PROXY": ".telegram.org"}, TELEGRAM, None, id="below a domain"),
        pytest.param({"HTTPS_PROXY": "http://p", "NO_PROXY": "gram.org"}, TELEGRAM, "http://p", id="no domain"),
        pytest.param({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, TELEGRAM, None, id="nothing"),
        pytest.param({"HTTPS_PROXY": "http://p", "no_proxy": "a, 10.0.0.0/8"}, "https://10.1.2.3/x", None, id="net"),
        pytest.param(
            {"HTTPS_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8,x/y"}, "https://11.1.2.3", "http://p", id="out"
        ),
        pytest.param({"HTTPS_PROXY": "http://p", "NO_PROXY": "fd00::/8"}, "https://[fd00::1]:8443/x", None, id="net 6"),
        pytest.param({"HTTP_PROXY": "http://p", "NO_PROXY": "h:81"}, "http://h:80/x", "http://p", id="another port"),
        pytest.param({"HTTP_PROXY": "http://p", "NO_PROXY": "h:81"}, "http://h:81/x", None, id="the port"),
    ],
)
def test_a_request_goes_by_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    forget_proxies(monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == ({} if proxy is None else {"proxy": proxy})


@pytest.mark.parametrize("proxy", ["socks5://me:planted@p:1080", "http://me:planted@p:port", "http://", "http://[p"])
def test_a_proxy_that_cannot_be_used_is_said_without_repeating_it(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    forget_proxies(monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(
        Retryable, match="HTTPS_PROXY or ALL_PROXY cannot be used: write it as http://host:port"
    ) as raised:
        proxy_of(TELEGRAM)
    assert "planted" not in str(raised.value)


def test_the_machine_is_trusted_unless_a_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/authority.pem")
    assert type(authorities()) is ssl.SSLContext
    monkeypatch.delenv("SSL_CERT_FILE")
    assert type(authorities()) is truststore.SSLContext
    assert authorities().verify_mode is ssl.CERT_REQUIRED
