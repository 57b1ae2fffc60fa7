"""One epoch as a node runs it, and the way from one to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from aggregation.state import AgreedState, genesis_state
from aggregation.table import FeedTable
from consensus.committee import EpochContext
from consensus.core import Checkpoint, genesis_checkpoint
from consensus.errors import InvalidMessage
from consensus.messages import Successor
from node.epoch_file import EpochFile, from_document
from node.epoch_state import (
    DecidedState,
    carried_over,
    decode_state,
    digest_of_state,
    successor_in,
)
from node.errors import NetworkFileError
from node.network_file import NetworkFile
from node.payload import AggregationRule, decode_content
from node.registration import MemberRecord
from node.store import Store
from node.verifier import Verifier


@dataclass(frozen=True)
class RunningEpoch:
    """An epoch: its committee and feeds, and the agreed state with which it begins."""

    name: str
    context: EpochContext
    table: FeedTable
    members: tuple[MemberRecord, ...]
    genesis: AgreedState

    @property
    def member_names(self) -> tuple[str, ...]:
        """The members' names by index."""
        return tuple(member.name for member in self.members)

    @property
    def valid_until_ms(self) -> int:
        """When contracts stop taking its reports (Unix ms)."""
        return self.context.configuration.valid_until_ms

    @cached_property
    def rule(self) -> AggregationRule:
        """The payload rule."""
        return AggregationRule(self.context, self.table)

    @cached_property
    def verifier(self) -> Verifier:
        """Checks what its members sign."""
        return Verifier(self.context, self.table.count)

    def index_of(self, bls_key: bytes) -> int | None:
        """Return the index of the member with a BLS key (compressed), if there is one."""
        keys = [member.bls_key for member in self.members]
        return keys.index(bls_key) if bls_key in keys else None

    def root(self, store: Store) -> Checkpoint:
        """Return the last final block of a store, or the genesis."""
        head = store.head(self.context.domain)
        if head is None:
            return genesis_checkpoint(self.context, self.genesis)
        state = decode_state(head.state)
        return Checkpoint(
            head.block_id,
            head.block.view,
            head.height,
            head.block.header.observed_at_ms,
            state,
            head.block,
            successor_in(state),
        )

    def check(self, successor: Successor) -> None:
        """Check that this epoch ended so, whoever says it; raise `InvalidMessage`.

        The certificate names the block, the block's link covers its payload, so the configuration,
        and its state.
        """
        self.verifier.check_handover_certificate(successor.certificate)
        certificate, block = successor.certificate, successor.block
        context = self.context
        if block.header.id(context.domain) != certificate.deciding_id:
            raise InvalidMessage("a successor with another block than the certified one")
        self.verifier.check_qc(block.justify)
        payload_digest = self.rule.digest(block.view, block.payload)
        if block.header.link != block.link_with(context.id_of(block.justify), payload_digest):
            raise InvalidMessage("a deciding block whose link does not cover it")
        change = decode_content(block.payload).change
        if change is None or change.configuration_hash != certificate.configuration_hash:
            raise InvalidMessage("a deciding block that decides something else")
        if block.header.observed_at_ms != certificate.observed_at_ms:
            raise InvalidMessage("a handover certificate with another time than its block")
        if certificate.observed_at_ms > self.valid_until_ms:
            raise InvalidMessage("a handover after the configuration's valid-until")
        try:
            file = from_document(change.document)
            file.check_follows(context, self.table)
        except NetworkFileError as error:
            raise InvalidMessage(f"a decided configuration that is not valid: {error}") from None
        if file.configuration.hash != certificate.configuration_hash:
            raise InvalidMessage("a deciding block whose document has another hash")
        try:
            state = decode_state(successor.state)
        except ValueError as error:
            raise InvalidMessage(f"a successor whose state is malformed: {error}") from None
        if not isinstance(state, DecidedState) or digest_of_state(state) != block.state_digest:
            raise InvalidMessage("a successor with another state than its block's")

    def next(self, successor: Successor) -> "RunningEpoch":
        """Return the epoch that follows on a checked successor."""
        change = decode_content(successor.block.payload).change
        state = decode_state(successor.state)
        assert change is not None
        assert isinstance(state, DecidedState)
        return self._followed_by(from_document(change.document), state.agreed, successor)

    def _followed_by(
        self, file: EpochFile, agreed: AgreedState, successor: Successor
    ) -> "RunningEpoch":
        genesis = carried_over(agreed, file.table)
        context = EpochContext(
            self.context.network,
            self.context.epoch + 1,
            file.configuration,
            genesis.digest(),
            successor.block.header.observed_at_ms,
            successor.certificate.deciding_id,
        )
        return RunningEpoch(self.name, context, file.table, file.members, genesis)


def first_epoch(network: NetworkFile) -> RunningEpoch:
    """Return the first epoch of a network."""
    genesis = genesis_state(network.table, network.genesis_time_ms)
    return RunningEpoch(network.name, network.context, network.table, network.members, genesis)


def stored_epochs(network: NetworkFile, store: Store) -> list[RunningEpoch]:
    """Return the epochs that a store knows of, oldest first; the last one has not ended."""
    epochs = [first_epoch(network)]
    while (stored := store.successor(epochs[-1].context.domain)) is not None:
        epochs.append(epochs[-1].next(decode_successor(stored)))
    return epochs


def check_joined(file: EpochFile, epochs: Sequence[RunningEpoch]) -> None:
    """Check that the epoch which a node joins is the one in its file; raise `NetworkFileError`.

    Another one was approved instead, or somebody who has the keys of an old committee invents a
    network for this node alone.
    """
    for epoch in epochs:
        configuration_hash = epoch.context.configuration.hash
        if epoch.context.epoch == file.epoch and configuration_hash != file.configuration.hash:
            raise NetworkFileError(
                f"the network went on to epoch {file.epoch} with the configuration "
                f"0x{configuration_hash.hex()}, but node.epoch_file is of "
                f"0x{file.configuration.hash.hex()}. Ask operators whom you trust which is in "
                "office; if it is the first, set node.epoch_file to its file"
            )


def encode_successor(successor: Successor) -> bytes:
    """Return the stored form."""
    return msgspec.msgpack.encode(successor)


def decode_successor(stored: bytes) -> Successor:
    """Return what was stored."""
    return msgspec.msgpack.decode(stored, type=Successor)
