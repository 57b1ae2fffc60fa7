"""Ask the running node how it is."""

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
    emit(document, "\n".join(_lines(document)))


def _lines(document: dict[str, object], indent: str = "") -> list[str]:
    lines: list[str] = []
    width = max((len(key) for key in document), default=0)
    for key, value in document.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            lines.append(f"{indent}{key}")
            for item in value:
                pairs = item.items() if isinstance(item, dict) else [("", item)]
                lines.append(indent + "  " + "  ".join(f"{k}={v}" for k, v in pairs))
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{key:<{width}}  {shown}")
    return ["".join(char for char in line if char.isprintable()) for line in lines]
