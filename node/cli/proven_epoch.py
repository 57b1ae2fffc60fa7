"""An epoch that a file is of, proven from the committee file on, without trusting whoever tells."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from node.network_file import NetworkFile
    from node.running_epoch import RunningEpoch

_Command = TypeVar("_Command", bound=Callable[..., Any])
_file = click.Path(path_type=Path, dir_okay=False)


def epoch_options(command: _Command) -> _Command:
    """Add `--network`, and `--epochs` and `--url` for what is of a later epoch."""
    command = click.option(
        "--url", help="Or the API listener of any node, to ask that; it is not trusted."
    )(command)
    command = click.option(
        "--epochs",
        "epochs_path",
        type=_file,
        help="How the epochs followed each other, as `didyma committee history --out` keeps it.",
    )(command)
    return click.option(
        "--network",
        "network_path",
        type=_file,
        default="network.json",
        show_default=True,
        help="The committee file, from a source that you trust.",
    )(command)


def proven_epoch(
    what: str, epoch: int, network: "NetworkFile", path: Path | None, url: str | None
) -> "RunningEpoch":
    """Return the epoch that `what` says it is of, proven from the committee file on.

    Each committee signed for the next one. Raises `OperatorError`.
    """
    from node import epoch_history
    from node.cli.epoch_pages import fetch_history
    from node.cli.node_url import node_url
    from node.errors import CheckFailed
    from node.running_epoch import first_epoch

    if not epoch:
        return first_epoch(network)
    if path is not None:
        page, source = epoch_history.load(path), str(path)
    elif url is not None:
        page, source = fetch_history(node_url(url, Path(), "api")), url
    else:
        raise CheckFailed(
            f"the {what} says it is of epoch {epoch}, and a committee file tells of epoch 0 only: "
            "give --epochs with the file of `didyma committee history --out`, or --url of any node"
        )
    epochs = epoch_history.follow(network, page)
    if epoch >= len(epochs):
        raise CheckFailed(
            f"the {what} says it is of epoch {epoch}, but {source} tells of epochs up to "
            f"{len(epochs) - 1} only: get a newer history"
        )
    return epochs[epoch]


__all__ = ["epoch_options", "proven_epoch"]
