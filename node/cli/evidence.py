"""Show, export and verify proof of what members did wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group()
def evidence() -> None:
    """Show, export and verify proof of what members did wrong."""


def _node_options(command: _Command) -> _Command:
    command = click.option("--url", help="The control listener; by default the configuration's.")(
        command
    )
    return click.option("--timeout", type=click.IntRange(1, 300), default=5, show_default=True)(
        command
    )


@evidence.command("list")
@_node_options
@config_option
@json_option
def list_evidence(url: str | None, timeout: int, config_file: Path) -> None:
    """List the evidence that the running node holds."""
    rows = _listed(url, config_file, timeout)
    lines = [
        f"{row['id'][:18]}  epoch {row['epoch']}  view {row['view']}  {row['kind']}  "
        f"{', '.join(row['members'])}"
        for row in rows
    ]
    emit({"evidence": rows}, "\n".join(lines) or "The node holds no evidence.")


@evidence.command()
@click.argument("evidence_id", metavar="ID")
@_node_options
@config_option
@json_option
def show(evidence_id: str, url: str | None, timeout: int, config_file: Path) -> None:
    """Show one piece of evidence; ID may be cut short as long as it is unique."""
    from node.cli.status import lines_of

    rows = _listed(url, config_file, timeout)
    row = _find(rows, evidence_id)
    document = json.loads(_fetched(url, config_file, row["id"], timeout))
    keys = document.pop("members")
    shown = {**document, "names": row["members"], "members": len(keys)}
    emit(
        {**document, "names": row["members"], "members": keys},
        "\n".join(line.rstrip() for line in lines_of(shown)),
    )


@evidence.command()
@click.argument("evidence_id", metavar="[ID]", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="The directory for the files.",
)
@_node_options
@config_option
@json_option
def export(
    evidence_id: str | None, out: Path, url: str | None, timeout: int, config_file: Path
) -> None:
    """Write each piece of evidence, or the one with ID, to a JSON file of its own.

    A file holds all that the accountability contract needs. One that is there stays as it is.
    """
    from node.errors import CheckFailed

    rows = _listed(url, config_file, timeout)
    chosen = rows if evidence_id is None else [_find(rows, evidence_id)]
    out.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for row in chosen:
        path = out / f"evidence-{row['id'][2:18]}.json"
        content = _fetched(url, config_file, row["id"], timeout)
        try:
            with path.open("xb") as stream:
                stream.write(content)
        except FileExistsError:
            if path.read_bytes() != content:
                raise CheckFailed(
                    f"{path} is there and holds something else; nothing is overwritten"
                ) from None
        written.append(str(path))
    emit({"files": written}, "\n".join(written) or "The node holds no evidence.")


@evidence.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--network",
    "network_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default="network.json",
    show_default=True,
    help="The committee file, from a source that you trust.",
)
@click.option(
    "--epoch-file",
    "epoch_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration of a later epoch, if the evidence is of one.",
)
@json_option
def verify(file: Path, network_path: Path, epoch_path: Path | None) -> None:
    """Check the evidence in FILE against a committee file, without a node.

    Recomputes every digest and verifies every signature. Exit status 1 if anything does not hold.
    """
    from consensus.committee import EpochContext
    from node import epoch_file, network_file
    from node.errors import CheckFailed
    from node.evidence_file import EVIDENCE_FILE_BYTES_MAX, verify_file

    network = network_file.load(network_path)
    context, table, names = network.context, network.table, network.member_names
    if epoch_path is not None:
        later = epoch_file.load(epoch_path)
        if later.network != network.network:
            raise CheckFailed(f"{epoch_path} is of another network than {network_path}")
        # Evidence names no genesis: what is signed hangs on the domain alone.
        context = EpochContext(later.network, later.epoch, later.configuration, bytes(32), 0)
        table, names = later.table, later.member_names
    with file.open("rb") as stream:
        content = stream.read(EVIDENCE_FILE_BYTES_MAX + 1)
    document = verify_file(content, context, table)
    accused = [names[member] for member in document.accused]
    emit(
        {
            "ok": True,
            "network": network.name,
            "epoch": context.epoch,
            "kind": document.kind,
            "accused": accused,
        },
        f"Valid: {document.kind} in epoch {context.epoch} of {network.name} by "
        + ", ".join(accused),
    )


def _listed(url: str | None, config_file: Path, timeout: int) -> list[dict[str, Any]]:
    from node.cli.node_client import get
    from node.cli.node_url import node_url
    from node.errors import NodeUnreachable

    document = get(node_url(url, config_file, "control"), "/v1/evidence", timeout)
    rows = document.get("evidence") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise NodeUnreachable("the node's answer is no list; is this its control listener?")
    return rows


def _fetched(url: str | None, config_file: Path, evidence_id: str, timeout: int) -> bytes:
    from node.cli.node_client import get_bytes
    from node.cli.node_url import node_url

    return get_bytes(node_url(url, config_file, "control"), f"/v1/evidence/{evidence_id}", timeout)


def _find(rows: list[dict[str, Any]], evidence_id: str) -> dict[str, Any]:
    from node.errors import CheckFailed

    wanted = evidence_id if evidence_id.startswith("0x") else "0x" + evidence_id
    found = [row for row in rows if row["id"].startswith(wanted)]
    if len(found) != 1:
        raise CheckFailed(
            f"{len(found)} pieces of evidence begin with {wanted}; see `didyma evidence list`"
        )
    return found[0]
