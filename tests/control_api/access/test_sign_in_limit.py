"""The rate limit of sign-in attempts."""

import pytest

from control_api.access.sign_in_limit import TRIES, WINDOW_S, SignInLimit, address_key


async def test_tries_are_counted_by_key_and_come_back() -> None:
    time = 1000.0
    limit = SignInLimit(lambda: time)
    for _ in range(TRIES):
        assert limit.take("a", "b") == 0
        time += 1
    assert limit.take("a") == limit.take("b", "c") == WINDOW_S - TRIES
    for _ in range(TRIES):  # what was refused counted nothing
        assert limit.take("c") == 0
    time = 1000.0 + WINDOW_S
    assert limit.take("a") == 0
    assert limit.take("a") == 1
    assert limit.take("c") > 0


async def test_strangers_do_not_fill_the_memory() -> None:
    time = 1000.0
    limit = SignInLimit(lambda: time)
    for number in range(30_000):
        time += 0.1
        limit.take(f"{number}")
    assert len(limit._recent) <= 10_001


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        (None, "testclient", True),
    ],
)
async def test_an_address_is_a_callers(one: str | None, other: str | None, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same
