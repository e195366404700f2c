"""The push producer. Taking pushed messages in is tested in `tests/control_api`."""

from pydantic import SecretStr

from producers.push import Push


def test_a_push_producer_is_not_asked_and_keeps_its_secret_to_itself() -> None:
    parameters = Push.Parameters.model_validate({"webhook_secret": "hush-hush", "world": "github"})
    producer = Push(parameters)
    assert not producer.pull
    assert producer.world_of() == "github"
    assert "hush-hush" not in repr(parameters)
    assert isinstance(producer.parameters.webhook_secret, SecretStr)
