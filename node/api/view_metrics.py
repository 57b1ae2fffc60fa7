"""The metrics that are read from the newest `NodeView` at each scrape: the two always agree."""

import time
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.api.view import SOURCE_STATE_CODES, STATUS_CODES, NodeView, ViewCell
from node.fairness.view import FairnessView

Sample = tuple[Sequence[str], float | int | None]


def _gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(f"didyma_{name}", text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def _counter(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    family = CounterMetricFamily(f"didyma_{name}", text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def _seconds(time_ms: int | None) -> float | None:
    return None if time_ms is None else time_ms / 1000


class ViewCollector(Collector):
    """Turns the newest view into metrics; register it with the daemon's registry."""

    def __init__(self, cell: ViewCell, view_age_ms_max: int = 10_000) -> None:
        """`view_age_ms_max` is how old a view may be for the node to count as ready."""
        self._cell = cell
        self._view_age_ms_max = view_age_ms_max

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the view, and nobody else uses the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the newest view; none before there is one."""
        view = self._cell.newest
        if view is None:
            return
        yield from self._node(view)
        yield from self._peers(view)
        yield from self._feeds(view)
        yield from self._sources(view)
        yield from self._chains(view)
        if view.fairness is not None:
            yield from self._fairness(view.fairness)

    def _node(self, view: NodeView) -> Iterator[Metric]:
        identity, committee, latest = view.identity, view.committee, view.latest
        age_ms = view.age_ms()
        ready = not view.not_ready and age_ms <= self._view_age_ms_max
        labels = (identity.version, identity.network_name, identity.member or "")
        yield _gauge(
            "build_info",
            "Always 1; the labels say what runs.",
            ("version", "network", "member"),
            [(labels, 1)],
        )
        reachable = sum(peer.connected for peer in view.peers)
        mine = 0 if identity.member is None else 1
        numbers: tuple[tuple[str, str, float | int | None], ...] = (
            ("ready", "1 if the node does all that it should, else 0.", int(ready)),
            ("snapshot_age_seconds", "Time since the consensus last reported.", age_ms / 1000),
            ("epoch_number", "The epoch that the node takes part in.", view.epoch),
            ("view_number", "The view that the node is in.", view.view),
            ("committed_height_blocks", "Height of the final chain.", view.height),
            (
                "configuration_valid_until_seconds",
                "When the configuration in office ends and the network with it, Unix seconds.",
                _seconds(committee.valid_until_ms),
            ),
            (
                "configuration_left_seconds",
                "Time until then; below 0 the network is over.",
                committee.valid_until_ms / 1000 - time.time(),
            ),
            ("committee_members", "Members of the committee.", len(committee.members)),
            ("committee_quorum_members", "Votes that make a certificate.", committee.quorum),
            (
                "quorum_margin_members",
                "Members connected, this one included, beyond the quorum; below 0 nothing moves.",
                reachable + mine - committee.quorum,
            ),
            (
                "last_certified_view_number",
                "View of the newest certified report.",
                None if latest is None else latest.view,
            ),
            (
                "last_certified_observed_at_seconds",
                "Observation time of the newest certified report, Unix seconds.",
                None if latest is None else _seconds(latest.observed_at_ms),
            ),
        )
        for name, text, number in numbers:
            yield _gauge(name, text, (), [((), number)])
        counts = (
            ("rounds_certified", "Rounds certified while this process ran.", view.rounds_certified),
            ("rounds_committed", "Blocks that became final meanwhile.", view.rounds_committed),
            ("timeouts_sent", "Views that the node gave up.", view.timeouts),
        )
        for name, text, count in counts:
            yield _counter(name, text, (), [((), count)])

    def _peers(self, view: NodeView) -> Iterator[Metric]:
        peers = view.peers
        yield _gauge(
            "peer_connected",
            "1 while the member is connected, else 0.",
            ("member",),
            (((p.member,), int(p.connected)) for p in peers),
        )
        yield _gauge(
            "peer_last_heard_seconds",
            "Unix time at which the member was last heard.",
            ("member",),
            (((p.member,), _seconds(p.last_heard_ms)) for p in peers),
        )
        yield _counter(
            "peer_sent_frames",
            "Frames sent to the member.",
            ("member",),
            (((p.member,), p.frames_sent) for p in peers),
        )
        yield _counter(
            "peer_received_frames",
            "Frames got from the member.",
            ("member",),
            (((p.member,), p.frames_received) for p in peers),
        )
        yield _counter(
            "peer_dropped_frames",
            "Frames for the member thrown away: its queue was full or it was away.",
            ("member",),
            (((p.member,), p.frames_dropped) for p in peers),
        )
        yield _counter(
            "peer_penalties",
            "Times that the member was cut off for misbehaving.",
            ("member",),
            (((p.member,), p.penalties) for p in peers),
        )
        yield _counter(
            "peer_invalid_messages",
            "Messages of the member that broke the protocol.",
            ("member",),
            (((p.member,), p.invalid_messages) for p in peers),
        )

    def _feeds(self, view: NodeView) -> Iterator[Metric]:
        feeds = view.feeds
        yield _gauge(
            "feed_price_units",
            "Agreed price in units of the quote currency; absent while unavailable.",
            ("feed",),
            (((f.feed,), None if f.price is None else float(f.price)) for f in feeds),
        )
        yield _gauge(
            "feed_confidence_ppm",
            "Agreed confidence in parts per million of the price; absent while unknown.",
            ("feed",),
            (((f.feed,), f.confidence_ppm) for f in feeds),
        )
        yield _gauge(
            "feed_status_code",
            "Agreed status: 0 unavailable, 1 live, 2 carried, 3 degraded, 4 halted.",
            ("feed",),
            (((f.feed,), STATUS_CODES[f.status]) for f in feeds),
        )
        yield _gauge(
            "feed_agreed_at_seconds",
            "Unix time of the feed's last real agreement; its age is time() minus this.",
            ("feed",),
            (((f.feed,), _seconds(f.agreed_at_ms)) for f in feeds),
        )
        yield _gauge(
            "feed_used_sources",
            "Sources in this node's own price of the feed.",
            ("feed",),
            (((f.feed,), f.sources_used) for f in feeds),
        )
        yield _gauge(
            "feed_risk_code",
            "Agreed risk level: 0 none, 1 notice, 2 high.",
            ("feed",),
            (((f.feed,), f.risk) for f in feeds),
        )
        yield _gauge(
            "feed_alarms",
            "Alarms that this node raises for the feed; the log and the status name them.",
            ("feed",),
            (((f.feed,), len(f.alarms)) for f in feeds),
        )
        yield _gauge(
            "feed_sources_apart",
            "Sources that stand apart from the others in this node's own price.",
            ("feed",),
            (((f.feed,), len(f.apart)) for f in feeds),
        )
        yield _gauge(
            "feed_observing_members",
            "Members whose observation priced the feed in the last round.",
            ("feed",),
            (((f.feed,), len(f.observers)) for f in feeds),
        )

    def _sources(self, view: NodeView) -> Iterator[Metric]:
        labels, sources = ("venue", "pair"), view.sources
        yield _gauge(
            "source_up",
            "1 while the source delivers fresh quotes, else 0.",
            labels,
            (((s.venue, s.pair), int(s.live)) for s in sources),
        )
        yield _gauge(
            "source_last_quote_seconds",
            "Unix time of the source's last quote.",
            labels,
            (((s.venue, s.pair), _seconds(s.last_quote_at_ms)) for s in sources),
        )
        yield _counter(
            "source_quotes",
            "Quotes from the source.",
            labels,
            (((s.venue, s.pair), s.quotes) for s in sources),
        )
        yield _counter(
            "source_reconnects",
            "Reconnects to the source.",
            labels,
            (((s.venue, s.pair), s.reconnects) for s in sources),
        )
        yield _counter(
            "source_polled_quotes",
            "Quotes from the source that came by REST.",
            labels,
            (((s.venue, s.pair), s.polled) for s in sources),
        )
        yield _gauge(
            "source_state_code",
            "How the source is: "
            + ", ".join(f"{code} {state}" for state, code in SOURCE_STATE_CODES.items())
            + ".",
            labels,
            (((s.venue, s.pair), SOURCE_STATE_CODES.get(s.state)) for s in sources),
        )
        venues = {source.venue: source for source in sources}.values()
        yield _counter(
            "venue_frames",
            "Frames from the venue.",
            ("venue",),
            (((s.venue,), s.frames) for s in venues),
        )
        yield _counter(
            "venue_faults",
            "Frames that were not understood, out of order or stamped in the future.",
            ("venue",),
            (((s.venue,), s.faults) for s in venues),
        )
        yield _gauge(
            "venue_clock_offset_seconds",
            "The venue's clock against this machine's; negative: the lag of its quotes.",
            ("venue",),
            (((s.venue,), _seconds(s.clock_offset_ms)) for s in venues),
        )

    def _chains(self, view: NodeView) -> Iterator[Metric]:
        chains = view.chains
        yield _gauge(
            "chain_view_number",
            "View of the report that the chain's oracle stores.",
            ("chain",),
            (((c.chain,), c.stored_view) for c in chains),
        )
        yield _gauge(
            "chain_observed_at_seconds",
            "Observation time of what the chain's oracle stores, Unix seconds.",
            ("chain",),
            (((c.chain,), _seconds(c.stored_observed_at_ms)) for c in chains),
        )
        yield _gauge(
            "publisher_balance_wei",
            "Balance of the publisher's account, in wei; absent while no RPC server answers.",
            ("chain",),
            (((c.chain,), c.balance_wei) for c in chains),
        )
        yield _gauge(
            "publisher_dry",
            "1 while the publisher's account is too poor to go on, else 0.",
            ("chain",),
            (((c.chain,), int(c.dry)) for c in chains),
        )
        yield _gauge(
            "publisher_working",
            "1 while the chain answers and is the one configured, else 0.",
            ("chain",),
            (((c.chain,), int(c.publishing)) for c in chains),
        )
        yield _gauge(
            "publisher_pending_since_seconds",
            "Unix time since which a transaction waits to be included; absent if none does.",
            ("chain",),
            (((c.chain,), _seconds(c.pending_since_ms)) for c in chains),
        )
        yield _counter(
            "publisher_pushes",
            "Reports that this node put on the chain, by what made them due.",
            ("chain", "trigger"),
            (((c.chain, trigger), count) for c in chains for trigger, count in c.pushes_by),
        )
        for name, text, number in (
            ("superseded", "Transactions that another transmitter was faster with.", "superseded"),
            ("successions", "Transactions that led to the next epoch.", "successions"),
            ("reverts", "Transactions that the contract refused.", "reverted"),
            ("errors", "Requests to RPC servers that failed, and the like.", "errors"),
            ("gas", "Gas used by this node's transactions.", "gas_used"),
            ("fees_wei", "Fees of this node's transactions, in wei.", "cost_wei"),
        ):
            yield _counter(
                f"publisher_{name}",
                text,
                ("chain",),
                (((c.chain,), getattr(c, number)) for c in chains),
            )

    def _fairness(self, fairness: FairnessView) -> Iterator[Metric]:
        active = {kind: 0 for kind, _ in fairness.raised}
        for alarm in fairness.alarms:
            active[alarm.kind] += 1
        yield _gauge(
            "fairness_active_alarms",
            "Alarms that are on: a leader leaves out a member, this node, or bends a price.",
            ("kind",),
            (((kind,), number) for kind, number in active.items()),
        )
        yield _counter(
            "fairness_raised_alarms",
            "Alarms raised in this epoch while this process ran.",
            ("kind",),
            (((kind,), number) for kind, number in fairness.raised),
        )
        yield _gauge(
            "fairness_leader_observations_per_block_number",
            "Mean number of observations in a leader's last final blocks.",
            ("leader",),
            (
                ((share.leader,), share.observations / share.turns if share.turns else None)
                for share in fairness.leaders
            ),
        )
        yield _gauge(
            "fairness_member_inclusion_ppm",
            "Share of all leaders' last final blocks that hold an observation of the member.",
            ("member",),
            (((m.member,), _ppm(m.included, m.blocks)) for m in fairness.members),
        )
        pairs = fairness.pairs
        yield _gauge(
            "fairness_inclusion_ppm",
            "Share of a member's observations, of those in time, that the leader included.",
            ("leader", "member"),
            (((p.leader, p.member), _ppm(p.included, p.included + p.omitted)) for p in pairs),
        )
        yield _gauge(
            "fairness_left_out_score_ppm",
            "How near the alarm is that the leader leaves out the member: 1000000 raises it.",
            ("leader", "member"),
            (((p.leader, p.member), p.score_ppm) for p in pairs),
        )
        # Of each leader the feed that is nearest to an alarm: leaders x feeds would be too many.
        worst = {s.leader: s for s in sorted(fairness.shifts, key=lambda s: s.score_ppm)}
        yield _gauge(
            "fairness_price_score_ppm",
            "How near the alarm for the leader's worst feed is: 1000000 raises it.",
            ("leader",),
            (
                ((share.leader,), worst[share.leader].score_ppm if share.leader in worst else 0)
                for share in fairness.leaders
            ),
        )
        yield _gauge(
            "fairness_price_shift_ppm",
            "Mean shift of the worst feed's agreed price against the median of all observations.",
            ("leader",),
            (
                ((share.leader,), worst[share.leader].mean_ppm if share.leader in worst else 0)
                for share in fairness.leaders
            ),
        )


def _ppm(part: int, whole: int) -> int | None:
    return part * 1_000_000 // whole if whole else None
