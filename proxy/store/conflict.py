"""An insert that says what becomes of a row that is there already: each database has its own."""

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import Insert as InsertOnPostgres
from sqlalchemy.dialects.sqlite import Insert as InsertOnSqlite

from proxy.store.engine import Database


def insert_into(database: Database, table: Table) -> InsertOnPostgres | InsertOnSqlite:
    """An insert, with ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return InsertOnSqlite(table) if database.is_sqlite else InsertOnPostgres(table)
