"""Fetch reports, and verify them without a node."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group()
def reports() -> None:
    """Fetch reports, and verify them without a node."""


def _node_options(command: _Command) -> _Command:
    command = click.option("--url", help="The API listener; by default the configuration's.")(
        command
    )
    return click.option("--timeout", type=click.IntRange(1, 300), default=5, show_default=True)(
        command
    )


@reports.command()
@_node_options
@config_option
@json_option
def latest(url: str | None, timeout: int, config_file: Path) -> None:
    """Print the newest report of the running node, as JSON."""
    _fetch(url, config_file, "/v1/reports/latest", timeout)


@reports.command("get")
@click.argument("view", type=click.IntRange(1, 2**63 - 1))
@_node_options
@config_option
@json_option
def get_report(view: int, url: str | None, timeout: int, config_file: Path) -> None:
    """Print the report of VIEW, as JSON."""
    _fetch(url, config_file, f"/v1/reports/{view}", timeout)


@reports.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@click.option(
    "--network",
    "network_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default="network.json",
    show_default=True,
    help="The committee file, from a source that you trust.",
)
@json_option
def verify(file: Path, network_path: Path) -> None:
    """Check the report in FILE (- for standard input) against a committee file, without a node.

    Recomputes the id from the header and the committee file, the feed root from the words, the
    answers from the words and the calldata from all of them, and verifies the aggregate signature
    of a quorum. Exit status 1 if anything does not hold.
    """
    from node import network_file
    from node.report import REPORT_BYTES_MAX, price_text
    from node.report_verification import verify_report

    network = network_file.load(network_path)
    if str(file) == "-":
        content = sys.stdin.buffer.read(REPORT_BYTES_MAX + 1)
    else:
        with file.open("rb") as stream:
            content = stream.read(REPORT_BYTES_MAX + 1)
    report = verify_report(content, network)
    answers = [
        {"feed": a.feed, "price": price_text(a), "status": a.status.name.lower()}
        for a in report.answers
    ]
    document = {
        "ok": True,
        "network": network.name,
        "view": report.header.view,
        "observed_at_ms": report.header.observed_at_ms,
        "signers": list(report.signers),
        "quorum": network.context.q,
        "answers": answers,
    }
    emit(
        document,
        f"Valid: view {report.header.view} of {network.name}, signed by "
        f"{', '.join(report.signers)} (quorum {network.context.q} of {network.context.n})\n"
        + "\n".join(f"  {a['feed']:<12} {a['price']:>20}  {a['status']}" for a in answers),
    )


def _fetch(url: str | None, config_file: Path, path: str, timeout: int) -> None:
    from node.cli.node_client import get
    from node.cli.node_url import node_url

    click.echo(json.dumps(get(node_url(url, config_file, "api"), path, timeout), indent=2))
