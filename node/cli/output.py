"""How commands answer: a text for people, or one JSON document on standard output."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

_META = "didyma.json"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """Add `--json` to a command; it may also stand before the command's name."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.meta[_META] = True

    option = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Answer with one JSON document, errors too.",
    )
    return option(command)


def wants_json() -> bool:
    """Whether the command that is running was asked for JSON."""
    return bool(click.get_current_context().meta.get(_META))


def emit(document: Mapping[str, object], text: str) -> None:
    """Print the answer in the form that was asked for."""
    click.echo(json.dumps(document, indent=2) if wants_json() else text)


def emit_error(kind: str, message: str, code: int, problems: list[dict[str, str]]) -> None:
    """Print an error as JSON to standard error."""
    error = {"kind": kind, "message": message, "exit_code": code, "problems": problems}
    click.echo(json.dumps({"error": error}, indent=2), file=sys.stderr)
