"""Deliveries keep their message's bytes, and their ids tell them apart."""

from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.delivery import Delivery, delivery_id


def test_a_delivery_keeps_the_bytes_of_its_message() -> None:
    raw = b'{"producer":"ci", "content":"x", "amount":1.50, "deep":{"a":[]}}'
    delivery = Delivery(
        id="i",
        configuration="c",
        configuration_version=1,
        consumer="k",
        lane="l",
        message=msgspec.Raw(raw),
        message_id="1",
    )
    again = Delivery.decode(delivery.encode())
    assert bytes(again.message) == raw
    assert again.read_message().content == "x"


parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["*", "/", "a/b", "%2F", "a%2Fb"]
)


@pytest.mark.predecessor("S-32")
@given(
    st.tuples(parts, parts, parts, parts, parts | st.none()), st.tuples(parts, parts, parts, parts, parts | st.none())
)
def test_delivery_ids_are_equal_only_for_equal_parts(
    one: tuple[str, str, str, str, str | None], two: tuple[str, str, str, str, str | None]
) -> None:
    assert (delivery_id(*one) == delivery_id(*two)) is (one == two)
    *first, recipient = delivery_id(*one).split("/")
    assert [unquote(part) for part in first] == list(one[:4])
    assert recipient == "*" if one[4] is None else unquote(recipient) == one[4]
