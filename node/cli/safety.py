"""Show, export and import what the member must never forget."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.config_option import config_option
from node.cli.output import emit, json_option

if TYPE_CHECKING:
    from consensus.safety import SafetyState
    from node.safety_file import SafetyFile
    from node.safety_transfer import Member

_file = click.Path(path_type=Path, dir_okay=False)


@click.group()
def safety() -> None:
    """Show, export and import what the member must never forget.

    A member moves to another machine with `export` there and `import` here. None of these works
    while the node runs.
    """


@safety.command()
@config_option
@json_option
def show(config_file: Path) -> None:
    """Show what the store remembers, and whether the member may start."""
    from node.safety_transfer import show_safety

    member = _member(config_file)
    instance, hold, states = show_safety(member)
    epochs = [_summary(epoch, state) for epoch, state in states]
    document = {
        "instance": instance,
        "bls_key": "0x" + member.bls_key.hex(),
        "held": None if hold is None else {"at_ms": hold.at_ms, "reason": hold.reason},
        "epochs": epochs,
    }
    may = "may start here" if hold is None else f"does not start here: {hold.reason}"
    emit(document, "\n".join([f"The member {may}.", *map(_line, epochs)]))


@safety.command()
@click.option("--out", type=_file, required=True, help="A new file; nothing is overwritten.")
@config_option
@json_option
def export(out: Path, config_file: Path) -> None:
    """Write what the member must never forget to a file; it does not start here any more.

    Only `didyma safety resume`, or the import of a later file, lets it start here again.
    """
    from node.safety_transfer import export_safety

    file = export_safety(_member(config_file), out)
    emit(
        _document(out, file),
        f"Wrote {out}: {_count(file)}. The member does not start here any more.\n"
        f"Next, on the other machine, with this member's keys and configuration:\n"
        f"  didyma safety import {out.name}",
    )


@safety.command("import")
@click.argument("file", type=_file)
@config_option
@json_option
def import_(file: Path, config_file: Path) -> None:
    """Take over what the member must never forget from FILE, all of it or nothing.

    Makes the store if there is none. What would forget a signature is refused, and so is another
    member's file or one of another network.
    """
    from node.safety_transfer import import_safety

    taken = import_safety(_member(config_file), file)
    emit(_document(file, taken), f"Took over {_count(taken)}. The member may start here.")


@safety.command()
@click.option(
    "--yes", is_flag=True, help="Do not ask: the member has signed nothing anywhere else since."
)
@config_option
@json_option
def resume(yes: bool, config_file: Path) -> None:
    """Let the member start here again after an export, or after a twin of it was found.

    Only if it has signed nothing anywhere else since: else it signs twice.
    """
    from node.config_file import load_config
    from node.safety_transfer import resume as resume_store

    data_dir = load_config(config_file).node.data_dir
    if not yes:
        click.confirm(
            "Has this member signed nothing anywhere else since, and runs nowhere else?",
            abort=True,
            err=True,
        )
    hold = resume_store(data_dir)
    document = {"held": None if hold is None else {"at_ms": hold.at_ms, "reason": hold.reason}}
    emit(document, "It was not held." if hold is None else "The member may start here again.")


def _member(config_file: Path) -> "Member":
    from node import network_file
    from node.config_file import load_config
    from node.errors import ConfigurationError
    from node.keys.bls_key import bls_public_key_of
    from node.safety_transfer import Member

    config = load_config(config_file)
    if config.keys.bls is None:
        raise ConfigurationError("keys.bls is not set: only members have a safety state")
    return Member(
        network_file.load(config.node.network_file),
        bls_public_key_of(config.keys.bls),
        config.node.data_dir,
    )


def _document(path: Path, file: "SafetyFile") -> dict[str, object]:
    return {
        "file": str(path),
        "network": "0x" + file.network.hex(),
        "bls_key": "0x" + file.bls_key.hex(),
        "instance": file.instance,
        "exported_at_ms": file.exported_at_ms,
        "epochs": list(map(_summary, file.epochs, file.states)),
    }


def _summary(epoch: int | None, state: "SafetyState") -> dict[str, object]:
    return {
        "epoch": epoch,
        "domain": "0x" + state.domain.hex(),
        "last_voted_view": state.last_voted_view,
        "last_timeout_view": None if state.last_timeout is None else state.last_timeout[0],
        "last_proposed_view": state.last_proposed_view,
        "high_qc_view": state.high_qc.view,
        "closed": state.closed,
    }


def _line(epoch: dict[str, object]) -> str:
    number = "unknown here" if epoch["epoch"] is None else epoch["epoch"]
    closed = ", closed" if epoch["closed"] else ""
    return f"  epoch {number}: signed up to view {epoch['last_voted_view']}{closed}"


def _count(file: "SafetyFile") -> str:
    count = len(file.states)
    return f"{count} epoch{'' if count == 1 else 's'} of BLS key 0x{file.bls_key.hex()[:16]}…"
