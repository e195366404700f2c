"""SQL: the producer that asks a database."""

from producers.sql.sql import Sql, SqlParameters

__all__ = ["Sql", "SqlParameters"]
