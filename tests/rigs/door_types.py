"""Producers that take hooks, for tests of the door: one that tells what it got, and what it is to give or raise."""

from typing import Any

from pydantic import SecretStr

from notifier import HookParameters, InvalidRecord, Permanent, Producer, Retryable
from notifier.errors import FieldError, InputError
from notifier.plugin import Context, Hook, Received

PASSWORD = "planted-password-9"  # a parameter that may show nowhere


class TellingParameters(HookParameters):
    """Parameters of `telling`."""

    password: SecretStr = SecretStr(PASSWORD)


class Telling(Producer[TellingParameters]):
    """Makes the messages that a hook says, and one of what came with it."""

    type = "telling"
    Parameters = TellingParameters
    pull = False
    doors = ("tell", "say")
    open = 0

    def __init__(self, parameters: TellingParameters) -> None:
        super().__init__(parameters)
        Telling.open += 1

    async def close(self) -> None:
        """Counts."""
        Telling.open -= 1

    async def received(self, hook: Hook, context: Context) -> Received:
        """The messages in `give`; raises what `raise` names."""
        payload: Any = hook.payload
        if not isinstance(payload, dict):
            return Received(messages=[{"content": f"{hook.door}: {payload}"}])
        password = self.parameters.password.get_secret_value()
        match payload.get("raise"):
            case "input":
                raise InputError(FieldError("/raise", f"{password} must not be"))
            case "record":
                raise InvalidRecord(f"{password} is no record")
            case "permanent":
                raise Permanent("forbidden", f"{password} may not")
            case "retryable":
                raise Retryable("connection", f"{password} is away")
            case "notice":
                context.notice(f"look at {password}")
            case "bug":
                raise RuntimeError(password)
        if "give" in payload:
            return Received(messages=payload["give"], detail=payload.get("detail"))
        context.notice("all is well")
        told = {f"header {name}": value for name, value in hook.headers.items()} | dict(hook.query)
        return Received(messages=[{"content": f"{context.name} at {hook.door}", "labels": told}])
