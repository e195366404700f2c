"""`GET /asyncapi.json`: the topics and their records as an AsyncAPI 3 document, made from the topic table and the records."""

from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Response

from control_api.http.auth import ReadActor
from control_api.http.media_type import JSON
from control_api.http.page import json_response
from control_api.http.problems import documented
from control_api.parts import PartsDep
from control_api.rest.schemas import RECORDS
from notifier.record import JsonObject
from notifier.settings import Settings
from notifier.topics import ATTEMPTS, DELIVERIES, MESSAGES, STATUS, TOPICS, Topic, deliveries

VERSION = "3.0.0"  # of the specification
_BINDING = "0.5.0"  # newest version of the Kafka bindings
_CONSUMER = "consumer"  # the part of a name that differs

router = APIRouter(tags=["schemas"])


@router.get(
    "/asyncapi.json",
    summary="Get the description of the topics",
    response_class=Response,
    responses={
        200: {"description": f"AsyncAPI {VERSION}.", "content": {JSON: {"schema": {"type": "object"}}}},
        **documented(401, 403),
    },
)
async def get_asyncapi(parts: PartsDep, actor: ReadActor) -> Response:
    """Each topic with its address, partitions and retention, and the JSON Schema of its records."""
    return json_response(asyncapi(parts.settings))


def asyncapi(settings: Settings) -> JsonObject:
    """The document. `receive` is what Notifier reads from others, `send` what it writes."""
    topics = {**{topic.name: topic for topic in TOPICS}, "deliveries": deliveries(f"{{{_CONSUMER}}}")}
    _, schemas = msgspec.json.schema_components(RECORDS, ref_template="#/components/schemas/{name}")
    names = sorted({name for topic in topics.values() for name in _records(topic)})
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Notifier",
            "version": "1",
            "description": "The topics of Notifier. Keys are partitioned as by Kafka's Java client (murmur2).",
        },
        "defaultContentType": JSON,
        "servers": _servers(settings),
        "channels": {name: _channel(topic, settings.topic_prefix) for name, topic in topics.items()},
        "operations": {
            name: _operation(name, topic, "receive" if topic is MESSAGES else "send") for name, topic in topics.items()
        },
        "components": {"messages": {name: _message(name, schemas) for name in names}, "schemas": schemas},
    }


def _records(topic: Topic) -> tuple[str, ...]:
    beside = {ATTEMPTS.name: ("Counters",), STATUS.name: ("Wish",)}  # told apart by a field, or by the key
    return (topic.value, *beside.get(topic.name, ()))


def _servers(settings: Settings) -> JsonObject:
    hosts = (settings.kafka or f"127.0.0.1:{settings.kafka_port}").split(",")
    protocol = "kafka-secure" if settings.kafka_security_protocol.endswith("SSL") else "kafka"
    return {f"kafka-{number}": {"host": host.strip(), "protocol": protocol} for number, host in enumerate(hosts, 1)}


def _channel(topic: Topic, prefix: str) -> JsonObject:
    policy: dict[str, Any] = {"cleanup.policy": topic.config()["cleanup.policy"].split(",")}
    policy |= {name: int(topic.config()[name]) for name in ("retention.ms", "max.message.bytes")}
    channel: JsonObject = {
        "address": prefix + topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _records(topic)},
        "bindings": {
            "kafka": {"partitions": topic.partitions, "topicConfiguration": policy, "bindingVersion": _BINDING}
        },
    }
    if topic.name.startswith(DELIVERIES):
        channel["parameters"] = {_CONSUMER: {"description": "Name of the consumer; `partitions` is a parameter of it."}}
    return channel


def _operation(name: str, topic: Topic, action: Literal["receive", "send"]) -> JsonObject:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": f"Records are keyed by {topic.key}.",
        "messages": [{"$ref": f"#/channels/{name}/messages/{record}"} for record in _records(topic)],
    }


def _message(name: str, schemas: dict[str, Any]) -> JsonObject:
    known = name in schemas  # nothing writes a Cursor yet
    return {
        "name": name,
        "contentType": JSON,
        "payload": {"$ref": f"#/components/schemas/{name}"} if known else {"type": "object"},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": _BINDING}},
    }
