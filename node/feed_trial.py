"""A feed's sources, asked now: what each says, whether it counts, and what price results."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.member import MemberPrice, member_prices
from aggregation.quote import RawQuote
from aggregation.sources import SourceKey
from aggregation.table import FeedTable
from feeds.service import FeedService
from feeds.source import SourceHealth
from feeds.venue import VenueEndpoint

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class SourceTrial:
    """One source of a feed; `refusal` is why it does not count, None if it does.

    `price` and `weight` are those in the member's price, in the feed's units.
    """

    spec: SourceSpec
    health: SourceHealth
    quote: RawQuote | None
    price: int | None
    weight: int | None
    is_outlier: bool
    refusal: str | None


@dataclass(frozen=True, slots=True)
class FeedTrial:
    """One feed: its sources in the catalogue's order, and the member's price of them."""

    feed: FeedSpec
    sources: tuple[SourceTrial, ...]
    price: MemberPrice


async def try_feed(
    table: FeedTable, pair: str, endpoints: Mapping[str, VenueEndpoint], seconds: float
) -> list[FeedTrial]:
    """Connect to a feed's sources and to those that convert for it, and say what they amount to.

    The feed asked for comes first. Ends when every source delivers, after `seconds` at the latest.
    Raises KeyError for a pair that is not in the table.
    """
    asked = _with_conversions(table, pair)
    quotes: dict[SourceKey, RawQuote] = {}

    def take(quote: RawQuote) -> None:
        quotes[quote.venue, quote.base, quote.quote] = quote

    def withdraw(key: SourceKey) -> None:
        quotes.pop(key, None)

    venues = {source.venue for feed in asked.feeds for source in feed.sources}
    reached = {venue: at for venue, at in endpoints.items() if venue in venues}
    service = FeedService(asked, reached, take, withdraw=withdraw)
    task = asyncio.create_task(service.run())
    try:
        for _ in range(round(seconds / _LOOK_EVERY_S)):
            await asyncio.sleep(_LOOK_EVERY_S)
            if all(health.delivers for health in service.health()):
                break
        health = {(one.venue, one.base, one.quote): one for one in service.health()}
        prices = member_prices(
            asked, quotes, time.monotonic_ns(), unix_ms=time.time_ns() // 1_000_000
        )
        return [
            _trial(feed, price, health, quotes)
            for feed, price in zip(asked.feeds, prices, strict=True)
        ]
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _with_conversions(table: FeedTable, pair: str) -> FeedTable:
    feed = table.feeds[table.index(pair)]
    conversions = {
        conversion.pair: conversion
        for conversion in (
            table.conversion_feed(feed, source)
            for source in feed.sources
            if not feed.is_native(source)
        )
    }
    return FeedTable((feed, *conversions.values()))


def _trial(
    feed: FeedSpec,
    price: MemberPrice,
    health: Mapping[SourceKey, SourceHealth],
    quotes: Mapping[SourceKey, RawQuote],
) -> FeedTrial:
    used = {one.source.key: one for one in price.used}
    refused = {source.key: reason.value for source, reason in price.rejected}
    trials = []
    for source in feed.sources:
        one = used.get(source.key)
        state = health[source.key]
        trials.append(
            SourceTrial(
                spec=source,
                health=state,
                quote=quotes.get(source.key),
                price=None if one is None else one.price,
                weight=None if one is None else one.weight,
                is_outlier=source.key in price.outliers,
                refusal=refused.get(source.key),
            )
        )
    return FeedTrial(feed, tuple(trials), price)
