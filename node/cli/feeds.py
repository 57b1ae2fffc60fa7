"""List feeds and their sources, try them, and decode what exchanges send."""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.output import emit, json_option
from node.cli.replay import record, replay

if TYPE_CHECKING:
    from aggregation.feed import FeedSpec, SourceSpec
    from aggregation.table import FeedTable
    from feeds.venue import VenueEndpoint
    from node.feed_trial import FeedTrial, SourceTrial

_FILE = click.Path(path_type=Path, dir_okay=False)
_WEIGHT_UNIT = 10**6

_catalogue_option = click.option(
    "--catalogue", type=_FILE, help="The feeds, as TOML; by default those shipped."
)


@click.group()
def feeds() -> None:
    """List feeds and their sources, try them, and decode what exchanges send."""


feeds.add_command(record)
feeds.add_command(replay)


@feeds.command("list")
@_catalogue_option
@json_option
def list_feeds(catalogue: Path | None) -> None:
    """List every feed of the catalogue with its sources."""
    table = _table(catalogue)
    documents = [_feed_document(table, feed) for feed in table.feeds]
    lines = []
    for document in documents:
        lines.append(
            f"{document['feed']}  tier {document['tier']}, {document['decimals']} decimals, at "
            f"least {document['minimum_sources']} sources of {document['minimum_venues']} venues, "
            f"{document['minimum_native_venues']} of them in its own currency; pushed at "
            f"{document['deviation_ppm']} ppm or after {document['heartbeat_ms'] / 1000:g} s"
        )
        head = ["venue", "pair", "weight", "limit", ""]
        rows = [
            [
                source["venue"],
                source["pair"],
                str(source["weight"]),
                f"{source['max_age_ms'] / 1000:g} s",
                _remark(source),
            ]
            for source in document["sources"]
        ]
        lines += _columns([head, *rows])
    emit({"feeds": documents}, "\n".join(lines))


@feeds.command()
@click.argument("feed", metavar="FEED")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=10,
    show_default=True,
    help="How long to wait for sources that do not deliver.",
)
@click.option(
    "--config",
    "-c",
    "config_file",
    type=_FILE,
    help="Reach the exchanges as this node does, and take the feeds from its committee file.",
)
@_catalogue_option
@json_option
def test(feed: str, seconds: float, config_file: Path | None, catalogue: Path | None) -> None:
    """Connect to the sources of FEED (such as BTC/USD) and show what price they amount to.

    Shows what each source says now, how old that is, and why it is or is not used. Exit status 1
    if no price results.
    """
    from node.errors import CheckFailed
    from node.feed_trial import try_feed

    # What it would log of its connections is in the answer.
    logging.getLogger("feeds").addHandler(logging.NullHandler())
    table, endpoints = table_and_endpoints(config_file, catalogue)
    pair = feed.upper().replace("-", "/")
    if pair not in [one.pair for one in table.feeds]:
        known = ", ".join(one.pair for one in table.feeds)
        raise click.BadParameter(f"{feed!r} is none of {known}", param_hint="FEED")
    trials = asyncio.run(try_feed(table, pair, endpoints, seconds))
    documents = [_trial_document(trial) for trial in trials]
    asked, *conversions = documents
    text = "\n".join(_trial_lines(asked))
    for conversion in conversions:
        text += "\n\nfor converting:\n" + "\n".join(_trial_lines(conversion))
    emit({**asked, "conversions": conversions}, text)
    if not trials[0].price.price:
        raise CheckFailed(f"{pair} has no price: {trials[0].price.shortage}")


@feeds.command()
@click.argument("venue", metavar="VENUE")
def decode(venue: str) -> None:
    """Decode raw frames of VENUE, one a line of standard input, to JSON lines.

    A text frame stands as it is, a binary one in base64. Frames are of one connection, in its
    order: where they refer to earlier ones, those must come first. A quote is printed as its
    venue, pair, bid, ask, last, exchange_time_ms and sequence, with exact decimals; anything else
    has a kind, and a frame that cannot be understood is of the kind undecodable, with the reason.
    """
    from feeds.recorded import documents_of_lines
    from feeds.venues import VENUES

    if venue not in VENUES:
        raise click.BadParameter(f"{venue!r} is none of {', '.join(VENUES)}", param_hint="VENUE")
    write = sys.stdout.write
    for documents in documents_of_lines(VENUES[venue], sys.stdin.buffer):
        for document in documents:
            write(document + "\n")
        sys.stdout.flush()


def _table(catalogue: Path | None) -> "FeedTable":
    from feeds.catalogue import load_catalogue
    from node.errors import NetworkFileError

    try:
        return load_catalogue(catalogue)
    except ValueError as error:
        raise NetworkFileError(f"the catalogue is not usable: {error}") from None


