"""Redash: a producer that makes a message of each row of a query's result.

Requests are `producers.redash.api`'s, how rows become messages is `producers.rows`'.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from notifier import Context, JsonObject, Permanent, Producer, ProxyParameters, Retryable, WorldParameters
from notifier.one_line import one_line
from notifier.seal import is_sealed
from producers.redash.api import RedashClient
from producers.redash.result import Result, read_result
from producers.rows import RowParameters, Rows, Told

_POLL_S = (0.2, 0.3, 0.5, 1.0, 2.0)  # between questions whether the query has ended; the last one goes on
_DONE, _FAILED, _CANCELLED = 3, 4, 5  # of a job: https://redash.io/help/user-guide/integrations-and-api/api

_Value = str | int | float | bool | None | list[str | int | float]


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be an address such as https://redash.example")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must be the address alone; the key belongs in `api_key`")
    return url.rstrip("/")


def _check_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if not is_sealed(text) and (not text.isascii() or not text.isprintable() or " " in text):
        raise ValueError("must be a key as Redash shows it: visible ASCII characters, without blanks or line ends")
    return key


class RedashParameters(RowParameters, WorldParameters, ProxyParameters):
    """Parameters of a Redash producer."""

    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = {"url": ["api_key"], "proxy": ["api_key"]}

    url: Annotated[str, StringConstraints(max_length=1000), AfterValidator(_check_url)] = Field(
        description="Where Redash is.", examples=["https://redash.example"]
    )
    api_key: Annotated[SecretStr, AfterValidator(_check_key)] = Field(
        min_length=1,
        description="API key of a user; the key of a query itself may see only what Redash has (`refresh: never`).",
    )
    query_id: int = Field(ge=1, le=2**31 - 1, description="Number of the query, as in its address.", examples=[42])
    query_parameters: Annotated[dict[str, _Value], Field(max_length=100)] = Field(
        default_factory=dict, description="Values of the query's own parameters.", examples=[{"team": "infra"}]
    )
    refresh: Literal["always", "never"] = Field(
        "always",
        description="`always`: Redash runs the query, or takes a result of `max_age_s`; `never`: its last result.",
    )
    max_age_s: int = Field(
        0, ge=0, le=604_800, description="Seconds that a result may be old, to be taken without running."
    )
    timeout_s: float = Field(60.0, ge=1, le=1800, description="Seconds that the query may take.")


class Redash(Producer[RedashParameters]):
    """Has Redash run a query on a schedule. Each row of the result is a message.

    No more than `limit` rows are told. With `cursor_column` a run tells the rows behind those that were told before, else all.
    """

    type = "redash"
    Parameters = RedashParameters

    def timeout_s(self) -> float:
        """Seconds that running the query and taking its result may take."""
        return self.parameters.timeout_s + 60.0

    async def produce(self, context: Context) -> list[JsonObject]:
        """The messages of the rows. Raises Permanent, Retryable and InputError."""
        async with self._client(context) as redash:
            result = await self._result(redash)
        parameters = self.parameters
        column = parameters.cursor_column
        told = None if column is None else Told(column, context.cursor)
        rows = await asyncio.to_thread(_rows_of, parameters, result, told)  # which takes seconds where there are many
        if (notice := rows.notice()) is not None:
            context.notice(notice)
        if told is not None and (state := told.state()) is not None:
            context.keep(state)
        return rows.messages

    async def check(self, context: Context) -> None:
        """Whether Redash shows the query to the key. Runs nothing. Raises as `produce` does."""
        async with self._client(context) as redash:
            await redash.get(f"/api/queries/{self.parameters.query_id}")

    async def _result(self, redash: RedashClient) -> Result:
        parameters = self.parameters
        path = f"/api/queries/{parameters.query_id}/results"
        body: dict[str, Any] = {"max_age": parameters.max_age_s, "parameters": parameters.query_parameters}
        if parameters.refresh == "never":
            # Any age, and a job only where there has never been a result.
            answer = await (
                redash.post(path, {**body, "max_age": -1})
                if parameters.query_parameters
                else redash.get(f"{path}.json")
            )
        else:
            answer = await redash.post(path, body)
        if (found := answer.get("query_result")) is not None:
            return await asyncio.to_thread(read_result, found)
        return await self._ended(redash, answer)

    async def _ended(self, redash: RedashClient, answer: JsonObject) -> Result:
        """The result of a job, waited for."""
        clock = asyncio.get_running_loop().time
        until = clock() + self.parameters.timeout_s
        for number in range(1_000_000):
            job = _job(answer)
            if job.get("status") == _DONE:
                id_ = job.get("query_result_id")
                if not isinstance(id_, int):
                    raise Retryable("server_error", "Redash's job names no result")
                path = f"/api/queries/{self.parameters.query_id}/results/{id_}.json"
                found = (await redash.get(path)).get("query_result")
                return await asyncio.to_thread(read_result, found)
            if job.get("status") in (_FAILED, _CANCELLED):
                said = one_line(self.mask(str(job.get("error") or "it was cancelled")), 300)
                raise Permanent("invalid_content", f"the query failed in Redash: {said}; try it there")
            if clock() >= until:
                break
            await asyncio.sleep(_POLL_S[min(number, len(_POLL_S) - 1)])
            answer = await redash.get(f"/api/jobs/{job['id']}")
        text = f"the query did not end within {self.parameters.timeout_s:g} s; make it quicker, or `timeout_s` larger"
        raise Retryable("timeout", text)

    def _client(self, context: Context) -> RedashClient:
        parameters = self.parameters
        return RedashClient(parameters.url, parameters.api_key.get_secret_value(), context, parameters.proxy_url())


def _rows_of(parameters: RowParameters, result: Result, told: Told | None) -> Rows:
    rows = Rows(parameters, result.columns, told)
    for row in result.all() if told is None else result.behind(told):
        if not rows.add(row):
            break
    return rows


def _job(answer: JsonObject) -> JsonObject:
    """The job of an answer. Raises Retryable where there is none that can be asked for."""
    job = answer.get("job")
    id_ = job.get("id") if isinstance(job, dict) else None
    if not isinstance(job, dict) or not isinstance(id_, str) or not id_.replace("-", "").isalnum() or not id_.isascii():
        raise Retryable("server_error", "Redash's answer holds neither a result nor a job")
    return job
