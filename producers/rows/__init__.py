"""Rows: what tables of others say, as messages. Shared by the producers that ask for rows."""

from producers.rows.parameters import RowParameters
from producers.rows.rows import Rows
from producers.rows.told import Told

__all__ = ["RowParameters", "Rows", "Told"]
