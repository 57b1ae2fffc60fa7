"""The JSON documents made of a `NodeView`."""

from dataclasses import asdict

from node.api.view import FeedView, NodeView, PublishedReport
from node.fairness.window import TURNS_KEPT
from node.validity import days_left

Document = dict[str, object]


def reasons_not_ready(view: NodeView | None, view_age_ms_max: int) -> list[str]:
    """Return why the node does not do all that it should; empty if it does."""
    if view is None:
        return ["the node is still starting"]
    reasons = list(view.not_ready)
    if view.age_ms() > view_age_ms_max:
        reasons.insert(0, f"the consensus has not reported for {view.age_ms() // 1000} s")
    return reasons


def latest_of(report: PublishedReport | None, now_ms: int) -> Document | None:
    """Return what tells a report apart, and its age."""
    if report is None:
        return None
    return {
        "epoch": report.epoch,
        "view": report.view,
        "id": "0x" + report.id.hex(),
        "observed_at_ms": report.observed_at_ms,
        "age_ms": max(0, now_ms - report.observed_at_ms),
        "final": report.final,
    }


def feed_document(feed: FeedView, now_ms: int) -> Document:
    """Return a feed with the age of its answer."""
    age = None if feed.agreed_at_ms is None else max(0, now_ms - feed.agreed_at_ms)
    return {**asdict(feed), "age_ms": age}


def public_status(
    view: NodeView, latest: PublishedReport | None, reasons: list[str], now_ms: int
) -> Document:
    """Return what anyone may know: nothing of addresses, peers' errors or accounts."""
    identity = view.identity
    return {
        "time_ms": now_ms,
        "network": {"name": identity.network_name, "id": identity.network},
        "epoch": view.epoch,
        "domain": identity.domain,
        "configuration": {
            "hash": view.committee.configuration_hash,
            "valid_until_ms": view.committee.valid_until_ms,
            "days_left": days_left(view.committee.valid_until_ms, now_ms),
        },
        "node": {
            "version": identity.version,
            "member": identity.member,
            "started_at_ms": identity.started_at_ms,
        },
        "ready": not reasons,
        "reasons": reasons,
        "warnings": list(view.warnings),
        "view": view.view,
        "height": view.height,
        "rounds_certified": view.rounds_certified,
        "rounds_committed": view.rounds_committed,
        "latest": latest_of(latest, now_ms),
        # Both ends of a gap were final here; nothing between them is known.
        "gaps": [asdict(gap) for gap in view.gaps],
        "committee": {
            "members": len(view.committee.members),
            "quorum": view.committee.quorum,
            "connected": sum(peer.connected for peer in view.peers) + (identity.member is not None),
        },
        "latency_ms": {
            entry.name: {"p50": entry.p50_ms, "p99": entry.p99_ms} for entry in view.latencies
        },
        "chains": [
            {
                "chain": chain.chain,
                "chain_id": chain.chain_id,
                "oracle": chain.oracle,
                "stored_epoch": chain.stored_epoch,
                "stored_view": chain.stored_view,
                "stored_observed_at_ms": chain.stored_observed_at_ms,
            }
            for chain in view.chains
        ],
    }


def full_status(
    view: NodeView, latest: PublishedReport | None, reasons: list[str], now_ms: int
) -> Document:
    """Return all that the node knows of itself, for its operator."""
    return {
        **public_status(view, latest, reasons, now_ms),
        "snapshot_age_ms": view.age_ms(),
        "identity": asdict(view.identity),
        "timeouts": view.timeouts,
        "evidence": [asdict(offence) for offence in view.offences],
        "fairness_alarms": [asdict(a) for a in view.fairness.alarms] if view.fairness else [],
        "feeds": [feed_document(feed, now_ms) for feed in view.feeds],
        "sources": [asdict(source) for source in view.sources],
        "peers": [asdict(peer) for peer in view.peers],
        "latencies": [asdict(entry) for entry in view.latencies],
        # Wei go beyond what JSON numbers hold exactly in most readers.
        "chains": [
            {
                **asdict(chain),
                "balance_wei": None if chain.balance_wei is None else str(chain.balance_wei),
                "cost_wei": str(chain.cost_wei),
                "pushes_by": dict(chain.pushes_by),
            }
            for chain in view.chains
        ],
    }


def fairness_document(view: NodeView) -> Document:
    """Return the accounts of how leaders treat members and prices, with shares worked out."""
    fairness = view.fairness
    if fairness is None:
        return {"epoch": view.epoch, "judges_all": False, "alarms": [], "leaders": []}
    return {
        "epoch": view.epoch,
        "window_turns_max": TURNS_KEPT,
        "judges_all": fairness.judges_all,
        "alarms": [asdict(alarm) for alarm in fairness.alarms],
        "alarms_raised": dict(fairness.raised),
        "leaders": [
            {
                **asdict(leader),
                "pairs": [
                    {
                        "member": pair.member,
                        "included": pair.included,
                        "omitted": pair.omitted,
                        "inclusion_ppm": _ppm(pair.included, pair.included + pair.omitted),
                        "score_ppm": pair.score_ppm,
                    }
                    for pair in fairness.pairs
                    if pair.leader == leader.leader
                ],
                "feeds": [
                    {
                        "feed": shift.feed,
                        "choices": shift.choices,
                        "higher": shift.higher,
                        "lower": shift.lower,
                        "shift_mean_ppm": shift.mean_ppm,
                        "score_ppm": shift.score_ppm,
                    }
                    for shift in fairness.shifts
                    if shift.leader == leader.leader
                ],
            }
            for leader in fairness.leaders
        ],
        "members": [
            {**asdict(member), "inclusion_ppm": _ppm(member.included, member.blocks)}
            for member in fairness.members
        ],
    }


def _ppm(part: int, whole: int) -> int | None:
    return part * 1_000_000 // whole if whole else None
