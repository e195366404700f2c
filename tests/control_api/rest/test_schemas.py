"""The lists of plugin types and of records' schemas, the schema of YAML files, and the description of the topics."""

from typing import Any

from jsonschema import Draft202012Validator

from control_api.rest.asyncapi import asyncapi
from control_api.rest.schemas import RECORDS
from notifier.settings import load_settings
from notifier.topics import TOPICS
from tests.rigs.api_rig import Api


async def test_plugins_and_schemas_are_listed(api: Api) -> None:
    async with api.client("read") as reader:
        plugins = (await reader.get("/api/v1/plugins")).json()
        assert plugins["next_cursor"] is None
        assert [(one["kind"], one["type"]) for one in plugins["items"]] == [
            ("consumer", "nowhere"),
            ("filter", "skip_keywords"),
            ("producer", "pulled"),
            ("producer", "pushed"),
        ]
        assert plugins["items"][0]["world"] == "default"
        assert plugins["items"][0]["description"] == "Delivers nothing."
        assert "partitions" in plugins["items"][0]["parameters"]["properties"]
        only = (await reader.get("/api/v1/plugins?kind=producer")).json()["items"]
        assert {one["kind"] for one in only} == {"producer"}
        schemas = (await reader.get("/api/v1/schemas")).json()["items"]
        assert {"Message", "Tick", "Delivery", "Attempt", "DeadLetter"} <= {one["name"] for one in schemas}
        message = (await reader.get("/api/v1/schemas/Message")).json()
        assert set(message["$defs"]["Message"]["required"]) == {"producer", "content"}


async def test_the_schema_of_yaml_files_knows_the_types_that_are_installed(api: Api) -> None:
    async with api.client("read") as reader:
        schema = (await reader.get("/api/v1/schemas/definitions")).json()
    assert {"producer.pushed", "consumer.nowhere", "filter.skip_keywords"} <= schema["$defs"].keys()
    assert Draft202012Validator(schema).is_valid({"producers": [{"name": "a", "type": "pushed"}]})
    assert not Draft202012Validator(schema).is_valid({"producers": [{"name": "a", "type": "github"}]})


def references(value: Any) -> set[str]:
    """Every `$ref` in it, however deep."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


async def test_the_topics_are_described_as_asyncapi(api: Api) -> None:
    """Its form is that of the official schema of 3.0.0, to which it was held by hand; here is what may become wrong."""
    async with api.client("read") as reader:
        document = (await reader.get("/api/v1/asyncapi.json")).json()
    assert document["asyncapi"] == "3.0.0"
    prefix = api.settings.topic_prefix
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {*(prefix + topic.name for topic in TOPICS), prefix + "deliveries.{consumer}"}
    assert document["channels"]["messages"]["bindings"]["kafka"]["partitions"] == 12
    assert document["channels"]["runs"]["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] == [
        "compact",
        "delete",
    ]
    assert {name for name, one in document["operations"].items() if one["action"] == "receive"} == {"messages"}
    assert {record.__name__ for record in RECORDS} <= document["components"]["messages"].keys()
    for reference in references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    # a record that is one fits its schema
    message = Draft202012Validator({**document, "$ref": "#/components/schemas/Message"})
    assert message.is_valid({"producer": "ci", "content": "x"})
    assert not message.is_valid({"producer": "ci"})


def test_servers_are_those_of_the_settings() -> None:
    several = load_settings(env_file=None, kafka="a:9092, b:9093", kafka_security_protocol="SASL_SSL")
    assert asyncapi(several)["servers"] == {
        "kafka-1": {"host": "a:9092", "protocol": "kafka-secure"},
        "kafka-2": {"host": "b:9093", "protocol": "kafka-secure"},
    }
