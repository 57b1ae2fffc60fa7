"""What the agreement does, as the operator sees it: counters, reports and the node's view.

Called by the runtime on the trio side; `snapshot` makes the immutable view that other threads read.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import structlog

from aggregation.encoding import decode_confidence_ppm, encode_confidence_up
from aggregation.observation import ObservationBody
from aggregation.state import AgreedState
from aggregation.status import Status
from consensus.committee import signers_of
from consensus.core import SMALL_COMMITTEE_MAX
from consensus.messages import QC, Block, Observed
from consensus.payload import State
from node.api.view import (
    CommitteeView,
    FeedView,
    Identity,
    LatencyView,
    MemberView,
    NodeView,
    PublishedReport,
)
from node.epoch_state import agreed_in
from node.evidence_book import Offence
from node.fairness.accounts import Alarm, FairnessAccounts, describe
from node.feed_alarms import FeedAlarms, apart, unused
from node.incidents import Incident, IncidentLog
from node.metrics import Metrics
from node.observer import Observer
from node.participation import Participation
from node.payload import decode_body, decode_payload, is_priced
from node.price_history import PriceHistory
from node.report import Report, answers_of, encode_report
from node.running_epoch import RunningEpoch
from node.runtime import wall_clock_ms
from node.store import Archivist, Store, StoredReport

LATENCIES_KEPT = 1024
_NS_PER_MS = 1_000_000

_log = structlog.get_logger("node.telemetry")


class Latencies:
    """The newest samples of one latency, in nanoseconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._samples: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self._count = 0

    def add(self, duration_ns: int) -> None:
        """Note one sample."""
        self._samples.append(duration_ns)
        self._count += 1

    def view(self) -> LatencyView:
        """Return the count of all samples and the quantiles of the newest."""
        ordered = sorted(self._samples)

        def quantile(percent: int) -> float:
            if not ordered:
                return 0.0
            return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] / _NS_PER_MS

        return LatencyView(self._name, self._count, quantile(50), quantile(99))


