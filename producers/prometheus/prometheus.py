"""Prometheus: a producer of alerts, by Alertmanager's webhook and by asking a Prometheus or an Alertmanager for those that fire.

The webhook comes by `/hooks/alertmanager/{producer}`. HTTP is `producers.prometheus.api`'s.
"""

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from notifier import Context, Hook, HookParameters, Producer, ProxyParameters, Received, WorldParameters
from notifier.errors import FieldError, InputError, InvalidRecord
from notifier.label_matcher import MatcherText, read_matchers
from notifier.plugin.authority import Authority
from notifier.record import now, rfc3339
from producers.prometheus.alert import Alert, link_of, read_alert, read_status, text_of, texts_of
from producers.prometheus.api import REQUEST_S, Api, Source, active_alerts
from producers.prometheus.messages import alert_message, group_message, left_out_message, odd_message
from producers.prometheus.told import kept, told_in

MAX_ALERTS = 10_000  # that fire and are told of by asking
_MAX_COUNT = 1_000_000_000


def _check_url(text: str) -> str:
    try:
        url = urlsplit(text)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and text.isprintable()
    except ValueError:
        good = False
    if not good or " " in text or url.query or url.fragment:
        raise ValueError("must be an address such as https://prometheus.example.com, without a query")
    if url.username is not None or url.password is not None:
        raise ValueError("holds a name or a password, which everybody could read; write `username` and `password`")
    return text


class PrometheusParameters(WorldParameters, ProxyParameters, HookParameters):
    """Parameters of a producer of alerts."""

    # What is sent to the service; the secrets of hooks are sent nowhere.
    addresses: ClassVar[Mapping[str, Sequence[str]] | None] = dict.fromkeys(
        ("url", "proxy", "authority"), ("token", "password")
    )

    url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_url)] | None = Field(
        None,
        description="Prometheus or Alertmanager that runs ask for active alerts. Absent: alerts come by the webhook alone.",
        examples=["https://alertmanager.example.com"],
    )
    api: Literal["auto", "prometheus", "alertmanager"] = Field(
        "auto", description="Which of the two `url` leads to; `auto` finds out."
    )
    token: SecretStr | None = Field(None, min_length=1, description="Bearer token that `url` asks for.")
    username: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="Name that `url` asks for, with `password`."
    )
    password: SecretStr | None = Field(None, description="Password of `username`.")
    authority: Authority | None = Field(
        None, description="Authority of the certificate of `url`, as PEM; absent: those that the machine trusts."
    )
    matchers: Annotated[tuple[MatcherText, ...], Field(max_length=100)] = Field(
        (),
        description="Which alerts are told, by their labels, all of it, as the filter `labels` has it. None: all.",
        examples=[["team=~infra|web", 'severity!="info"']],
    )
    receiver_label: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="Label that names the receiver. Absent, or without it: everyone.", examples=["owner"]
    )
    per: Literal["alert", "group"] = Field(
        "alert", description="What of a webhook becomes a message: each alert, or the group that Alertmanager sends."
    )

    @model_validator(mode="after")
    def _check_sign_in(self) -> Self:
        if (self.username is None) is not (self.password is None):
            raise ValueError("`username` and `password` belong together")
        if self.token is not None and self.username is not None:
            raise ValueError("give `token`, or `username` and `password`, not both")
        return self


