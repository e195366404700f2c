"""Signatures of hooks, by the scheme of each sender. The first three are published with their schemes."""

import hashlib
import hmac

import pytest
from pydantic import ValidationError

from control_api.http.signed import claim_of, is_signed, is_timely, sign
from notifier.plugin import SCHEMES, SchemeName, SignatureScheme, scheme_of

BODY = b'{"a": 1}'
SLACK = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121"
    b".803a0bc887a14d10d2c447fce8b6703c"
)


def headers(**given: str) -> dict[str, str]:
    """As a request has them: underlines stand for hyphens."""
    return {name.replace("_", "-"): value for name, value in given.items()}


def check(scheme: SignatureScheme, given: dict[str, str], body: bytes, *secrets: str) -> bool:
    claim = claim_of(scheme, given)
    return claim is not None and is_signed(scheme, claim, secrets, [body[:3], body[3:]])


@pytest.mark.parametrize(
    ("name", "secret", "given", "body"),
    [
        (
            "github",
            "It's a Secret to Everybody",
            {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
            b"Hello, World!",
        ),
        (
            "slack",
            "8f742231b10e8888abcd99yyyzzz85a5",
            {
                "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                "X-Slack-Request-Timestamp": "1531420618",
            },
            SLACK,
        ),
        (
            "standard-webhooks",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1a,c2ln v1,bm9wZQ== v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
        ),
    ],
)
def test_published_signatures_are_right(name: SchemeName, secret: str, given: dict[str, str], body: bytes) -> None:
    scheme = SCHEMES[name]
    assert check(scheme, given, body, secret)
    assert check(scheme, given, body, "another", secret)
    assert not check(scheme, given, body, "another")
    assert not check(scheme, given, body + b" ", secret)
    for header in given:
        assert not check(scheme, {**given, header: given[header][:-1] + "9"}, body, secret)
        assert not check(scheme, {key: value for key, value in given.items() if key != header}, body, secret)


@pytest.mark.parametrize("name", SCHEMES)
def test_each_scheme_takes_what_its_sender_makes(name: SchemeName) -> None:
    scheme = SCHEMES[name]
    given = sign(scheme, "s3cret", BODY, timestamp="1700000000", id_="7")
    assert check(scheme, given, BODY, "s3cret")
    assert check(scheme, given, BODY, "newer", "s3cret")
    assert not check(scheme, given, BODY, "other")
    assert check(scheme, given, BODY + b"\n", "s3cret") is (scheme.algorithm == "none")
    assert claim_of(scheme, {}) is None
    for wrong in ("", "=", scheme.prefix, "ü", f"{scheme.prefix}", "," * 20_000, f"{scheme.prefix}0 " * 10_000):
        assert not check(scheme, {**given, scheme.header: wrong}, BODY, "s3cret")


def test_several_signatures_and_capital_letters() -> None:
    scheme = SCHEMES["stripe"]
    mac = hmac.new(b"s3cret", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    for value in (f"t=1700000000,v1=00,v1={mac},v0=1", f"t=1700000000, V1={mac.upper()}"):
        assert check(scheme, {scheme.header: value}, BODY, "s3cret")
    assert not check(scheme, {scheme.header: f"t=1700000001,v1={mac}"}, BODY, "s3cret")
    assert not check(scheme, {scheme.header: f"t=1700000000,v0={mac}"}, BODY, "s3cret")


@pytest.mark.parametrize(
    ("text", "timely"),
    [
        ("1700000000", True),
        ("1700000300", True),
        ("1699999700", True),
        ("1700000301", False),
        ("1699999699", False),
        ("1700000000000", True),  # in milliseconds
        ("2023-11-14T22:13:20Z", True),
        ("2023-11-14T22:20:20+00:00", False),
        ("2023-11-14T22:13:20", False),  # of no zone
        ("", False),
        ("now", False),
        ("-1", False),
        ("9" * 40, False),
        ("١٧٠٠٠٠٠٠٠٠", False),
    ],
)
def test_a_signed_time_must_be_near(text: str, timely: bool) -> None:
    scheme = SignatureScheme(header="X-S", signed="{timestamp}.{body}", timestamp_header="X-T")
    claim = claim_of(scheme, sign(scheme, "s3cret", BODY, timestamp=text))
    assert claim is not None
    assert is_signed(scheme, claim, ["s3cret"], [BODY])
    assert is_timely(scheme, claim, 1_700_000_000.0) is timely


def test_an_id_cannot_stand_for_a_time() -> None:
    scheme = SignatureScheme(
        header="X-S", signed="{id}.{timestamp}.{body}", timestamp_header="X-T", id_header="X-I", encoding="base64"
    )
    claim = claim_of(scheme, {"X-S": "x", "X-T": "{id}", "X-I": "{timestamp}"})
    assert claim is not None
    assert claim.before == b"{timestamp}.{id}."


@pytest.mark.parametrize(
    "written",
    [
        {"header": "X-S", "signed": "{body}x"},
        {"header": "X-S", "signed": "x"},
        {"header": "X-S", "signed": "{url}{body}"},
        {"header": "X-S", "signed": "{timestamp}{body}"},
        {"header": "X-S", "timestamp_header": "X-T"},
        {"header": "X-S", "signed": "{id}{body}"},
        {"header": "X-S", "algorithm": "none", "prefix": "Bearer "},
        {"header": "X S"},
        {"header": "X-S", "algorithm": "md5"},
        {"header": "X-S", "tolerance_s": 0},
        {"header": "X-S", "more": 1},
        {},
    ],
)
def test_a_scheme_that_cannot_be_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SignatureScheme.model_validate(written)


def test_without_a_scheme_it_is_that_of_github() -> None:
    assert scheme_of(None) == scheme_of("github") == SCHEMES["github"]
    assert scheme_of(SignatureScheme.model_validate({"header": "X-S", "prefix": None})).prefix == ""


def test_a_secret_in_a_header_may_have_any_letters() -> None:
    as_it_comes = "pässword-ключ".encode().decode("latin-1")  # which Starlette makes of a header's bytes
    assert check(SCHEMES["gitlab"], headers(X_Gitlab_Token=as_it_comes), BODY, "pässword-ключ")
    assert not check(SCHEMES["gitlab"], headers(X_Gitlab_Token="pässword-ключ"), BODY, "pässword-ключ")
