"""Fetch reports, and verify them without a node."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option

if TYPE_CHECKING:
    from node.network_file import NetworkFile
    from node.running_epoch import RunningEpoch

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
@click.option("--epoch", type=click.IntRange(0, 2**53), help="By default the one in office.")
@_node_options
@config_option
@json_option
def get_report(
    view: int, epoch: int | None, url: str | None, timeout: int, config_file: Path
) -> None:
    """Print the report of VIEW, as JSON."""
    query = "" if epoch is None else f"?epoch={epoch}"
    _fetch(url, config_file, f"/v1/reports/{view}{query}", timeout)


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
@click.option(
    "--epochs",
    "epochs_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="How the epochs followed each other, as `didyma committee history --out` keeps it.",
)
@click.option("--url", help="Or the API listener of any node, to ask that; it is not trusted.")
@json_option
def verify(file: Path, network_path: Path, epochs_path: Path | None, url: str | None) -> None:
    """Check the report in FILE (- for standard input) against a committee file, without a node.

    Recomputes the id from the header and the committee file, the feed root from the words, the
    answers from the words and the calldata from all of them, and verifies the aggregate signature
    of a quorum. A report of a later epoch needs the proofs of how the committee changed, from
    --epochs or --url: each committee signed for the next one. Exit status 1 if anything does not
    hold.
    """
    from node import network_file
    from node.report import REPORT_BYTES_MAX, price_text
    from node.report_verification import Committee, epoch_of, verify_report

    network = network_file.load(network_path)
    if str(file) == "-":
        content = sys.stdin.buffer.read(REPORT_BYTES_MAX + 1)
    else:
        with file.open("rb") as stream:
            content = stream.read(REPORT_BYTES_MAX + 1)
    epoch = epoch_of(content)
    committee: Committee = network
    if epoch:
        committee = _epoch(epoch, network, epochs_path, url)
    report = verify_report(content, committee)
    answers = [
        {"feed": a.feed, "price": price_text(a), "status": a.status.name.lower()}
        for a in report.answers
    ]
    document = {
        "ok": True,
        "network": network.name,
        "epoch": report.epoch,
        "view": report.header.view,
        "observed_at_ms": report.header.observed_at_ms,
        "signers": list(report.signers),
        "quorum": committee.context.q,
        "answers": answers,
    }
    emit(
        document,
        f"Valid: view {report.header.view} of epoch {report.epoch} of {network.name}, signed by "
        f"{', '.join(report.signers)} (quorum {committee.context.q} of {committee.context.n})\n"
        + "\n".join(f"  {a['feed']:<12} {a['price']:>20}  {a['status']}" for a in answers),
    )


def _epoch(
    epoch: int, network: "NetworkFile", path: Path | None, url: str | None
) -> "RunningEpoch":
    """Return a later epoch, proven from the committee file on; raise `OperatorError`."""
    from node import epoch_history
    from node.cli.epoch_pages import fetch_history
    from node.cli.node_url import node_url
    from node.errors import CheckFailed

    if path is not None:
        page, source = epoch_history.load(path), str(path)
    elif url is not None:
        page, source = fetch_history(node_url(url, Path(), "api")), url
    else:
        raise CheckFailed(
            f"the report says it is of epoch {epoch}, and a committee file tells of epoch 0 only: "
            "give --epochs with the file of `didyma committee history --out`, or --url of any node"
        )
    epochs = epoch_history.follow(network, page)
    if epoch >= len(epochs):
        raise CheckFailed(
            f"the report says it is of epoch {epoch}, but {source} tells of epochs up to "
            f"{len(epochs) - 1} only: get a newer history"
        )
    return epochs[epoch]


def _fetch(url: str | None, config_file: Path, path: str, timeout: int) -> None:
    from node.cli.node_client import get
    from node.cli.node_url import node_url

    click.echo(json.dumps(get(node_url(url, config_file, "api"), path, timeout), indent=2))
