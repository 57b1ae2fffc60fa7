"""Fetch reports, and verify them without a node."""

import json
import sys
from pathlib import Path

import click

from node.cli.config_option import config_option
from node.cli.node_options import node_options
from node.cli.output import emit, json_option
from node.cli.proven_epoch import epoch_options, proven_epoch


@click.group()
def reports() -> None:
    """Fetch reports, and verify them without a node."""


@reports.command()
@node_options("API")
@config_option
@json_option
def latest(url: str | None, timeout: int, config_file: Path) -> None:
    """Print the newest report of the running node, as JSON."""
    _fetch(url, config_file, "/v1/reports/latest", timeout)


@reports.command("get")
@click.argument("view", type=click.IntRange(1, 2**63 - 1))
@click.option("--epoch", type=click.IntRange(0, 2**53), help="By default the one in office.")
@node_options("API")
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
@epoch_options
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
    from node.report_verification import epoch_of, verify_report

    network = network_file.load(network_path)
    if str(file) == "-":
        content = sys.stdin.buffer.read(REPORT_BYTES_MAX + 1)
    else:
        with file.open("rb") as stream:
            content = stream.read(REPORT_BYTES_MAX + 1)
    committee = proven_epoch("report", epoch_of(content), network, epochs_path, url)
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


def _fetch(url: str | None, config_file: Path, path: str, timeout: int) -> None:
    from node.cli.node_client import get
    from node.cli.node_url import node_url

    click.echo(json.dumps(get(node_url(url, config_file, "api"), path, timeout), indent=2))
