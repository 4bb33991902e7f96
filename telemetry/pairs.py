"""The pairs of a JSON object as rows, in each database's own words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, exists, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Pairs(FunctionElement[Any]):
    """A table-valued function of a text column, with the columns ``key`` and ``value``."""

    inherit_cache = True


@compiles(_Pairs, "sqlite")
def _sqlite(element: _Pairs, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_Pairs, "postgresql")
def _postgresql(element: _Pairs, compiler: SQLCompiler, **options: Any) -> str:
    # PostgreSQL cannot read the null characters that JSON can write.
    text = f"replace({compiler.process(element.clauses, **options)}, '\\u0000', '\\ufffd')"
    return f"json_each_text(CAST({text} AS json))"


def has_pair(column: ColumnElement[Any], key: str, value: str) -> ColumnElement[bool]:
    """Whether the JSON object in ``column`` has the string ``value`` under ``key``.

    A path into the JSON would be shorter, but in neither database can it name every key.
    """
    pairs = _Pairs(column).table_valued("key", "value")
    return (
        exists(literal_column("1"))
        .select_from(pairs)
        .where(pairs.c.key == key, pairs.c.value == value)
    )
