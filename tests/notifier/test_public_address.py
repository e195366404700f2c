"""Which addresses are public, in each form that an address has."""

import pytest

from notifier.network import Network
from notifier.public_address import is_public, read_address


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:7f00:1", "64:ff9b::7f00:1",
        "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
        "2002:7f00:1::", "2002:a00:1::1", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "3fff::1",
        "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
    ],
)  # fmt: skip
def test_what_is_not_public_in_whatever_form(address: str) -> None:
    found = read_address(address)
    assert found is not None
    assert not is_public(found)
    assert not Network().permits(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.0.9", "2606:4700:4700::1111", "2a00:1450:4001::1",
        "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2606:4700::5efe:808:808",
    ],
)  # fmt: skip
def test_what_is_public(address: str) -> None:
    assert Network().permits(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f.1", "2130706433", "127.0.0.1:80", "[::1]", "1.1.1.1/32"]
)
def test_what_is_no_address_is_not_permitted(text: str) -> None:
    assert read_address(text) is None
    assert not Network().permits(text)


@pytest.mark.parametrize(
    ("allowed", "address", "host", "permitted"),
    [
        pytest.param("10.0.0.0/8", "10.1.2.3", "", True, id="network"),
        pytest.param("10.0.0.0/8", "11.1.2.3", "", True, id="public anyway"),
        pytest.param("10.0.0.0/8", "192.168.0.1", "", False, id="another network"),
        pytest.param("10.0.0.1", "10.0.0.1", "", True, id="address"),
        pytest.param("10.0.0.1", "10.0.0.2", "", False, id="the next"),
        pytest.param("10.0.0.0/8", "::ffff:10.1.2.3", "", True, id="mapped"),
        pytest.param("10.0.0.0/8", "64:ff9b::a01:203", "", True, id="NAT64"),
        pytest.param("fd00::/8", "fd00::1", "", True, id="IPv6"),
        pytest.param("mattermost.corp", "10.0.0.1", "mattermost.corp", True, id="name"),
        pytest.param("Mattermost.Corp.", "10.0.0.1", "mattermost.corp", True, id="name as people write it"),
        pytest.param("mattermost.corp", "10.0.0.1", "MATTERMOST.corp.", True, id="name as a definition writes it"),
        pytest.param("почта.рф", "10.0.0.1", "xn--80a1acny.xn--p1ai", True, id="name in Cyrillic"),
        pytest.param("mattermost.corp", "10.0.0.1", "x.mattermost.corp", False, id="below the name"),
        pytest.param("mattermost.corp", "10.0.0.1", "", False, id="its address without the name"),
    ],
)
def test_the_operator_allows_addresses_networks_and_names(
    allowed: str, address: str, host: str, permitted: bool
) -> None:
    assert Network(allowed=[allowed]).permits(address, host) is permitted


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "::1/129",
        "10.0.0",
        "256.1.1.1",
        "a b",
        "host:80",
        ".",
        "*.corp",
        "me@host",
        "10.0.0.1-10.0.0.9",
    ],
)
def test_an_entry_that_allows_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no address, network or host name"):
        Network(allowed=[entry])
