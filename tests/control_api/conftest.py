"""The API that the tests of a file share, for those that do nothing to it."""

import secrets
from collections.abc import Iterator

import pytest

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
