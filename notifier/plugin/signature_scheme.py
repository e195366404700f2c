"""Signature scheme: how a service signs the hooks that it sends, and the schemes of services that many use."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from notifier.absent import Written

_Header: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]

SchemeName: TypeAlias = Literal[
    "github", "gitlab", "gitea", "bitbucket", "grafana", "sentry", "slack", "stripe", "standard-webhooks"
]


class SignatureScheme(Written):
    """Where the signature of a hook stands, and what it is of.

    `{"header": "X-Signature", "encoding": "base64", "signed": "{timestamp}.{body}", "timestamp_header": "X-Timestamp"}`
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: _Header = Field(description="Header that the signature, or several of them, stands in.")
    algorithm: Literal["sha256", "sha512", "sha1", "none"] = Field(
        "sha256", description="HMAC by that digest; `none`: the header holds the secret itself."
    )
    encoding: Literal["hex", "base64"] = Field("hex", description="How the signature is written.")
    prefix: Annotated[str, StringConstraints(max_length=50)] = Field(
        "", description="Text before the signature, such as `sha256=`."
    )
    signed: Annotated[str, StringConstraints(max_length=200)] = Field(
        "{body}", description="What is signed: `{body}` at the end; `{timestamp}` and `{id}` may stand before it."
    )
    timestamp_header: _Header | None = Field(None, description="Header with the time of the request.")
    timestamp_prefix: Annotated[str, StringConstraints(min_length=1, max_length=50)] | None = Field(
        None, description="Text before the time where that stands in the signature's own header, such as `t=`."
    )
    tolerance_s: int = Field(300, ge=1, le=86_400, description="How old, in seconds, a signed time may be, or ahead.")
    id_header: _Header | None = Field(None, description="Header with the id of the hook, where that is signed.")
    key: Literal["text", "base64"] = Field(
        "text", description="What the secret is: a text, or bytes as Base64, after `whsec_` or not."
    )

    @property
    def timed(self) -> bool:
        """Whether the time of the request is signed."""
        return "{timestamp}" in self.signed

    @model_validator(mode="after")
    def _fits(self) -> Self:
        before, body, after = self.signed.partition("{body}")
        if not body or after or "{" in before.replace("{timestamp}", "").replace("{id}", ""):
            raise ValueError("`signed` must end with {body}; before it may stand {timestamp}, {id} and other text")
        if ("{id}" in before) is not (self.id_header is not None):
            raise ValueError("`id_header` belongs to {id} in `signed`: give both or neither")
        if self.timed is (self.timestamp_header is None and self.timestamp_prefix is None):
            raise ValueError(
                "`timestamp_header` or `timestamp_prefix` belongs to {timestamp} in `signed`: a time that is not signed"
                " proves nothing"
            )
        if self.algorithm == "none" and (before or self.prefix or self.key == "base64"):
            raise ValueError("with the algorithm `none` the header holds the secret and nothing else")
        return self


SCHEMES: Mapping[SchemeName, SignatureScheme] = {
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    "github": SignatureScheme(header="X-Hub-Signature-256", prefix="sha256="),
    # https://docs.gitlab.com/user/project/integrations/webhooks/ (the secret token)
    "gitlab": SignatureScheme(header="X-Gitlab-Token", algorithm="none"),
    # https://docs.gitea.com/usage/webhooks; Forgejo sends it too
    "gitea": SignatureScheme(header="X-Gitea-Signature"),
    # https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
    "bitbucket": SignatureScheme(header="X-Hub-Signature", prefix="sha256="),
    # https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
    "grafana": SignatureScheme(header="X-Grafana-Alerting-Signature"),
    # https://docs.sentry.io/organization/integrations/integration-platform/webhooks/
    "sentry": SignatureScheme(header="Sentry-Hook-Signature"),
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    "slack": SignatureScheme(
        header="X-Slack-Signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp_header="X-Slack-Request-Timestamp",
    ),
    # https://docs.stripe.com/webhooks/signature
    "stripe": SignatureScheme(
        header="Stripe-Signature", prefix="v1=", signed="{timestamp}.{body}", timestamp_prefix="t="
    ),
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    "standard-webhooks": SignatureScheme(
        header="webhook-signature",
        encoding="base64",
        prefix="v1,",
        signed="{id}.{timestamp}.{body}",
        timestamp_header="webhook-timestamp",
        id_header="webhook-id",
        key="base64",
    ),
}


def scheme_of(given: SchemeName | SignatureScheme | None) -> SignatureScheme:
    """The scheme that a parameter `signature` names or is; that of GitHub, which many others use, where it is absent."""
    return given if isinstance(given, SignatureScheme) else SCHEMES[given or "github"]
