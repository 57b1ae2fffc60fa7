"""The JSON documents behind the page: sources of a feed, participation, history, incidents.

What an exchange or the operating system said of a connection may hold addresses of the operator's
own network, so of a source's state only the state goes out; the words are on the control listener.
"""

from functools import lru_cache
from typing import Final

import msgspec

from aggregation.encoding import decode_confidence_ppm, encode_confidence_up
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.member import MemberPrice
from node.api.answers import ApiError
from node.api.documents import Document
from node.api.view import NodeView, SourceView
from node.participation import ParticipationView
from node.price_history import STEP_MS, PricePoint

HISTORY_FEEDS_MAX: Final = 64
_NAME_MAX: Final = 32
_NAMES_SHOWN: Final = 8

_REASONS: Final = {
    "waiting": "no connection at the moment",
    "connecting": "connecting",
    "subscribing": "connected; no price has come yet",
    "live": "",
    "polled": "its stream is silent; fresh prices come by REST",
    "stale": "connected, but its newest price is too old",
    "frozen": "repeats a price that the other venues have left",
    "refused": "the exchange refused the subscription",
    "halted": "the exchange says that it is not trading",
}


def sources_document(view: NodeView, feed: str, now_ms: int) -> Document:
    """Return a feed's sources: state, age, and what this node's own price makes of each."""
    index = _index_of(view, feed)
    assert view.feed_table is not None
    spec = view.feed_table.feeds[index]
    price = view.own_prices[index] if index < len(view.own_prices) else None
    health = {(source.venue, source.pair): source for source in view.sources}
    return {
        "feed": spec.pair,
        "minimum_sources": spec.minimum_sources,
        "used": 0 if price is None else price.sources_used,
        "shortage": None if price is None or price.shortage is None else price.shortage.value,
        "sources": [
            _source(source, spec, price, health.get((source.venue, _pair(source))), now_ms)
            for source in spec.sources
        ],
    }


def _source(
    source: SourceSpec,
    spec: FeedSpec,
    price: MemberPrice | None,
    health: SourceView | None,
    now_ms: int,
) -> Document:
    state = "waiting" if health is None else health.state
    at_ms = None if health is None else health.last_quote_at_ms
    use, why = _use(source, price)
    return {
        "venue": source.venue,
        "pair": _pair(source),
        "converted": source.quote != spec.quote,
        "state": state,
        "reason": _REASONS.get(state, "") or why,
        "age_ms": None if at_ms is None else max(0, now_ms - at_ms),
        "max_age_ms": source.max_age_ms,
        "use": use,
    }


def _use(source: SourceSpec, price: MemberPrice | None) -> tuple[str, str]:
    """Return whether this node's own price counts a source, and why not."""
    if price is None:
        return "unknown", ""
    if any(used.source.key == source.key for used in price.used):
        # An outlier counts all the same: the median stands it, and leaving it out would not.
        return ("outlier", "far from the others") if source.key in price.outliers else ("used", "")
    for rejected, reason in price.rejected:
        if rejected.key == source.key:
            return "rejected", reason.value
    return "unused", "" if price.shortage is None else price.shortage.value


def _pair(source: SourceSpec) -> str:
    return f"{source.base}/{source.quote}"


def participation_document(view: NodeView) -> Document:
    """Return the newest certificates with their bitmaps, and each member's last activity."""
    participation = view.participation or ParticipationView()
    return {
        "epoch": view.epoch,
        "quorum": view.committee.quorum,
        "certificates": [
            {
                "view": share.view,
                "observed_at_ms": share.observed_at_ms,
                "leader": share.leader,
                "signers": hex(share.signers),
                "observers": hex(share.observers),
            }
            for share in participation.certificates
        ],
        "members": participation.members,
    }


def incidents_document(view: NodeView) -> Document:
    """Return what happened lately, newest first, and the alarms that are on."""
    return {
        "since_ms": view.identity.started_at_ms,
        "incidents": view.incidents,
        "evidence": view.offences,
        "fairness_alarms": view.fairness.alarms if view.fairness else (),
    }


def history_document(view: NodeView, feeds: str | None) -> bytes:
    """Return the prices of the last minutes of these feeds (names, with commas) as JSON.

    Takes some milliseconds the first time. Raises `ApiError`.
    """
    table = view.feed_table
    count = 0 if table is None else len(table.feeds)
    if feeds is None:
        indices = tuple(range(count))
    else:
        indices = tuple(_index_of(view, name) for name in feeds.split(",")[: count + 1])
    if len(indices) > HISTORY_FEEDS_MAX:
        raise ApiError(
            400,
            "too_many_feeds",
            f"{len(indices)} feeds are too many for one answer",
            f"give feeds= with up to {HISTORY_FEEDS_MAX} names",
        )
    specs = () if table is None else tuple(table.feeds[index] for index in indices)
    return _history(
        view.history, tuple(zip(indices, ((s.pair, s.decimals) for s in specs), strict=True))
    )


@lru_cache(maxsize=8)
def _history(
    points: tuple[PricePoint, ...], feeds: tuple[tuple[int, tuple[str, int]], ...]
) -> bytes:
    # All viewers of a page ask for the same, and it changes only every other second.
    return msgspec.json.encode(
        {
            "step_ms": STEP_MS,
            "times_ms": [point.observed_at_ms for point in points],
            "feeds": [
                {
                    "feed": pair,
                    "prices": [_price(point, index, decimals) for point in points],
                    "confidence_ppm": [_confidence_ppm(point, index) for point in points],
                }
                for index, (pair, decimals) in feeds
            ],
        }
    )


def _price(point: PricePoint, index: int, decimals: int) -> str | None:
    price = point.prices[index] if index < len(point.prices) else 0
    if not price:
        return None
    whole, fraction = divmod(price, 10**decimals)
    return f"{whole}.{fraction:0{decimals}}" if decimals else str(whole)


def _confidence_ppm(point: PricePoint, index: int) -> int | None:
    if index >= len(point.prices) or not point.prices[index]:
        return None
    code = encode_confidence_up(point.prices[index], point.confidences[index])
    return decode_confidence_ppm(code)


def _index_of(view: NodeView, name: str) -> int:
    names = () if view.feed_table is None else tuple(f.pair for f in view.feed_table.feeds)
    if name not in names:
        known = ", ".join(names[:_NAMES_SHOWN])
        raise ApiError(
            404,
            "no_such_feed",
            f"there is no feed {name[:_NAME_MAX]!r}",
            f"/v1/feeds lists them: {known}",
        )
    return names.index(name)
