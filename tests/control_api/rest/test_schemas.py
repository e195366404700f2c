"""The lists of plugin types and of records' schemas."""

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
