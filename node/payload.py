"""What a block's payload is: the members' signed observations, and the answers they lead to.

Pure, like what it joins: it implements the consensus's port with the aggregation's rules, so that
neither of them knows the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import msgspec
from msgspec import Struct

from aggregation.advance import advance
from aggregation.encoding import feed_root
from aggregation.observation import (
    Observation,
    ObservationBody,
    observation_digest,
    payload_digest,
)
from aggregation.state import AgreedState
from aggregation.table import FeedTable
from consensus.committee import EpochContext
from consensus.errors import InvalidPayload
from consensus.handover import change_digest, check_approvers
from consensus.messages import PAYLOAD_BYTES_MAX, Block, Change, Observed
from consensus.payload import Outcome, Restored, State
from consensus.types import Digest
from node.epoch_file import from_document
from node.epoch_state import (
    DecidedState,
    agreed_in,
    decode_state,
    digest_of_state,
    encode_state,
    successor_in,
)
from node.errors import NetworkFileError

NO_ROOT = Digest(bytes(32))
"""The feed root of a block that no price may be taken from."""


class Content(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A payload: observations, and in the block that decides the next epoch a change."""

    observations: tuple[Observed, ...]
    change: Change | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Content] = msgspec.msgpack.Decoder(Content)


def encode_payload(observations: Sequence[Observed], change: Change | None = None) -> bytes:
    """Return the payload of these observations, in the order given, and of a change."""
    return _encoder.encode(Content(tuple(observations), change))


def decode_payload(payload: bytes) -> tuple[Observed, ...]:
    """Return the observations of a payload; raise `InvalidPayload` if it holds anything else."""
    return decode_content(payload).observations


@lru_cache(maxsize=64)
def decode_content(payload: bytes) -> Content:
    """Return what is in a payload; raise `InvalidPayload` if it holds anything else."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPayload(f"undecodable payload: {error}") from None


@lru_cache(maxsize=512)
def decode_body(body: bytes) -> ObservationBody:
    """Return the body of an observation; raise `InvalidPayload` if it is malformed."""
    try:
        return ObservationBody.decode(body)
    except ValueError as error:
        raise InvalidPayload(f"malformed observation: {error}") from None


def digest_of(domain: bytes, observed: Observed) -> bytes:
    """Return what an observation's signature covers; raise `InvalidPayload` if malformed."""
    return _digest_of_body(domain, observed.view, observed.member, observed.body)


@lru_cache(maxsize=512)
def _digest_of_body(domain: bytes, view: int, member: int, body: bytes) -> bytes:
    return observation_digest(domain, view, member, decode_body(body))


def is_priced(block: Block) -> bool:
    """Tell whether a block's answers count: those after the deciding block of an epoch do not."""
    return block.header.feed_root != NO_ROOT


