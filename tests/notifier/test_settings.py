"""Settings: variables, the file, and what is said about wrong ones."""

from pathlib import Path

import pytest

from notifier.errors import SettingsError
from notifier.seal import generate_key
from notifier.settings import Settings, load_settings, unknown_variables, variable
from tests.rigs.tables import table


def test_without_any_variable_everything_is_embedded(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.embedded_broker
    assert settings.database_url is None
    assert not settings.server_database
    assert settings.data_dir == Path("var")
    assert settings.retry_schedule_s == (5, 30, 300, 1800, 7200, 18000, 36000)


@table(
    ("a port", "NOTIFIER_HTTP_PORT", "9000", "http_port", 9000),
    ("an empty variable", "NOTIFIER_HTTP_PORT", "", "http_port", 8000),
    ("lower case", "notifier_http_port", "9000", "http_port", 9000),
    ("a list of seconds", "NOTIFIER_RETRY_SCHEDULE_S", "1, 2.5,30", "retry_schedule_s", (1.0, 2.5, 30.0)),
    ("one number of seconds", "NOTIFIER_RETRY_SCHEDULE_S", "7", "retry_schedule_s", (7.0,)),
    ("a base URL with a slash", "NOTIFIER_TELEGRAM_API", "http://127.0.0.1:81/", "telegram_api", "http://127.0.0.1:81"),
    ("several servers", "NOTIFIER_KAFKA", "a:9092,[::1]:9093,c", "kafka", "a:9092,[::1]:9093,c"),
    ("no prefix", "NOTIFIER_TOPIC_PREFIX", "x-", "topic_prefix", "x-"),
)
def test_a_variable_sets(row: tuple[str, str, str, object], environment: pytest.MonkeyPatch) -> None:
    name, value, field, expected = row
    environment.setenv(name, value)
    assert getattr(load_settings(), field) == expected


@table(
    ("not a number", "NOTIFIER_HTTP_PORT", "eighty", "NOTIFIER_HTTP_PORT must be a whole number"),
    ("no such port", "NOTIFIER_KAFKA_PORT", "70000", "NOTIFIER_KAFKA_PORT must be less than or equal to 65535"),
    (
        "not seconds",
        "NOTIFIER_RETRY_SCHEDULE_S",
        "5;30",
        "NOTIFIER_RETRY_SCHEDULE_S must be seconds, separated by commas",
    ),
    ("negative seconds", "NOTIFIER_RETRY_SCHEDULE_S", "5,-1", "NOTIFIER_RETRY_SCHEDULE_S needs at least one number of"),
    (
        "no seconds at all",
        "NOTIFIER_RETRY_SCHEDULE_S",
        "nan,inf",
        "NOTIFIER_RETRY_SCHEDULE_S needs at least one number of",
    ),
    ("without end", "NOTIFIER_LANE_WAIT_S", "inf", "NOTIFIER_LANE_WAIT_S must be less than or equal to 2592000"),
    ("nothing to compare", "NOTIFIER_LANE_WAIT_S", "nan", "NOTIFIER_LANE_WAIT_S must be "),
    ("not a URL", "NOTIFIER_VK_API", "api.vk.com", "NOTIFIER_VK_API must begin with http:// or https://"),
    (
        "not a server",
        "NOTIFIER_KAFKA",
        "kafka:port",
        "NOTIFIER_KAFKA must be host:port, or several with commas between",
    ),
    ("a URL for a server", "NOTIFIER_KAFKA", "kafka://a:9092", "NOTIFIER_KAFKA must be host:port"),
    ("a server missing", "NOTIFIER_KAFKA", "a:9092,", "NOTIFIER_KAFKA must be host:port"),
    ("not a prefix", "NOTIFIER_TOPIC_PREFIX", "a b", "NOTIFIER_TOPIC_PREFIX must match pattern"),
    ("not a choice", "NOTIFIER_SCRIPT_SANDBOX", "maybe", "NOTIFIER_SCRIPT_SANDBOX must be 'require' or 'off'"),
)
def test_a_bad_value_names_its_variable_in_one_line(row: tuple[str, str, str], environment: pytest.MonkeyPatch) -> None:
    name, value, text = row
    environment.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_bad_value_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NOTIFIER_HTTP_PORT", "x")
    environment.setenv("NOTIFIER_LOG_LEVEL", "LOUD")
    with pytest.raises(SettingsError, match=r"^NOTIFIER_HTTP_PORT must .*; NOTIFIER_LOG_LEVEL must .*$"):
        load_settings()


def test_a_file_sets_what_the_environment_does_not(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path(".env").write_text("NOTIFIER_HTTP_PORT=8001\nNOTIFIER_KAFKA_PORT=19001\nOTHER=1\nNOTIFIER_TYPO=1\n")
    environment.setenv("NOTIFIER_HTTP_PORT", "8002")
    settings = load_settings(http_host="::1")
    assert (settings.http_host, settings.http_port, settings.kafka_port) == ("::1", 8002, 19001)
    assert load_settings(http_port=8003).http_port == 8003
    assert load_settings(env_file=None).kafka_port == 19092
    assert [text.partition(" ")[0] for text in unknown_variables()] == ["NOTIFIER_TYPO"]
    Path(".env").write_bytes(b"NOTIFIER_HTTP_PORT=\xff")
    with pytest.raises(SettingsError, match=r"the file \.env cannot be read"):
        load_settings()


def test_an_unknown_variable_is_reported_with_the_nearest_known(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("NOTIFIER_KAFAK_PORT", "1")
    environment.setenv("NOTIFIER_HTTP_PORT", "1")
    assert unknown_variables() == [
        "NOTIFIER_KAFAK_PORT is not a setting of Notifier; did you mean NOTIFIER_KAFKA_PORT?"
    ]


def test_settings_show_no_secret(environment: pytest.MonkeyPatch) -> None:
    secrets = {
        "NOTIFIER_SECRET_KEY": generate_key(),
        "NOTIFIER_KAFKA_PASSWORD": "kafka-pass",
        "NOTIFIER_ADMIN_PASSWORD": "admin-pass",
        "NOTIFIER_DATABASE_URL": "postgresql+asyncpg://notifier:db-pass@db/notifier",
    }
    for name, value in secrets.items():
        environment.setenv(name, value)
    shown = repr(load_settings()) + str(load_settings())
    assert not [secret for secret in [*secrets.values(), "db-pass"] if secret in shown]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert variable("http_port") == "NOTIFIER_HTTP_PORT"
