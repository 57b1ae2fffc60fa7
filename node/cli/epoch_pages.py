"""Collects the history of a network's epochs from a node's API, page after page."""

from node.cli.node_client import get_bytes
from node.epoch_history import (
    EPOCHS_FILE_BYTES_MAX,
    EPOCHS_MAX,
    EpochEntry,
    EpochPage,
    decode_page,
)
from node.errors import CheckFailed


def fetch_history(base_url: str, timeout_seconds: int = 30) -> EpochPage:
    """Return all epochs that a node tells of; no proof is checked. Raises `OperatorError`."""
    entries: list[EpochEntry] = []
    first, size = 0, 0
    while True:
        content = get_bytes(base_url, f"/v1/epochs?from={first}", timeout_seconds)
        page = decode_page(content)
        entries += page.epochs
        size += len(content)
        if page.next is None:
            return EpochPage(page.network, tuple(entries), None)
        if page.next != len(entries) or len(entries) > EPOCHS_MAX or size > EPOCHS_FILE_BYTES_MAX:
            raise CheckFailed("the node's history of epochs does not come to an end; ask another")
        first = page.next
