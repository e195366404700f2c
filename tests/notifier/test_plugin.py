"""What plugins have in common: secrets, worlds, masks."""

from pydantic import SecretStr

from notifier.plugin import (
    Consumer,
    ConsumerParameters,
)


def test_a_plugin_masks_every_secret_of_its_parameters_the_longest_first() -> None:
    class Keys(ConsumerParameters):
        token: SecretStr
        urls: list[SecretStr]

    class Sender(Consumer[Keys]):
        type = "sender"
        Parameters = Keys

    sender = Sender(Keys(token=SecretStr("abc"), urls=[SecretStr("https://abcdef"), SecretStr("")]))
    assert sender.mask("GET https://abcdef failed; abc is no good") == "GET *** failed; *** is no good"
