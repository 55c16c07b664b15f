"""What every table is declared with: one catalog, and the columns that recur."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, MetaData, Text, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)

TIME = TIMESTAMP(timezone=True)


def text_column(name: str, *args: Any) -> Column[Any]:
    return Column(name, Text, *args, nullable=False)


def now_column(name: str) -> Column[Any]:
    return Column(name, TIME, nullable=False, server_default=text("clock_timestamp()"))


def one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