class AggregationRule:
    """The payload rule of one epoch: `consensus.payload.PayloadRule` over agreed states."""

    def __init__(self, context: EpochContext, table: FeedTable) -> None:
        self._context = context
        self._domain = context.domain
        self._n = context.n
        self._f = context.f
        self._q = context.q
        self._table = table
        self._carry_ms = context.configuration.timing.carry_ms

    def check(self, observed: Observed) -> None:
        """Raise `InvalidPayload` for an observation that no payload may hold."""
        self._body(observed)

    def _body(self, observed: Observed) -> ObservationBody:
        body = decode_body(observed.body)
        if len(body.entries) != self._table.count:
            raise InvalidPayload("an observation with another number of feeds than the table")
        return body

    def build(
        self, view: int, observations: Sequence[Observed], change: Change | None = None
    ) -> bytes:
        """Return the payload of these observations, ascending by member, and of a change.

        With many members and many feeds not all fit: then a quorum or more of them, others in
        each view.
        """
        chosen = sorted(observations, key=lambda observed: observed.member)
        payload = encode_payload(chosen, change)
        while len(payload) > PAYLOAD_BYTES_MAX and len(chosen) > self._q:
            del chosen[view % len(chosen)]
            payload = encode_payload(chosen, change)
        return payload

    def digest(self, view: int, payload: bytes) -> Digest:
        """Return the digest of a payload's observations; raise `InvalidPayload`."""
        return self._digest(view, decode_content(payload))

    def _digest(self, view: int, content: Content) -> Digest:
        covered = [
            (observed.member, digest_of(self._domain, observed), observed.signature)
            for observed in content.observations
        ]
        try:
            digest = Digest(payload_digest(view, covered))
        except ValueError as error:
            raise InvalidPayload(str(error)) from None
        return digest if content.change is None else change_digest(digest, content.change)

    def apply(self, parent_state: State, parent_time_ms: int, view: int, payload: bytes) -> Outcome:
        """Return what a payload makes of the agreed state; raise `InvalidPayload`."""
        agreed = agreed_in(parent_state)
        content = decode_content(payload)
        signed = content.observations
        self._check(view, signed)
        bodies = [self._body(observed) for observed in signed]
        observations = [
            Observation(observed.member, body.observed_at_ms, body.entries)
            for observed, body in zip(signed, bodies, strict=True)
        ]
        try:
            agreed = advance(agreed, observations, self._table, self._f, self._carry_ms)
        except ValueError as error:
            raise InvalidPayload(f"observations that lead to no answers: {error}") from None
        state: AgreedState | DecidedState = agreed
        root = Digest(feed_root(agreed.words))
        if isinstance(parent_state, DecidedState):
            if content.change is not None:
                raise InvalidPayload("a change in an epoch whose successor is decided")
            # Contracts take prices from the next epoch only, from the deciding block on.
            root = NO_ROOT
            state = replace(parent_state, agreed=agreed)
        elif content.change is not None:
            self._check_change(content.change, agreed.observed_at_ms)
            state = DecidedState(agreed, view, content.change.configuration_hash)
        return Outcome(
            observed_at_ms=agreed.observed_at_ms,
            feed_root=root,
            state_digest=digest_of_state(state),
            payload_digest=self._digest(view, content),
            state=state,
            successor=successor_in(state),
        )

    def encode_state(self, state: State) -> bytes:
        """Return the canonical form of a state."""
        return encode_state(state)

    def restore(self, encoded: bytes) -> Restored:
        """Return a state in its canonical form; raise `InvalidPayload` for anything else."""
        try:
            state = decode_state(encoded)
        except ValueError as error:
            raise InvalidPayload(f"a malformed state: {error}") from None
        if len(agreed_in(state).feeds) != self._table.count:
            raise InvalidPayload("a state with another number of feeds than the table")
        decides = state.deciding_view if isinstance(state, DecidedState) else None
        return Restored(state, digest_of_state(state), successor_in(state), decides)

    def _check_change(self, change: Change, observed_at_ms: int) -> None:
        """Check a change but for signatures and proofs, which the shell has checked."""
        check_approvers(self._context, change)
        try:
            file = from_document(change.document)
            file.check_follows(self._context, self._table)
        except NetworkFileError as error:
            raise InvalidPayload(f"a change to a wrong configuration: {error}") from None
        if file.configuration.hash != change.configuration_hash:
            raise InvalidPayload("a change whose document has another hash")
        if file.valid_until_ms <= observed_at_ms:
            raise InvalidPayload("a change to a configuration that is not valid any more")

    def _check(self, view: int, signed: tuple[Observed, ...]) -> None:
        if len(signed) < self._q:
            raise InvalidPayload(f"{len(signed)} observations, {self._q} needed")
        last = -1
        for observed in signed:
            if observed.view != view:
                raise InvalidPayload("an observation for another view")
            if not last < observed.member < self._n:
                raise InvalidPayload("observations that do not ascend by member")
            last = observed.member
