"""Ask the running node how it is."""

from collections.abc import Mapping
from pathlib import Path

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option


@click.command()
@click.option("--url", help="The control listener; by default the configuration's.")
@click.option("--timeout", type=click.IntRange(1, 300), default=5, show_default=True)
@config_option
@json_option
def status(url: str | None, timeout: int, config_file: Path) -> None:
    """Ask the running node how it is."""
    from node.cli.node_client import get
    from node.cli.node_url import node_url
    from node.errors import NodeUnreachable

    document = get(node_url(url, config_file, "control"), "/v1/status", timeout)
    if not isinstance(document, dict):
        raise NodeUnreachable("the node's answer is not a status; is this its control listener?")
    emit(document, "\n".join(line.rstrip() for line in lines_of(document)))


def lines_of(document: Mapping[str, object], indent: str = "") -> list[str]:
    """Return a document as text: nested tables indented, lists of tables as columns."""
    lines: list[str] = []
    width = max((len(key) for key in document), default=0)
    for key, value in document.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *lines_of(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            lines += [f"{indent}{key}", *_columns(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:<{width}}  {_cell(value)}")
    return lines


def _columns(rows: list[dict[str, object]], indent: str) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(names))]
    return [
        indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in table
    ]


def _cell(value: object) -> str:
    if value is None or value in ([], {}, ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return " ".join(f"{key}={_cell(item)}" for key, item in value.items())
    # What a node says may not steer the terminal.
    return "".join(char for char in str(value) if char.isprintable())
