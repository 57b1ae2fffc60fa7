"""Show, export and verify proof of what members did wrong."""

import json
from pathlib import Path
from typing import Any

import click

from node.cli.config_option import config_option
from node.cli.node_options import node_options
from node.cli.output import emit, json_option
from node.cli.proven_epoch import epoch_options, proven_epoch


@click.group()
def evidence() -> None:
    """Show, export and verify proof of what members did wrong."""


@evidence.command("list")
@node_options("control")
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
@node_options("control")
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
@node_options("control")
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
@epoch_options
@json_option
def verify(file: Path, network_path: Path, epochs_path: Path | None, url: str | None) -> None:
    """Check the evidence in FILE against a committee file, without a node.

    Recomputes every digest and verifies every signature. Evidence of a later epoch needs the proofs
    of how the committee changed, from --epochs or --url: each committee signed for the next one.
    Exit status 1 if anything does not hold.
    """
    from node import network_file
    from node.evidence_file import EVIDENCE_FILE_BYTES_MAX, evidence_in, verify_file

    network = network_file.load(network_path)
    with file.open("rb") as stream:
        content = stream.read(EVIDENCE_FILE_BYTES_MAX + 1)
    number = evidence_in(content)[0].epoch
    epoch = proven_epoch("evidence", number, network, epochs_path, url)
    document = verify_file(content, epoch.context, epoch.table)
    accused = [epoch.member_names[member] for member in document.accused]
    emit(
        {
            "ok": True,
            "network": network.name,
            "epoch": number,
            "kind": document.kind,
            "accused": accused,
        },
        f"Valid: {document.kind} in epoch {number} of {network.name} by " + ", ".join(accused),
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
