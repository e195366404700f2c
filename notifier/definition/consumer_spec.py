"""ConsumerSpec: what people write of a consumer: its plugin, and what becomes of deliveries that it does not take at once."""

from pydantic import Field

from notifier.definition.names import Name
from notifier.definition.plugin_spec import PluginSpec
from notifier.definition.seconds import Lifetime, Waits
from notifier.definition.spec import Spec
from notifier.definition.template_spec import SubjectText, TemplateText
from notifier.policy import Policy, Unknown
from notifier.wording import Wording


class RetrySpec(Spec):
    """How often a delivery is tried, and for how long."""

    schedule_s: Waits | None = Field(
        None,
        description="Seconds from each failed attempt to the next; none: the first failure is the last; absent: the setting"
        " `NOTIFIER_RETRY_SCHEDULE_S`.",
        examples=[[5, 30, 300]],
    )
    ttl_s: Lifetime | None = Field(
        None, description="Seconds after which a delivery is not sent any more; absent: it does not expire."
    )


class ConsumerSpec(PluginSpec):
    """A consumer: a plugin type with its parameters, and what becomes of deliveries that it does not take at once."""

    retry: RetrySpec | None = Field(None, description="How often and for how long a delivery is tried.")
    unknown: Unknown | None = Field(
        None,
        description="What follows where nobody knows whether a delivery arrived: `again`: it is tried again, and may arrive"
        " twice; `give_up`: it becomes a dead letter, and may not have arrived; absent: as the type says.",
    )
    fallback: Name | None = Field(
        None, description="The consumer that gets, once, what this one refuses, or fails to take to the last retry."
    )

    subject: SubjectText | None = Field(
        None, description="Subject of its deliveries as a Jinja template; absent: the title of the message."
    )
    template: TemplateText | None = Field(
        None,
        description="Text of its deliveries as a Jinja template, where the configuration has none; absent: the default text.",
    )

    def policy(self) -> Policy:
        """The policy itself."""
        retry = self.retry or RetrySpec()
        return Policy(schedule_s=retry.schedule_s, ttl_s=retry.ttl_s, unknown=self.unknown, fallback=self.fallback)

    def wording(self) -> Wording:
        """The texts themselves."""
        return Wording(subject=self.subject, template=self.template)
