"""What the node shows of itself: immutable snapshots, made by the consensus side, read anywhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aggregation.member import MemberPrice
from aggregation.table import FeedTable
from node.fairness.view import FairnessView
from node.incidents import Incident
from node.participation import ParticipationView
from node.price_history import PricePoint

if TYPE_CHECKING:
    from node.publisher.status import ChainStatus
    from node.store import Gap

FeedStatus = Literal["unavailable", "live", "carried", "degraded", "halted"]
STATUS_CODES: dict[FeedStatus, int] = {
    "unavailable": 0,
    "live": 1,
    "carried": 2,
    "degraded": 3,
    "halted": 4,
}


@dataclass(frozen=True, slots=True)
class PublishedReport:
    """A certified report ready to be served; `text` is or makes the JSON of the report file."""

    epoch: int
    view: int
    id: bytes
    observed_at_ms: int
    final: bool
    text: bytes | Callable[[], bytes]

    @property
    def body(self) -> bytes:
        """The JSON of the report file."""
        return self.text if isinstance(self.text, bytes) else self.text()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is; `member` is None for one that only follows. `network`, `domain`: hex."""

    version: str
    network_name: str
    network: str
    domain: str
    member: str | None
    member_index: int | None
    instance: str
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class FeedView:
    """A feed's agreed answer; `price` is a decimal number, None if unavailable.

    `agreed_at_ms` is when it was last really agreed. `sources_used` counts the sources in this
    node's own price, `sources_all` those of the catalogue. `observers` are the members whose
    observation priced the feed in the last round. `risk` is the level that the members agreed
    on; `own_risk` this node's own, for its `alarms`; `apart` are the sources that stand apart from
    the others, `unused` those that do not count, each with the reason.
    """

    index: int
    feed: str
    decimals: int
    deviation_ppm: int
    heartbeat_ms: int
    tier: int
    price: str | None
    confidence_ppm: int | None
    status: FeedStatus
    cause: str
    agreed_at_ms: int | None
    sources_used: int
    sources_all: int
    observers: tuple[str, ...]
    risk: int = 0
    own_risk: int = 0
    alarms: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


SOURCE_STATE_CODES: dict[str, int] = {
    "waiting": 0,
    "connecting": 1,
    "subscribing": 2,
    "live": 3,
    "polled": 4,
    "stale": 5,
    "frozen": 6,
    "refused": 7,
    "halted": 8,
}


@dataclass(frozen=True, slots=True)
class SourceView:
    """One venue's stream for one pair; `reason` says why it is not live.

    `polled` counts the quotes that came by REST. `reconnects`, `frames`, `faults` (frames that
    were not understood, out of order or stamped in the future), `last_loss` (why a connection was
    replaced last) and `clock_offset_ms` (of its clock against this machine's; negative: its lag)
    are the venue's.
    """

    venue: str
    pair: str
    live: bool
    reason: str
    quotes: int
    reconnects: int
    last_quote_at_ms: int | None
    state: str = ""
    polled: int = 0
    frames: int = 0
    faults: int = 0
    last_loss: str = ""
    clock_offset_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PeerView:
    """The link to one member."""

    member: str
    index: int
    connected: bool
    since_ms: int | None
    last_heard_ms: int | None
    frames_sent: int
    frames_received: int
    frames_dropped: int
    penalties: int
    invalid_messages: int
    last_error: str


