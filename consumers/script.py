"""Script: hands messages to a script. How the script is run, and how little it may do, is `notifier.sandbox`'s.

Script protocol 1: the script gets a JSON array on standard input, one object for each delivery, every field always there:

    [{"id": "ci/42/all/to-file/alice", "attempt": 1, "sender": "octocat", "receiver": "alice", "content": "build failed",
      "title": null, "url": null, "severity": "error", "labels": {"team": "infra"}, "configuration": "all"}]

`sender` and `receiver` are names in the consumer's world. A message to everyone in the configuration is one object without
a receiver and with `recipients`, their usernames. `id` is the same on every try.

Exit status 0 and no output: all of them are accepted. A script that knows better prints a JSON array; items that are not in
it follow the exit status:

    [{"id": "ci/42/all/to-file/alice", "outcome": "deferred", "detail": "mailbox full"}]

`outcome` is `accepted`, `deferred` or `unknown` (tried again), `refused` (given up) or `suppressed`. Another exit status,
a limit, or other output is a failure; a batch that failed without an answer is tried again one by one.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec
from pydantic import Field

from notifier import ACCEPTED, Consumer, ConsumerParameters, Context, Delivery, JsonObject, Permanent, Result, Retryable
from notifier.errors import RecordError, SandboxUnavailable, ScriptFailed, ScriptTimeout, UnknownName
from notifier.outcome import Reason
from notifier.script_parameters import ScriptRunParameters

logger = logging.getLogger(__name__)

_REASONS: Mapping[str, Reason] = {
    "accepted": "ok",
    "deferred": "script_failed",
    "unknown": "script_failed",
    "refused": "script_failed",
    "suppressed": "filtered",
}
_SHOWN_CHARACTERS = 200  # of output that is not an answer, in the error


class ScriptParameters(ScriptRunParameters, ConsumerParameters):
    """Parameters of a script consumer."""

    batch: int = Field(1, ge=1, le=500, description="How many deliveries one run of the script gets at most.")
    partitions: int = Field(4, ge=1, le=100, description="Partitions of its topic when that is created.")


class _Answer(msgspec.Struct):
    """A script's answer about one delivery."""

    id: str
    outcome: Literal["accepted", "deferred", "unknown", "refused", "suppressed"]
    detail: str | None = None


Answers: TypeAlias = Mapping[str, Result]


class Script(Consumer[ScriptParameters]):
    """Hands messages as a JSON array to a script in the sandbox, which does with them what it likes."""

    type = "script"
    Parameters = ScriptParameters

    def batch(self) -> int:
        """The parameter `batch`."""
        return self.parameters.batch

    async def deliver(self, deliveries: Sequence[Delivery], context: Context) -> Sequence[Result]:
        """Runs the script once, with all deliveries whose message can be read; a message that cannot is refused.

        Raises Retryable: `timeout` when it ran too long, `script_failed` for any other failure of the run as a whole.
        """
        results: dict[str, Result] = {}
        items = []
        for delivery in deliveries:
            try:
                items.append(item_of(delivery))
            except RecordError as error:
                results[delivery.id] = Result(outcome="refused", reason="invalid_content", detail=str(error))
        if items:
            results.update(await self._run(items, context))
        return [results[delivery.id] for delivery in deliveries]

    async def check(self, context: Context) -> None:
        """Raises Permanent when there is no such script, or none can run here. Does not run it."""
        try:
            context.script(self.parameters.script)
        except UnknownName as error:
            raise Permanent("not_found", str(error)) from None
        if context.sandbox.level == "none":
            raise Permanent("script_failed", context.sandbox.explanation)

    async def _run(self, items: Sequence[JsonObject], context: Context) -> Answers:
        parameters = self.parameters
        failure: ScriptFailed | None = None
        try:
            output = await context.sandbox.run(
                context.script(parameters.script),
                stdin=msgspec.json.encode(items),
                limits=parameters.limits(),
            )
            stdout, stderr = output.stdout, output.stderr
        except ScriptTimeout as error:
            raise Retryable("timeout", str(error)) from error
        except ScriptFailed as error:
            failure, stdout, stderr = error, error.stdout, error.stderr
        except (SandboxUnavailable, UnknownName) as error:
            raise Retryable("script_failed", str(error)) from error
        ids = [str(item["id"]) for item in items]
        try:
            answers = read_answers(stdout, ids)
        except ScriptFailed as error:
            if failure is None:
                raise Retryable("script_failed", _with_stderr(str(error), stderr)) from None
            answers = {}  # a script that failed may have printed anything
        if failure is not None and not answers:
            raise Retryable("script_failed", _with_stderr(str(failure), stderr)) from failure
        if stderr.strip() and failure is None:
            logger.warning(
                "The script %s of the consumer %s wrote on standard error: %s",
                parameters.script,
                context.name,
                stderr.strip(),
                extra={"action": "run_script", "consumer": context.name},
            )
        unnamed = ACCEPTED
        if failure is not None:
            detail = _with_stderr(str(failure), stderr)
            unnamed = Result(outcome="deferred", reason="script_failed", detail=detail)
        return {id_: answers.get(id_, unnamed) for id_ in ids}


def item_of(delivery: Delivery) -> JsonObject:
    """A delivery as a script gets it. Raises RecordError when its message cannot be read."""
    message = delivery.read_message()
    item: JsonObject = {
        "id": delivery.id,
        "attempt": delivery.attempt,
        "sender": delivery.sender,
        "receiver": delivery.receiver or delivery.recipient,
        "content": message.content,
        "title": message.title,
        "url": message.url,
        "severity": message.severity,
        "labels": message.labels,
        "configuration": delivery.configuration,
    }
    if item["receiver"] is None:
        item["recipients"] = delivery.recipients
    return item


def read_answers(stdout: bytes, ids: Sequence[str]) -> Answers:
    """A script's answers by delivery id; empty output is no answer. Raises ScriptFailed for output outside the protocol."""
    if not stdout.strip():
        return {}
    try:
        answers = msgspec.json.decode(stdout, type=list[_Answer])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = stdout.strip()[:_SHOWN_CHARACTERS].decode(errors="replace")
        raise ScriptFailed(
            f"the output is not an answer ({error}): {shown!r}; print nothing, or a JSON array such as"
            ' [{"id": "…", "outcome": "deferred", "detail": "mailbox full"}]'
        ) from None
    found: dict[str, Result] = {}
    for answer in answers:
        if answer.id in ids:
            reason = _REASONS[answer.outcome]
            found[answer.id] = Result(outcome=answer.outcome, reason=reason, detail=answer.detail)
        else:
            logger.warning(
                "A script answered for a delivery that it was not given: %s", answer.id, extra={"action": "run_script"}
            )
    return found


def _with_stderr(text: str, stderr: str) -> str:
    last = stderr.strip()
    return text if not last or last in text else f"{text}; standard error: {last}"
