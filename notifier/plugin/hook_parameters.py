"""Hook parameters: the parameters of producers that take hooks."""

from pydantic import Field, SecretStr

from notifier.plugin.parameters import Parameters
from notifier.plugin.signature_scheme import SchemeName, SignatureScheme


class HookParameters(Parameters):
    """Parameters of producers that take hooks. Checking a signature is the control API's."""

    webhook_secret: SecretStr | None = Field(
        None,
        min_length=1,
        description="Secret that the sender signs hooks with; what is signed needs no token of Notifier.",
    )
    webhook_secret_old: SecretStr | None = Field(
        None,
        min_length=1,
        description="The secret before, which counts too while the sender is given the new one; clear it afterwards.",
    )
    signature: SchemeName | SignatureScheme | None = Field(
        None,
        description="How the sender signs: the name of a service, or where the signature stands and what it is of."
        " Absent: as GitHub does, the HMAC-SHA-256 in `X-Hub-Signature-256`.",
        examples=["slack", {"header": "X-Signature", "encoding": "base64"}],
    )