@dataclass(frozen=True, slots=True)
class ChainView:
    """The publisher's work on one chain; `balance_wei` is None while no RPC server answers.

    `pushes_by` counts the reports that this node pushed, by trigger; `superseded` those that
    another transmitter was faster with; `successions` the transactions of this node that brought
    the Oracle nearer to its next epoch.
    """

    chain: str
    chain_id: int
    oracle: str
    publishing: bool
    state: str
    stored_view: int | None
    stored_observed_at_ms: int | None
    pushes: int
    errors: int
    balance_wei: int | None
    last_error: str
    account: str = ""
    endpoint: str = ""
    pushes_by: tuple[tuple[str, int], ...] = ()
    superseded: int = 0
    reverted: int = 0
    gas_used: int = 0
    cost_wei: int = 0
    pending_since_ms: int | None = None
    dry: bool = False
    stored_epoch: int | None = None
    successions: int = 0

    @classmethod
    def of(cls, status: "ChainStatus") -> "ChainView":
        """Return what the publisher says of a chain."""
        return cls(
            chain=status.name,
            chain_id=status.chain_id,
            oracle=status.oracle,
            publishing=status.state == "publishing",
            state=status.state,
            stored_view=status.stored_view,
            stored_observed_at_ms=status.stored_observed_at_ms,
            pushes=status.pushes_total,
            errors=status.errors,
            balance_wei=status.balance_wei,
            last_error=status.reason or status.last_error,
            account=status.account,
            endpoint=status.endpoint,
            pushes_by=tuple(status.pushes.items()),
            superseded=status.superseded,
            reverted=status.reverted,
            gas_used=status.gas_used,
            cost_wei=status.cost_wei,
            pending_since_ms=status.pending_since_ms,
            dry=status.dry,
            stored_epoch=status.stored_epoch,
            successions=status.successions,
        )


@dataclass(frozen=True, slots=True)
class LatencyView:
    """A latency over the last rounds, in milliseconds."""

    name: str
    count: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of the committee; keys and operator in hexadecimal."""

    name: str
    index: int
    bls_key: str
    ed25519_key: str
    operator: str


@dataclass(frozen=True, slots=True)
class CommitteeView:
    """The committee of an epoch: `faulty_max` of its members may fail or lie, `quorum` certify."""

    epoch: int
    configuration_hash: str
    valid_until_ms: int
    faulty_max: int
    quorum: int
    leader_order: tuple[str, ...]
    members: tuple[MemberView, ...]


@dataclass(frozen=True, slots=True)
class OffenceView:
    """What a member is proven to have done; see `didyma evidence show ID`."""

    member: str
    kind: str
    epoch: int
    view: int
    found_at_ms: int
    id: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """Everything that the API, `didyma status` and the metrics know of the node at one moment.

    `not_ready` says why the node does not do all that it should, for an operator; empty if it does.
    `warnings` say what will keep it from that unless somebody acts.
    `gaps` are what it skipped of the epoch while it was away: their reports are not here.
    `made_at_ns` is `time.monotonic_ns()`: an old view means that the consensus has stopped.
    """

    made_at_ns: int
    identity: Identity
    committee: CommitteeView
    view: int
    height: int
    rounds_certified: int
    rounds_committed: int
    timeouts: int
    latest: PublishedReport | None
    feeds: tuple[FeedView, ...] = ()
    sources: tuple[SourceView, ...] = ()
    peers: tuple[PeerView, ...] = ()
    chains: tuple[ChainView, ...] = ()
    latencies: tuple[LatencyView, ...] = ()
    offences: tuple[OffenceView, ...] = ()
    """The newest of those that the node holds evidence of."""
    gaps: "tuple[Gap, ...]" = ()
    not_ready: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fairness: FairnessView | None = None
    incidents: tuple[Incident, ...] = ()
    participation: ParticipationView | None = None
    history: tuple[PricePoint, ...] = ()
    feed_table: FeedTable | None = None
    own_prices: tuple[MemberPrice, ...] = ()
    """This node's own price of each feed, in table order; empty before the first."""

    @property
    def epoch(self) -> int:
        """The epoch that the node takes part in."""
        return self.committee.epoch

    def age_ms(self) -> int:
        """Return how long ago this view was made."""
        return (time.monotonic_ns() - self.made_at_ns) // 1_000_000


class ViewCell:
    """Holds the newest `NodeView`; one thread swaps it, any thread reads it."""

    def __init__(self) -> None:
        self._newest: NodeView | None = None

    def swap(self, view: NodeView) -> None:
        """Show a new view from now on."""
        # One assignment, which the interpreter makes atomic: a reader gets the old or the new one.
        self._newest = view

    @property
    def newest(self) -> NodeView | None:
        """The newest view; None until the node has begun."""
        return self._newest
