"""Health."""

from tests.rigs.api_rig import Api, client


async def test_it_is_alive_and_ready(api: Api) -> None:
    async with client(api.url) as nobody:
        assert (await nobody.get("/health/live")).json() == {"live": True}
        ready = await nobody.get("/health/ready")
        assert ready.status_code == 200
        assert set(ready.json()["parts"]) == {"database", "broker", "relay", "history", "roles"}
        assert str(api.settings.data_dir) not in ready.text
