"""How a network's epochs followed each other, for anyone to check from the committee file alone.

A node serves it in pages at `/v1/epochs`; `didyma committee history --out` keeps it as a file. Each
epoch that is over comes with the proof of how it ended: the handover certificate of its members,
the block that decided, and the state after it. What stands beside the proof is for people, and must
say the same. Whoever serves it need not be trusted.
"""

import base64
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from consensus.committee import signers_of
from consensus.errors import InvalidMessage
from consensus.messages import FRAME_BYTES_MAX, Successor
from consensus.types import MEMBERS_MAX
from node.errors import NetworkFileError
from node.network_file import NetworkFile
from node.public_file import read_bounded, write_atomically
from node.registration import Hex32
from node.running_epoch import RunningEpoch, decode_successor, first_epoch
from node.store import Store

EPOCHS_MAX: Final = 1 << 12
EPOCHS_FILE_BYTES_MAX: Final = 1 << 26
PAGE_EPOCHS_MAX: Final = 16
PAGE_BYTES_MAX: Final = 1 << 20
"""A page ends after the epoch with which it is longer than that."""

_ENTRIES_KEPT: Final = 8

_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Name = Annotated[str, Meta(max_length=64)]


class Ended(Struct, frozen=True, forbid_unknown_fields=True):
    """How an epoch ended; `proof` is a `consensus.messages.Successor` in base64."""

    deciding_id: Hex32
    deciding_view: _Number
    observed_at_ms: _Number
    next_configuration: Hex32
    signers: Annotated[tuple[_Name, ...], Meta(max_length=MEMBERS_MAX)]
    proof: Annotated[str, Meta(max_length=2 * FRAME_BYTES_MAX)]


class EpochEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One epoch; `ended` is None for the one in office."""

    epoch: _Number
    domain: Hex32
    configuration: Hex32
    began_at_ms: _Number
    valid_until_ms: _Number
    quorum: _Number
    members: Annotated[tuple[_Name, ...], Meta(max_length=MEMBERS_MAX)]
    ended: Ended | None


class EpochPage(Struct, frozen=True, forbid_unknown_fields=True):
    """Some epochs in their order; `next` is the first of those that follow, None after the last."""

    network: Hex32
    epochs: Annotated[tuple[EpochEntry, ...], Meta(max_length=EPOCHS_MAX)]
    next: Annotated[int, Meta(ge=1, le=EPOCHS_MAX)] | None


_decoder = msgspec.json.Decoder(EpochPage)


def entry_of(epoch: RunningEpoch, successor: Successor | None) -> EpochEntry:
    """Return what is told of an epoch, and of how it ended if it did."""
    context = epoch.context
    ended = None
    if successor is not None:
        certificate = successor.certificate
        ended = Ended(
            _hex(certificate.deciding_id),
            successor.block.view,
            certificate.observed_at_ms,
            _hex(certificate.configuration_hash),
            tuple(epoch.member_names[signer] for signer in signers_of(certificate.bitmap)),
            base64.b64encode(msgspec.msgpack.encode(successor)).decode(),
        )
    return EpochEntry(
        context.epoch,
        _hex(context.domain),
        _hex(context.configuration.hash),
        context.genesis_time_ms,
        epoch.valid_until_ms,
        context.q,
        epoch.member_names,
        ended,
    )


class EpochHistory:
    """The epochs that a node knows of, as pages; any thread may ask.

    `epochs` may grow meanwhile. How each but the last one ended is in the store.
    """

    def __init__(self, epochs: Sequence[RunningEpoch], store: Store) -> None:
        self._epochs = epochs
        self._store = store
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()

    def page(self, first: int) -> bytes | None:
        """Return a page as JSON, from an epoch on; None if that has not begun. May `StoreError`."""
        count = len(self._epochs)
        if not 0 <= first < count:
            return None
        entries: list[msgspec.Raw] = []
        size = 0
        at = first
        while at < count and len(entries) < PAGE_EPOCHS_MAX and size <= PAGE_BYTES_MAX:
            entry = self._entry(at, at + 1 == count)
            entries.append(msgspec.Raw(entry))
            size += len(entry)
            at += 1
        network = _hex(self._epochs[first].context.network)
        page = {"network": network, "epochs": entries, "next": at if at < count else None}
        return msgspec.json.encode(page)

    def _entry(self, number: int, newest: bool) -> bytes:
        epoch = self._epochs[number]
        if newest:
            return msgspec.json.encode(entry_of(epoch, None))
        with self._lock:
            kept = self._kept.get(number)
        if kept is not None:
            return kept
        stored = self._store.successor(epoch.context.domain)
        assert stored is not None
        made = msgspec.json.encode(entry_of(epoch, decode_successor(stored)))
        with self._lock:
            self._kept[number] = made
            if len(self._kept) > _ENTRIES_KEPT:
                self._kept.popitem(last=False)
        return made


def decode_page(content: bytes) -> EpochPage:
    """Read a page or a file; raise `NetworkFileError`. No proof is checked."""
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NetworkFileError(f"it is no history of epochs: {error}") from None


def load(path: Path) -> EpochPage:
    """Return the history in a file; raise `NetworkFileError`. No proof is checked."""
    content = read_bounded(path, "history of epochs", EPOCHS_FILE_BYTES_MAX)
    try:
        return decode_page(content)
    except NetworkFileError as error:
        raise NetworkFileError(f"{path}: {error}") from None


def save(path: Path, page: EpochPage, *, replace: bool = False) -> None:
    """Write a history; without `replace`, raise `NetworkFileError` if a file is there."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(page)), replace=replace)


def follow(network: NetworkFile, page: EpochPage) -> list[RunningEpoch]:
    """Return the epochs from the first one on, each proven by the one before it.

    Raises `NetworkFileError` unless the history begins with the network's first epoch and every
    proof in it holds.
    """
    if page.network != _hex(network.network):
        raise NetworkFileError(f"the history is of another network than {network.name}")
    epochs = [first_epoch(network)]
    for number, entry in enumerate(page.epochs):
        epoch = epochs[-1]
        successor = None
        if entry.ended is not None:
            successor = _checked(epoch, entry.ended)
            epochs.append(epoch.next(successor))
        if entry != entry_of(epoch, successor):
            raise NetworkFileError(
                f"what the history says of epoch {number} is not what its proofs say"
            )
        if successor is None and number + 1 < len(page.epochs):
            raise NetworkFileError(f"the history goes on after epoch {number}, which has not ended")
    return epochs


def _checked(epoch: RunningEpoch, ended: Ended) -> Successor:
    try:
        successor = decode_successor(base64.b64decode(ended.proof, validate=True))
        epoch.check(successor)
    except (InvalidMessage, msgspec.DecodeError, ValueError) as error:
        raise NetworkFileError(
            f"the proof of how epoch {epoch.context.epoch} ended does not hold: {error}"
        ) from None
    return successor


def _hex(digest: bytes) -> str:
    return "0x" + digest.hex()