class Telemetry:
    """Implements `node.runtime.Events`; also archives reports and hands them to whoever serves."""

    def __init__(
        self,
        epoch: RunningEpoch,
        identity: Identity,
        observer: Observer,
        store: Store,
        metrics: Metrics,
        on_report: Callable[[Report, PublishedReport, AgreedState], None],
        *,
        height: int,
    ) -> None:
        self._observer = observer
        self._store = store
        self._archivist = Archivist(store)
        self._metrics = metrics
        self._on_report = on_report
        self._incidents = IncidentLog()
        self._told_of_feeds = False
        """Whether statuses are known: that feeds are live when the process begins is no news."""
        self._history = PriceHistory()
        self.begin(epoch, identity)
        self._entered_ns = time.monotonic_ns()
        self._height = height
        self._certified = 0
        self._committed = 0
        self._timeouts = 0
        self._latest: PublishedReport | None = None
        self._certified_ns = 0
        self._tick = Latencies("tick_to_observation")
        self._round = Latencies("observation_to_certificate")

    def begin(self, epoch: RunningEpoch, identity: Identity) -> None:
        """Tell of another epoch from now on; what is counted goes on."""
        self._network = epoch
        self._identity = identity
        self._context = epoch.context
        self._names = epoch.member_names
        self._feeds = [(feed.pair, feed.decimals) for feed in epoch.table.feeds]
        self._committee = _committee_view(epoch)
        self._view = 0
        self._gaps = tuple(self._store.gaps(epoch.context.domain))
        self._state: AgreedState | None = epoch.genesis if epoch.context.epoch else None
        self._observers: tuple[tuple[str, ...], ...] = ()
        self._own_alarms = FeedAlarms([pair for pair, _ in self._feeds])
        self._participation = Participation(self._names)
        self.invalid_messages = dict.fromkeys(range(epoch.context.n), 0)
        """Broken rules by member."""
        context = epoch.context
        self._fairness = FairnessAccounts(
            context.n,
            context.f,
            context.q,
            identity.member_index,
            small=context.n <= SMALL_COMMITTEE_MAX,
            grace_ms=context.configuration.timing.grace_ms,
            prices_of=_prices_of,
        )

    @property
    def member(self) -> str | None:
        """The node's own name in the epoch, if it is a member."""
        return self._identity.member

    def close(self) -> None:
        """Archive what waits to be."""
        self._archivist.close()

    @property
    def silent_ms(self) -> int | None:
        """How long ago the newest certificate came; None before the first."""
        if not self._certified_ns:
            return None
        return (time.monotonic_ns() - self._certified_ns) // _NS_PER_MS

    # node.runtime.Events

    def entered_view(self, view: int, by_timeout: bool) -> None:
        """Note the current view."""
        now_ns = time.monotonic_ns()
        if self._view:
            self._metrics.view_duration.observe((now_ns - self._entered_ns) / 1e9)
        self._entered_ns = now_ns
        self._view = view
        self._fairness.entered(view, by_timeout, now_ns // _NS_PER_MS)
        self._timeouts += by_timeout
        self._metrics.views_entered.labels("timeout" if by_timeout else "certificate").inc()

    def observed(self, view: int, body: ObservationBody, age_ns: int | None) -> None:
        """Note an own observation."""
        self._fairness.sent(view)
        if age_ns is not None:
            self._tick.add(age_ns)
            self._metrics.tick_to_observation.observe(age_ns / 1e9)
        self._own_alarms.note(self._observer.prices)

    def heard(self, observed: Observed) -> None:
        """Note a member's genuine observation."""
        now_ms = time.monotonic_ns() // _NS_PER_MS
        self._fairness.heard(observed.view, observed.member, observed.body, now_ms)

    def proposed(self, block_id: bytes, block: Block) -> None:
        """Note a block that came from its leader."""
        self._fairness.proposed(block.view, block_id, time.monotonic_ns() // _NS_PER_MS)

    def gave_up(self, view: int) -> None:
        """Note that this member signs a view's timeout, or sends it again."""
        self._fairness.gave_up(view)

    def certified(
        self, block_id: bytes, block: Block, qc: QC, state: State, latency_ns: int | None
    ) -> None:
        """Archive a certified report and hand it on."""
        agreed = agreed_in(state)
        self._certified += 1
        self._certified_ns = time.monotonic_ns()
        if latency_ns is not None:
            self._round.add(latency_ns)
            self._metrics.observation_to_certificate.observe(latency_ns / 1e9)
        signers = signers_of(qc.bitmap)
        for signer in signers:
            self._metrics.signed.labels(self._names[signer]).inc()
        if not is_priced(block):
            return
        header = block.header
        report, text = self._archive(block_id, block, qc, agreed, final=False)
        place = (self._context.epoch, header.view)
        newest = self._latest is None or place > (self._latest.epoch, self._latest.view)
        if newest:
            self._latest = PublishedReport(
                self._context.epoch, header.view, block_id, header.observed_at_ms, False, text
            )
            self._note_answers(agreed)
            self._observers = self._priced_by(block)
            self._history.agreed(agreed)
            self._participation.certified(
                header.view,
                header.observed_at_ms,
                self._context.leader(header.view),
                signers,
                [observed.member for observed in decode_payload(block.payload)],
            )
            self._on_report(report, self._latest, agreed)

    def _archive(
        self, block_id: bytes, block: Block, qc: QC, agreed: AgreedState, *, final: bool
    ) -> tuple[Report, Callable[[], bytes]]:
        words = agreed.words
        header = block.header
        report = Report(
            network=self._context.network,
            epoch=self._context.epoch,
            header=header,
            id=block_id,
            words=words,
            bitmap=int.from_bytes(qc.bitmap, "big"),
            signature=qc.aggregate,
            answers=answers_of(words, self._feeds),
            signers=tuple(self._names[signer] for signer in signers_of(qc.bitmap)),
        )
        epoch = self._context.epoch
        # Made once, by whoever asks first: the archive's thread, as a rule.
        text = cache(lambda: encode_report(report))
        self._archivist.save(
            lambda: StoredReport(epoch, header.view, block_id, header.observed_at_ms, final, text())
        )
        return report, text

    def recovered(self, block_id: bytes, block: Block, qc: QC, state: State) -> None:
        """Archive a report that was certified while this node was away."""
        if is_priced(block):
            self._archive(block_id, block, qc, agreed_in(state), final=True)
            self._archivist.mark_final(self._context.epoch, block.view)

    def gaps_changed(self) -> None:
        """Note that what the node skipped is less than before."""
        self._gaps = tuple(self._store.gaps(self._context.domain))

    def committed(self, block_id: bytes, block: Block, state: State) -> None:
        """Note a final block."""
        self._committed += 1
        self._height = block.height
        self._archivist.mark_final(self._context.epoch, block.view)
        if self._latest is not None and self._latest.id == block_id:
            self._latest = replace(self._latest, final=True)
        signed = decode_payload(block.payload)
        for observed in signed:
            self._metrics.inclusion.labels(self._names[observed.member]).inc()
        changes = self._fairness.committed(
            block.view,
            block_id,
            self._context.leader(block.view),
            [(observed.member, observed.body) for observed in signed],
        )
        for alarm in changes.raised:
            self._tell(f"fairness.{alarm.kind}", alarm)
        for alarm in changes.ended:
            self._tell("fairness.ended", alarm)

    def _tell(self, event: str, alarm: Alarm) -> None:
        shown = describe(alarm, self._names, [feed for feed, _ in self._feeds])
        fields = {"leader": shown.leader, "member": shown.member, "feed": shown.feed}
        told = {name: value for name, value in (*fields.items(), ("side", shown.side)) if value}
        ended = event == "fairness.ended"
        self._incidents.add(
            Incident(
                wall_clock_ms(),
                "fairness_ended" if ended else "fairness_alarm",
                alarm=alarm.kind,
                text=shown.text,
                **fields,
            )
        )
        if ended:
            _log.info(event, alarm=alarm.kind, **told)
        else:
            _log.warning(event, **told, text=shown.text)

    def began_from(self, block_id: bytes, block: Block, state: State) -> None:
        """Note a checkpoint that was taken over."""
        self._height = block.height
        self.gaps_changed()
        self._metrics.checkpoints.inc()

    def persisted(self, duration_ns: int) -> None:
        """Note how long it took to make the safety state durable."""
        self._metrics.persist_duration.observe(duration_ns / 1e9)

    def invalid(self, member: int, reason: str) -> None:
        """Note that a member broke the protocol."""
        self.invalid_messages[member] += 1

    def convicted(self, offence: Offence) -> None:
        """Note proof of an offence."""
        self._metrics.evidence.labels(offence.name, offence.kind).inc()

    # The view.

    def _note_answers(self, state: AgreedState) -> None:
        before = self._state or self._network.genesis
        self._state = state
        for index, (feed, _) in enumerate(self._feeds):
            now = state.feeds[index]
            was = before.feeds[index]
            if (was.status, was.cause) != (now.status, now.cause):
                status, cause = now.status.name.lower(), now.cause.name.lower()
                _log.info("feed.status", feed=feed, status=status, cause=cause)
                self._metrics.feed_status_changes.labels(feed, status, cause).inc()
                if self._told_of_feeds or now.status is not Status.LIVE:
                    self._incidents.add(
                        Incident(
                            state.observed_at_ms,
                            "feed_status",
                            feed=feed,
                            before=was.status.name.lower() if self._told_of_feeds else "",
                            status=status,
                            cause=cause,
                        )
                    )
        self._told_of_feeds = True

    def _priced_by(self, block: Block) -> tuple[tuple[str, ...], ...]:
        observations = [
            (self._names[observed.member], decode_body(observed.body).entries)
            for observed in decode_payload(block.payload)
        ]
        return tuple(
            tuple(name for name, entries in observations if entries[index].price)
            for index in range(len(self._feeds))
        )

    def feeds(self) -> tuple[FeedView, ...]:
        """Return every feed as it was last agreed."""
        return tuple(self._feed(index) for index in range(len(self._feeds)))

    def _feed(self, index: int) -> FeedView:
        spec = self._network.table.feeds[index]
        prices = self._observer.prices
        own = prices[index] if index < len(prices) else None
        state = self._state.feeds[index] if self._state is not None else None
        available = state is not None and state.status is not Status.UNAVAILABLE
        price = confidence_ppm = None
        if state is not None and available:
            whole, fraction = divmod(state.price, 10**spec.decimals)
            price = f"{whole}.{fraction:0{spec.decimals}}" if spec.decimals else str(whole)
            code = encode_confidence_up(state.price, state.confidence)
            confidence_ppm = decode_confidence_ppm(code)
        return FeedView(
            index=index,
            feed=spec.pair,
            decimals=spec.decimals,
            deviation_ppm=spec.deviation_ppm,
            heartbeat_ms=spec.heartbeat_ms,
            tier=spec.tier,
            price=price,
            confidence_ppm=confidence_ppm,
            status=state.status.name.lower() if state is not None else "unavailable",  # type: ignore[arg-type]
            cause=state.cause.name.lower() if state is not None else "never_agreed",
            agreed_at_ms=state.agreed_at_ms or None if state is not None else None,
            sources_used=own.sources_used if own is not None else 0,
            sources_all=len(spec.sources),
            observers=self._observers[index] if self._observers else (),
            risk=state.risk if state is not None else 0,
            own_risk=own.risk if own is not None else 0,
            alarms=tuple(sorted(own.alarms)) if own is not None else (),
            apart=tuple(apart(own)) if own is not None else (),
            unused=tuple(unused(own)) if own is not None else (),
        )

    def snapshot(
        self,
        *,
        not_ready: Sequence[str],
        warnings: Sequence[str] = (),
        **parts: object,
    ) -> NodeView:
        """Return the node's view; `parts` are its peers, sources and chains."""
        return NodeView(
            made_at_ns=time.monotonic_ns(),
            identity=self._identity,
            committee=self._committee,
            view=self._view,
            height=self._height,
            rounds_certified=self._certified,
            rounds_committed=self._committed,
            timeouts=self._timeouts,
            latest=self._latest,
            feeds=self.feeds(),
            latencies=(self._tick.view(), self._round.view()),
            gaps=self._gaps,
            not_ready=tuple(not_ready),
            warnings=tuple(warnings),
            fairness=self._fairness.view(self._names, [feed for feed, _ in self._feeds]),
            incidents=self._incidents.newest,
            participation=self._participation.view(),
            history=self._history.points,
            feed_table=self._network.table,
            own_prices=tuple(self._observer.prices),
            **parts,  # type: ignore[arg-type]
        )


def _prices_of(body: bytes) -> tuple[int, ...]:
    return tuple(entry.price for entry in decode_body(body).entries)


def _committee_view(network: RunningEpoch) -> CommitteeView:
    context = network.context
    return CommitteeView(
        epoch=context.epoch,
        configuration_hash=context.configuration.hash.hex(),
        valid_until_ms=network.valid_until_ms,
        faulty_max=context.f,
        quorum=context.q,
        leader_order=tuple(network.member_names[i] for i in context.leader_order),
        members=tuple(
            MemberView(
                member.name,
                index,
                member.bls_key.hex(),
                member.ed25519_key.hex(),
                member.operator.hex(),
            )
            for index, member in enumerate(network.members)
        ),
    )
