"""The agreed state as a block carries it, in an epoch that goes on and in one that is ending."""

from dataclasses import dataclass
from struct import Struct

from aggregation.state import AgreedState, FeedState
from aggregation.status import Cause, Status
from aggregation.table import FeedTable
from consensus.handover import decided_digest
from consensus.payload import State
from consensus.types import Digest

_DECIDED = Struct(">BQ32s")
_DECIDED_TAG = 0xFF
"""No agreed state begins with it: that would be a time beyond 2**63 ms."""


@dataclass(frozen=True, slots=True)
class DecidedState:
    """The agreed state in an epoch whose successor is decided, and by the block of which view."""

    agreed: AgreedState
    deciding_view: int
    configuration_hash: bytes

    def encode(self) -> bytes:
        """Return the canonical form."""
        head = _DECIDED.pack(_DECIDED_TAG, self.deciding_view, self.configuration_hash)
        return head + self.agreed.encode()


def agreed_in(state: State) -> AgreedState:
    """Return the agreed answers of a state."""
    if isinstance(state, DecidedState):
        return state.agreed
    assert isinstance(state, AgreedState)
    return state


def successor_in(state: State) -> Digest | None:
    """Return the hash of the next configuration, if the state has one decided."""
    return Digest(state.configuration_hash) if isinstance(state, DecidedState) else None


def digest_of_state(state: State) -> Digest:
    """Return the state digest that a block's link covers."""
    digest = agreed_in(state).digest()
    if isinstance(state, DecidedState):
        return decided_digest(digest, state.deciding_view, state.configuration_hash)
    return Digest(digest)


def encode_state(state: State) -> bytes:
    """Return the canonical form of either state."""
    return state.encode() if isinstance(state, DecidedState) else agreed_in(state).encode()


def decode_state(encoded: bytes) -> AgreedState | DecidedState:
    """Return what `encode_state` packed; raise `ValueError` for anything else."""
    if not encoded or encoded[0] != _DECIDED_TAG:
        return AgreedState.decode(encoded)
    if len(encoded) < _DECIDED.size:
        raise ValueError("a decided state that is cut off")
    _, view, configuration_hash = _DECIDED.unpack_from(encoded)
    return DecidedState(AgreedState.decode(encoded[_DECIDED.size :]), view, configuration_hash)


def carried_over(agreed: AgreedState, table: FeedTable) -> AgreedState:
    """Return the genesis state of the next epoch: what was agreed, and the appended feeds."""
    appended = table.count - len(agreed.feeds)
    assert appended >= 0
    new = (FeedState(Status.UNAVAILABLE, Cause.NEVER_AGREED),) * appended
    return AgreedState(agreed.observed_at_ms, agreed.feeds + new)
