"""The feed table: refused as a whole with a clear reason, digested number by number."""

from dataclasses import fields, replace
from typing import Any

import pytest

from aggregation.feed import AlarmSpec, BreakerSpec, FeedSpec, SourceSpec
from aggregation.table import FeedTable, feed_record

VENUES = ("bitstamp", "coinbase", "kraken")
TETHER = FeedSpec(
    "USDT",
    "USD",
    10,
    2,
    3,
    5_000,
    500,
    60_000,
    tuple(SourceSpec(venue, "USDT", "USD", 10, 5_000) for venue in VENUES),
)
BITCOIN = FeedSpec(
    "BTC",
    "USD",
    7,
    1,
    3,
    5_000,
    1_000,
    30_000,
    (
        *(SourceSpec(venue, "BTC", "USD", 10, 5_000) for venue in VENUES),
        SourceSpec("binance", "BTC", "USDT", 10, 5_000),
    ),
)


def test_feeds_are_found_by_pair_and_packed_four_to_a_word() -> None:
    table = FeedTable((BITCOIN, TETHER))
    assert (table.index("BTC/USD"), table.index("USDT/USD")) == (0, 1)
    assert (table.count, table.words) == (2, 1)
    assert table.conversion_feed(BITCOIN, BITCOIN.sources[3]) is TETHER
    with pytest.raises(KeyError):
        table.index("ETH/USD")
    others = [
        replace(
            TETHER, base=f"X{i}", sources=tuple(replace(s, base=f"X{i}") for s in TETHER.sources)
        )
        for i in range(4)
    ]
    assert FeedTable((BITCOIN, TETHER, *others[:2])).words == 1
    assert FeedTable((BITCOIN, TETHER, *others[:3])).words == 2


def with_source(**changes: Any) -> FeedSpec:
    first, *rest = BITCOIN.sources
    return replace(BITCOIN, sources=(replace(first, **changes), *rest))


WRONG: list[tuple[tuple[FeedSpec, ...], str]] = [
    ((), "1 to"),
    ((BITCOIN,), "needs the feed USDT/USD, which is not in the table"),
    ((BITCOIN, BITCOIN, TETHER), "twice"),
    ((replace(BITCOIN, base="btc"), TETHER), "currency"),
    ((replace(BITCOIN, base="B" * 13), TETHER), "currency"),
    ((replace(BITCOIN, base="BTC\n"), TETHER), "currency"),
    ((replace(TETHER, base="USD"),), "the same"),
    ((replace(BITCOIN, decimals=19), TETHER), "decimals must be a whole number from 0 to 18"),
    ((replace(BITCOIN, decimals=True), TETHER), "decimals must be a whole number"),
    ((replace(BITCOIN, tier=1.0), TETHER), "tier must be a whole number"),  # type: ignore[arg-type]
    ((replace(BITCOIN, heartbeat_ms=0), TETHER), "heartbeat_ms"),
    ((replace(BITCOIN, venue_cap_ppm=0), TETHER), "venue_cap_ppm"),
    ((replace(BITCOIN, minimum_sources=5), TETHER), "minimum_sources 5 is more than its 4"),
    ((replace(BITCOIN, minimum_native_venues=4), TETHER), "more than its 3 venues that quote"),
    ((replace(BITCOIN, minimum_venues=5), TETHER), "minimum_venues 5 is more than its 4 venues"),
    ((replace(BITCOIN, calm_deviation_ppm=1_001), TETHER), "greater than the published deviation"),
    ((replace(BITCOIN, alarms=AlarmSpec(event_limit=0)), TETHER), "event_limit must be"),
    (
        (replace(BITCOIN, alarms=AlarmSpec(fast_half_life_ms=600_000)), TETHER),
        "fast_half_life_ms is not shorter",
    ),
    ((replace(BITCOIN, sources=()), TETHER), "1 to 64 sources"),
    (
        (
            replace(BITCOIN, sources=BITCOIN.sources[3:], minimum_sources=1, minimum_venues=1),
            TETHER,
        ),
        "more than its 0",
    ),
    ((replace(BITCOIN, sources=BITCOIN.sources * 2), TETHER), "a source stands in it twice"),
    ((with_source(venue="Kraken!"), TETHER), "a venue is"),
    ((with_source(venue="k" * 33), TETHER), "a venue is"),
    ((with_source(counts_as="Kraken!"), TETHER), "counts_as is no venue's name"),
    ((with_source(base="ETH"), TETHER), "prices ETH, not BTC"),
    ((with_source(quote="usd"), TETHER), "currency"),
    ((with_source(weight=0), TETHER), "weight must be"),
    ((with_source(max_age_ms=-1), TETHER), "max_age_ms must be"),
    ((replace(BITCOIN, breaker=BreakerSpec(recovery_rounds=0)), TETHER), "recovery_rounds"),
    (
        (replace(BITCOIN, breaker=BreakerSpec(degraded_confidence_ppm=40_000)), TETHER),
        "degraded_confidence_ppm is greater",
    ),
    (
        (BITCOIN, replace(TETHER, sources=TETHER.sources[:2], minimum_sources=2)),
        "at least 3 venues",
    ),
    (
        (
            BITCOIN,
            replace(TETHER, sources=(*TETHER.sources, SourceSpec("okx", "USDT", "EUR", 1, 5_000))),
        ),
        "must be direct",
    ),
]


@pytest.mark.parametrize(("feeds", "says"), WRONG, ids=[says for _, says in WRONG])
def test_an_impossible_table_is_refused_with_its_reason(
    feeds: tuple[FeedSpec, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        FeedTable(feeds)


def variants() -> list[FeedSpec]:
    """Return a feed with each of its numbers and names changed, one at a time."""
    changed = []
    for field in fields(FeedSpec):
        value = getattr(BITCOIN, field.name)
        if isinstance(value, int):
            numbered: dict[str, Any] = {field.name: value + 1}
            changed.append(replace(BITCOIN, **numbered))
    changed += [replace(BITCOIN, base="X"), replace(BITCOIN, quote="X")]
    for field in fields(BreakerSpec):
        value = getattr(BITCOIN.breaker, field.name)
        changed.append(
            replace(BITCOIN, breaker=replace(BITCOIN.breaker, **{field.name: value + 1}))
        )
    for field in fields(AlarmSpec):
        value = getattr(BITCOIN.alarms, field.name)
        changed.append(replace(BITCOIN, alarms=replace(BITCOIN.alarms, **{field.name: value + 1})))
    for field in fields(SourceSpec):
        value = getattr(BITCOIN.sources[0], field.name)
        changed.append(with_source(**{field.name: value + 1 if isinstance(value, int) else "X"}))
    changed.append(replace(BITCOIN, sources=BITCOIN.sources[:3]))
    changed.append(replace(BITCOIN, sources=BITCOIN.sources[::-1]))
    return changed


def test_the_digest_covers_every_parameter() -> None:
    records = [feed_record(feed) for feed in (BITCOIN, *variants())]
    assert all(len(record) == 96 for record in records)
    assert len(set(records)) == len(records) == 45


def test_the_digest_covers_order_and_count() -> None:
    tables = [(BITCOIN, TETHER), (TETHER, BITCOIN), (TETHER,)]
    assert len({FeedTable(feeds).digest() for feeds in tables}) == 3