class Prometheus(Producer[PrometheusParameters]):
    """Tells of alerts that begin and end: those that Alertmanager sends, or that a run finds at a Prometheus or Alertmanager.

    A message has the alert's labels and `status`, and its fingerprint, by which the end of an alert is found to its beginning. A
    run tells what began or ended since the run before it. What matches `matchers` is told.
    """

    type = "prometheus"
    Parameters = PrometheusParameters
    doors = ("alertmanager",)

    def __init__(self, parameters: PrometheusParameters) -> None:
        super().__init__(parameters)
        self.pull = parameters.url is not None  # type: ignore[misc]  # without an address there is nobody to ask
        self._matchers = tuple(matcher for text in parameters.matchers for matcher in read_matchers(text))
        self._api: Api | None = None if parameters.api == "auto" else parameters.api

    def timeout_s(self) -> float:
        """Seconds that asking may take: two requests until it is known which of the two answers."""
        return 2 * REQUEST_S + 10.0

    async def received(self, hook: Hook, context: Context) -> Received:
        """A message for each alert of Alertmanager's payload (version 4), or one for the group. Raises InputError."""
        payload = hook.payload
        alerts = payload.get("alerts") if isinstance(payload, dict) else None
        if not isinstance(payload, dict) or not isinstance(alerts, list):
            raise InputError(FieldError("/alerts", "must be a list of alerts, as the webhook of Alertmanager sends it"))
        # In a thread, however few they are: naming large ones takes a second, and would hold up other requests.
        return await asyncio.to_thread(self._received, payload, alerts)

    async def produce(self, context: Context) -> list[Any]:
        """What began and what ended since the cursor. Raises Permanent and Retryable as `producers.prometheus.api` says."""
        every, odd = await self._active(context)
        firing = {fingerprint: alert for fingerprint, alert in every.items() if self._matches(alert)}
        before = told_in(context.cursor)
        # Those that were told of go first, so that none of them seems to end where there are too many.
        told = sorted(firing, key=lambda fingerprint: (fingerprint not in before, fingerprint))[:MAX_ALERTS]
        if len(told) < len(firing):
            context.notice(f"{len(firing)} alerts fire, and {MAX_ALERTS} of them are told of; narrow `matchers`")
        found = [firing[fingerprint] for fingerprint in told]
        begun = [alert for alert in found if not _is_told(alert, before.get(alert.fingerprint))]
        # What `matchers` chose no more has not ended.
        ended = [alert for fingerprint, alert in before.items() if fingerprint not in every]
        label, ended_at = self.parameters.receiver_label, rfc3339(now().replace(microsecond=0))
        context.keep(kept(found, label))
        return [
            *(alert_message(alert, label) for alert in begun),
            # The id says when it began, so that the same end that is found a second time is the same message.
            *({**alert_message(alert, label), "occurred_at": ended_at} for alert in ended),
            *odd,
        ]

    async def check(self, context: Context) -> None:
        """Whether `url` shows its alerts; nothing without one. Raises as `produce` does."""
        if self.parameters.url is not None:
            await active_alerts(self._source(), self._api, context)

    async def _active(self, context: Context) -> tuple[dict[str, Alert], list[InvalidRecord]]:
        """The alerts that fire, by fingerprint, and what stands among them and is none."""
        values, self._api = await active_alerts(self._source(), self._api, context)
        return await asyncio.to_thread(self._read, values)  # naming ten thousand alerts takes a second

    def _read(self, values: Sequence[Any]) -> tuple[dict[str, Alert], list[InvalidRecord]]:
        alerts: dict[str, Alert] = {}
        odd: list[InvalidRecord] = []
        for value in values:
            # Alertmanager's `status` is an object there, about silences.
            alert = read_alert({**value, "status": "firing"} if isinstance(value, dict) else value)
            if alert is None:
                odd.append(InvalidRecord("an alert must be an object", msgspec.json.encode(value)[:1000]))
            else:
                alerts.setdefault(alert.fingerprint, alert)
        return alerts, odd

    def _received(self, payload: Mapping[str, Any], values: Sequence[object]) -> Received:
        default = read_status(payload.get("status"), "firing")
        read = [(value, read_alert(value, default)) for value in values]
        alerts = [alert for _, alert in read if alert is not None]
        chosen = [alert for alert in alerts if self._matches(alert)]
        odd = [odd_message(value) for value, alert in read if alert is None]
        link, label = link_of(payload.get("externalURL")), self.parameters.receiver_label
        key = text_of(payload.get("groupKey"), 10_000) or ""
        if self.parameters.per == "alert":
            messages = [alert_message(alert, label, link) for alert in chosen]
        else:
            shared = {**texts_of(payload.get("groupLabels"), 1000), **texts_of(payload.get("commonLabels"), 1000)}
            messages = [group_message(chosen, key, shared, label, link)] if chosen else []
        left_out = payload.get("truncatedAlerts")
        if type(left_out) is int and 0 < left_out < _MAX_COUNT:
            odd.append(left_out_message(left_out, key, [alert.id for alert in alerts], link))
        passed = len(alerts) - len(chosen)
        return Received(
            messages=[*messages, *odd],
            detail=f"{passed} of {len(alerts)} alerts do not match `matchers`" if passed else None,
        )

    def _matches(self, alert: Alert) -> bool:
        return all(matcher.matches(alert.labels) for matcher in self._matchers)

    def _source(self) -> Source:
        parameters = self.parameters
        assert parameters.url is not None
        headers = {}
        if parameters.token is not None:
            headers["Authorization"] = f"Bearer {parameters.token.get_secret_value()}"
        elif parameters.username is not None and parameters.password is not None:
            pair = f"{parameters.username}:{parameters.password.get_secret_value()}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        return Source(url=parameters.url, headers=headers, authority=parameters.authority, proxy=parameters.proxy_url())


def _is_told(alert: Alert, before: Alert | None) -> bool:
    """Whether an alert that fires was told of: one that ended and began again is another."""
    return before is not None and before.starts_at == alert.starts_at
