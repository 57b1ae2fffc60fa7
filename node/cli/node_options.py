"""The options of commands that ask a running node."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def node_options(listener: str) -> Callable[[_Command], _Command]:
    """Add `--url`, of the API or the control listener, and `--timeout` in seconds."""

    def add(command: _Command) -> _Command:
        about = f"The {listener} listener; by default the configuration's."
        command = click.option("--url", help=about)(command)
        return click.option("--timeout", type=click.IntRange(1, 300), default=5, show_default=True)(
            command
        )

    return add


__all__ = ["node_options"]
