"""Script: hands messages to a script. How the script is run, and how little it may do, is `notifier.sandbox`'s.

Script protocol 1: the script gets a JSON array on standard input, one object for each delivery, every field always there:

    [{"id": "ci/42/all/to-file/alice", "attempt": 1, "sender": "octocat", "receiver": "alice", "content": "build failed",
      "title": null, "url": null, "severity": "error", "labels": {"team": "infra"}, "configuration": "all"}]

`sender` and `receiver` are names in the consumer's world. A message to everyone in the configuration is one object without
a receiver and with `recipients`, their usernames. `id` is the same on every try.

Exit status 0: all of them are accepted, whatever the script printed, since its work is done. Another exit status or a limit is
a failure. A script that knows better prints a JSON array; items that are not in it follow the exit status:

    [{"id": "ci/42/all/to-file/alice", "outcome": "deferred", "detail": "mailbox full"}]

`outcome` is `accepted`, `deferred` or `unknown` (tried again), `refused` (given up) or `suppressed`. Output that is no answer
is logged; a batch that failed without an answer is tried again one by one.
"""

import codecs
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from pydantic import Field

from notifier import ACCEPTED, Consumer, ConsumerParameters, Context, Delivery, JsonObject, Permanent, Result, Retryable
from notifier.errors import RecordError, SandboxUnavailable, ScriptBroken, ScriptFailed, ScriptTimeout, UnknownName
from notifier.one_line import one_line
from notifier.outcome import Outcome, Reason
from notifier.script_parameters import ScriptRunParameters

logger = logging.getLogger(__name__)

_REASONS: Mapping[Outcome, Reason] = {
    "accepted": "ok",
    "deferred": "script_failed",
    "unknown": "script_failed",
    "refused": "script_failed",
    "suppressed": "filtered",
}
_OUTCOMES: Mapping[Any, Outcome] = {outcome: outcome for outcome in _REASONS}
_SHOWN_CHARACTERS = 200  # of output that is not an answer, in the log
_SHOWN_FAULTS = 3  # of an answer, in the log
_FORM = '[{"id": "…", "outcome": "deferred", "detail": "mailbox full"}]'


class ScriptParameters(ScriptRunParameters, ConsumerParameters):
    """Parameters of a script consumer."""

    batch: int = Field(1, ge=1, le=500, description="How many deliveries one run of the script gets at most.")
    partitions: int = Field(
        4, ge=1, le=100, description="Partitions of its topic: so many workers share it. More can be added, not fewer."
    )


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

        Raises Retryable: `timeout` when it ran too long, `script_failed` for any other failure of the run as a whole; and
        Permanent `script_failed` where another try would end the same.
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

    def preview(self, delivery: Delivery, text: str) -> str:
        """The object that the script gets. A template plays no part in it."""
        return msgspec.json.format(msgspec.json.encode(item_of(delivery)), indent=2).decode()

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
        answers, odd = read_answers(stdout, ids)
        if odd:
            # A script that failed may have printed anything; one that succeeded has done its work and is not run again.
            logger.log(
                logging.INFO if answers is None else logging.WARNING,
                "The script %s of the consumer %s printed what is no answer, so its exit status decides: %s",
                parameters.script,
                context.name,
                odd,
                extra={"action": "run_script", "consumer": context.name},
            )
        broken = isinstance(failure, ScriptBroken)
        if failure is not None and not answers:
            error_type = Permanent if broken else Retryable
            raise error_type("script_failed", _with_stderr(str(failure), stderr)) from failure
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
            unnamed = Result(outcome="refused" if broken else "deferred", reason="script_failed", detail=detail)
        return {id_: (answers or {}).get(id_, unnamed) for id_ in ids}


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
        item["recipients"] = delivery.recipients or ()
    return item


def read_answers(stdout: bytes, ids: Sequence[str]) -> tuple[Answers | None, str]:
    """A script's answers by delivery id, None where its output as a whole is no answer; and what is wrong with it, in words."""
    output = stdout.removeprefix(codecs.BOM_UTF8).strip()
    if not output:
        return {}, ""
    try:
        items = msgspec.json.decode(output, type=list[Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, f"{one_line(output.decode(errors='replace'), _SHOWN_CHARACTERS)!r}; an answer is such as {_FORM}"
    found: dict[str, Result] = {}
    faults: list[str] = []
    known = frozenset(ids)
    for item in items:
        fields = item if isinstance(item, dict) else {}
        id_, detail = fields.get("id"), fields.get("detail")
        outcome = _OUTCOMES.get(fields.get("outcome")) if isinstance(fields.get("outcome"), str) else None
        if not isinstance(id_, str) or id_ not in known:
            faults.append(f"{_shown(id_)} is not the id of a delivery that it was given")
        elif outcome is None:
            faults.append(f"the outcome of {id_} is {_shown(fields.get('outcome'))}, not one of {', '.join(_REASONS)}")
        else:
            if detail is not None and not isinstance(detail, str):
                faults.append(f"the detail of {id_} is not a text")
                detail = _shown(detail)
            found[id_] = Result(outcome=outcome, reason=_REASONS[outcome], detail=detail)
    more = [f"and {len(faults) - _SHOWN_FAULTS} more"] if len(faults) > _SHOWN_FAULTS else []
    return found, "; ".join([*faults[:_SHOWN_FAULTS], *more])


def _shown(value: Any) -> str:
    """A value of a script's answer as JSON, on one line."""
    return one_line(json.dumps(value, ensure_ascii=False), _SHOWN_CHARACTERS)


def _with_stderr(text: str, stderr: str) -> str:
    last = stderr.strip()
    return text if not last or last in text else f"{text}; standard error: {last}"
