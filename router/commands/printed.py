"""JSON of the commands, for programs to read."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def json_text(content: Any) -> str:
    """As it is printed, and written to files."""
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()


def print_json(content: Any) -> None:
    typer.echo(json_text(content))
