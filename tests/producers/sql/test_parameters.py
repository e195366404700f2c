"""The parameters of the SQL producer: which URLs and queries are taken, and what is said of others."""

import pytest
from pydantic import ValidationError

from control_api.registry import load_registry
from notifier.errors import InputError
from notifier.seal import Seal, generate_key
from producers.sql import Sql, SqlParameters
from producers.sql.address import read_address
from producers.sql.query import check_query

URL = "postgresql://asker:canary%2Fp%40ss@db.example/shop"


@pytest.mark.parametrize(
    ("url", "kind", "host", "port", "name"),
    [
        (URL, "postgresql", "db.example", 5432, "shop"),
        ("postgresql+psycopg://u:p@10.0.0.1:6432/x?sslmode=verify-full", "postgresql", "10.0.0.1", 6432, "x"),
        ("postgres://u:p@db/x", "postgresql", "db", 5432, "x"),
        ("mysql+pymysql://u:p@[::1]/x?charset=utf8mb4", "mysql", "::1", 3306, "x"),
        ("mariadb://u@db:3307/x", "mysql", "db", 3307, "x"),
        ("sqlite:////srv/reports/stock.db", "sqlite", "", 0, "/srv/reports/stock.db"),
        (" sqlite+aiosqlite:////srv/a%20b.db ", "sqlite", "", 0, "/srv/a b.db"),
    ],
)
def test_a_url_says_where_the_database_is(url: str, kind: str, host: str, port: int, name: str) -> None:
    found = read_address(url)
    assert (found.kind, found.host, found.port, found.name) == (kind, host, port, name)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("canary", "must be postgresql://"),
        ("oracle://u:canary@db/x", "must be postgresql://"),
        ("postgresql://u:canary@/x", "names no host"),
        ("postgresql://u:canary@/x?host=/var/run/postgresql", "the option 'host'"),
        ("postgresql://u:canary@db/x?host=127.0.0.1", "the option 'host'"),
        ("postgresql://u:canary@db/x?passfile=/etc/passwd", "the option 'passfile'"),
        ("postgresql://u:canary@%2Ftmp/x", "host"),
        ("postgresql://:canary@db/x", "names no user"),
        ("postgresql://u:canary@db", "names no database"),
        ("postgresql://u:canary@db:port/x", "must be postgresql://"),
        ("mysql://u:canary@db/x?unix_socket=/run/x", "the option 'unix_socket'"),
        ("mysql://u:canary@db/x?read_default_file=/root/.my.cnf", "the option 'read_default_file'"),
        ("mysql://u:canary@db/x?local_infile=1", "the option 'local_infile'"),
        ("sqlite://", "absolute path"),
        ("sqlite:///relative.db", "absolute path"),
        ("sqlite:///:memory:", "absolute path"),
        ("sqlite:////srv/x.db?mode=rwc", "the option 'mode'"),
    ],
)
def test_urls_that_are_refused(url: str, text: str) -> None:
    with pytest.raises(ValidationError, match=text) as refused:
        SqlParameters.model_validate({"url": url, "query": "SELECT 1"})
    # What pydantic adds to its text is not shown to people, see `notifier.validation`.
    assert "canary" not in str(refused.value.errors(include_input=False, include_context=False, include_url=False))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        " select 1 ; ",
        "-- late orders\n/* of * all ** */ (SELECT 1) UNION (SELECT 2)",
        "# a comment of MySQL\nWITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1)",
        "TABLE orders",
        "SHOW TABLES",
    ],
)
def test_queries_that_read(query: str) -> None:
    assert not check_query(query).endswith(";")


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM a",
        "-- SELECT\nDROP TABLE a",
        "/* x",
        "COMMIT; SELECT 1",
        "",
        "ATTACH 'x' AS y",
        "SELECTED",
        "SELECT\0",
        "(" * 99_999,
    ],
)
def test_queries_that_do_not(query: str) -> None:
    with pytest.raises(ValueError, match=r"must be one query|NUL"):
        check_query(query)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"texts": {"content": "a {b"}}, "brace"),
        ({"texts": {"content": "a }b"}}, "brace"),
        ({"columns": {"contents": "b"}}, "contents"),
        ({"limit": 0}, "greater"),
        ({"authority": "no PEM"}, "PEM"),
    ],
)
def test_other_parameters_that_are_refused(parameters: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        SqlParameters.model_validate({"url": URL, "query": "SELECT 1", **parameters})


def test_the_password_is_masked_in_every_form() -> None:
    producer = Sql(SqlParameters.model_validate({"url": URL, "query": "SELECT 1"}))
    masked = producer.mask(f"{URL} canary/p@ss canary%2Fp%40ss canary/p%40ss")
    assert masked == "postgresql://asker:***@db.example/shop *** *** ***"
    assert "canary" not in repr(producer.parameters)


def test_a_sealed_url_is_not_read() -> None:
    sealed = Seal(generate_key()).close(URL, "producer/orders/url")
    built = load_registry().build("producer", "orders", "sql", {"url": sealed, "query": "SELECT 1"}, None)
    assert built.world_of() == "default"  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="/parameters/url"):
        load_registry().check("producer", "sql", {"url": "x", "query": "SELECT 1"})