def table_and_endpoints(
    config_file: Path | None, catalogue: Path | None
) -> "tuple[FeedTable, Mapping[str, VenueEndpoint]]":
    """Return the feeds, and where the exchanges are reached if not at their own addresses."""
    if config_file is None:
        return _table(catalogue), {}
    from feeds.venue import VenueEndpoint
    from node import network_file
    from node.config_file import load_config

    config = load_config(config_file)
    endpoints = {
        venue: VenueEndpoint(endpoint.ws_url, endpoint.rest_url)
        for venue, endpoint in config.feeds.endpoints.items()
    }
    if catalogue is not None:
        return _table(catalogue), endpoints
    return network_file.load(config.node.network_file).table, endpoints


def _feed_document(table: "FeedTable", feed: "FeedSpec") -> dict[str, Any]:
    return {
        "feed": feed.pair,
        "decimals": feed.decimals,
        "tier": feed.tier,
        "minimum_sources": feed.minimum_sources,
        "minimum_venues": feed.minimum_venues,
        "minimum_native_venues": feed.minimum_native_venues,
        "max_half_spread_ppm": feed.max_half_spread_ppm,
        "venue_cap_ppm": feed.venue_cap_ppm,
        "deviation_ppm": feed.deviation_ppm,
        "calm_deviation_ppm": feed.calm_deviation_ppm,
        "heartbeat_ms": feed.heartbeat_ms,
        "sources": [_source_document(table, feed, source) for source in feed.sources],
    }


def _source_document(table: "FeedTable", feed: "FeedSpec", source: "SourceSpec") -> dict[str, Any]:
    native = feed.is_native(source)
    return {
        "venue": source.venue,
        "pair": f"{source.base}/{source.quote}",
        "weight": source.weight,
        "max_age_ms": source.max_age_ms,
        "counts_as": source.house,
        "converted_by": None if native else table.conversion_feed(feed, source).pair,
    }


def _remark(source: Mapping[str, Any]) -> str:
    remarks = []
    if source["converted_by"] is not None:
        remarks.append(f"converted by {source['converted_by']}")
    if source["counts_as"] != source["venue"]:
        remarks.append(f"counts as {source['counts_as']}")
    return ", ".join(remarks)


def _trial_document(trial: "FeedTrial") -> dict[str, Any]:
    from feeds.normalised import decimal_text

    feed, price = trial.feed, trial.price

    def units(number: int | None) -> str | None:
        return None if not number else decimal_text(number, feed.decimals)

    return {
        "feed": feed.pair,
        "price": units(price.price),
        "confidence": units(price.confidence),
        "risk": price.risk,
        "alarms": sorted(price.alarms),
        "sources_used": price.sources_used,
        "minimum_sources": feed.minimum_sources,
        "shortage": None if price.shortage is None else price.shortage.value,
        "sources": [_source_trial(one, units(one.price)) for one in trial.sources],
    }


def _source_trial(one: "SourceTrial", price: str | None) -> dict[str, Any]:
    from feeds.normalised import decimal_text

    def text(number: int | None) -> str | None:
        return None if not number else decimal_text(number)

    quote, health = one.quote, one.health
    return {
        "venue": one.spec.venue,
        "pair": f"{one.spec.base}/{one.spec.quote}",
        "bid": None if quote is None else text(quote.bid),
        "ask": None if quote is None else text(quote.ask),
        "last": None if quote is None else text(quote.last),
        "age_ms": health.last_quote_age_ms,
        "max_age_ms": one.spec.max_age_ms,
        "state": health.state.value,
        "reason": health.reason,
        "clock_offset_ms": health.clock_offset_ms,
        "price": price,
        "weight": None if one.weight is None else one.weight / _WEIGHT_UNIT,
        "outlier": one.is_outlier,
        "used": one.refusal is None,
        "refusal": one.refusal,
    }


def _trial_lines(document: Mapping[str, Any]) -> list[str]:
    used = f"{document['sources_used']} of {len(document['sources'])} sources"
    if document["price"] is None:
        lines = [f"{document['feed']}  no price: {document['shortage']} ({used} usable)"]
    else:
        lines = [
            f"{document['feed']}  {document['price']} ± {document['confidence']}, from {used}, "
            f"risk level {document['risk']}"
        ]
    head = ["venue", "pair", "bid", "ask", "age", "state", "price", "weight", ""]
    rows = []
    for one in document["sources"]:
        age = "-" if one["age_ms"] is None else f"{one['age_ms']} ms"
        weight = "-" if one["weight"] is None else f"{one['weight']:.2f}"
        verdict = one["refusal"] or ("used, an outlier" if one["outlier"] else "used")
        shown = [one["venue"], one["pair"], one["bid"], one["ask"], age, one["state"]]
        rows.append([str(cell or "-") for cell in (*shown, one["price"], weight, verdict)])
    notes = [
        f"  {one['venue']} {one['pair']}: {one['reason']}"
        for one in document["sources"]
        if one["state"] not in ("live", "polled")
    ]
    return [*lines, *_columns([head, *rows]), *map(_printable, notes)]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return [_printable(line).rstrip() for line in lines]


def _printable(line: str) -> str:
    # What an exchange says may not steer the terminal.
    return "".join(char for char in line if char.isprintable())
