"""Push: a producer whose messages others write. Taking them in over HTTP is `control_api`'s; any Kafka client may write too."""

from pydantic import Field, SecretStr

from notifier import Producer, WorldParameters


class PushParameters(WorldParameters):
    """Parameters of a push producer."""

    webhook_secret: SecretStr | None = Field(
        None,
        min_length=1,
        description="Secret that the sender signs hooks with (`X-Hub-Signature-256`); with it no token is needed.",
    )


class Push(Producer[PushParameters]):
    """Messages come by themselves: over REST, by hooks, or from any Kafka client that writes on `messages`.

    It is never asked for messages, so a run passes it over.
    """

    type = "push"
    Parameters = PushParameters
    pull = False
