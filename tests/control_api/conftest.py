"""The API that the tests of a file share, for those that do nothing to it; and passwords that cost little."""

import secrets
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from control_api.access import accounts
from notifier.seal import generate_key
from notifier.settings import load_settings
from tests.rigs.api_rig import Api, served_in_a_thread


@pytest.fixture(scope="module")
def api(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A running API with a topic prefix, a database and a key of its own."""
    settings = load_settings(
        env_file=None,
        kafka=broker,
        topic_prefix=f"t{secrets.token_hex(4)}.",
        data_dir=tmp_path_factory.mktemp("api"),
        secret_key=generate_key(),
    )
    with served_in_a_thread(settings) as api:
        yield api


@pytest.fixture(autouse=True)
def quick_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id as cheap as it goes, but for tests marked `slow_passwords`: a hash takes a third of a second of processor time."""
    if request.node.get_closest_marker("slow_passwords") is None:
        monkeypatch.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
