"""The catalogue: what is priced, from which sources, within which limits; TOML or JSON rows.

One row is one feed with its sources. What a row may hold is `FeedSpec` and nothing else; errors
name the origin, the feed and what to do.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec

from aggregation.feed import AlarmSpec, BreakerSpec, FeedSpec, SourceSpec
from aggregation.table import FeedTable
from feeds.venues import VENUES, find_venue

DEFAULT_PATH = Path(__file__).with_name("catalogue.toml")
_BYTES_MAX = 4 * 1024 * 1024


def load_catalogue(path: Path | None = None) -> FeedTable:
    """Read a catalogue file, by default the one that is shipped.

    Raises ValueError, with the file, the feed and the remedy, if it cannot be used.
    """
    path = DEFAULT_PATH if path is None else path
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise ValueError(f"{path}: larger than {_BYTES_MAX} bytes; name a catalogue file")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); name an existing catalogue file"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text; name a catalogue file") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML: {error}; correct that place") from None
    rows = content.pop("feeds", None)
    counts_as = content.pop("counts_as", {})
    if content:
        raise ValueError(
            f"{path}: unknown entry {next(iter(content))!r}; only [[feeds]] and [counts_as] tables "
            "belong here"
        )
    _name_houses(rows, counts_as, str(path))
    return feed_table(rows, str(path))


def feed_table(rows: object, origin: str) -> FeedTable:
    """Build a feed table from plain rows, as TOML and JSON give them; `origin` is for errors.

    Raises ValueError, with the origin, the feed and the remedy, if it cannot be used.
    """
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{origin}: no feeds; add at least one [[feeds]] table")
    feeds = tuple(_feed(row, f"{origin}: {_name(row, index)}") for index, row in enumerate(rows))
    try:
        return FeedTable(feeds)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}; correct that entry") from None


def _name_houses(rows: object, counts_as: object, origin: str) -> None:
    """Write what `[counts_as]` says of venues into each of their sources that says nothing."""
    if not isinstance(counts_as, dict) or not all(
        isinstance(house, str) for house in counts_as.values()
    ):
        raise ValueError(f'{origin}: [counts_as] holds lines such as venue = "other_venue"')
    for venue, house in counts_as.items():
        for name in (venue, house):
            if find_venue(name) is None:
                raise ValueError(
                    f"{origin}: [counts_as] names the unknown venue {name[:40]!r}; use one of "
                    f"{', '.join(VENUES)}"
                )
        if house in counts_as:
            raise ValueError(f"{origin}: [counts_as] {venue}: {house} itself counts as another")
    for row in rows if isinstance(rows, list) else []:
        sources = row.get("sources") if isinstance(row, dict) else None
        for source in sources if isinstance(sources, list) else []:
            venue = source.get("venue") if isinstance(source, dict) else None
            if isinstance(venue, str) and venue in counts_as:
                source.setdefault("counts_as", counts_as[venue])


def feed_rows(feeds: Sequence[FeedSpec]) -> list[dict[str, Any]]:
    """Return feeds as plain rows, of which `feed_table` makes the same feeds again."""
    rows = []
    for feed in feeds:
        row = asdict(feed)
        row["sources"] = list(row["sources"])
        rows.append(row)
    return rows


def _feed(row: object, place: str) -> FeedSpec:
    _refuse_unknown(row, FeedSpec, place)
    if isinstance(row, Mapping):
        _refuse_unknown(row.get("breaker"), BreakerSpec, f"{place}, breaker")
        _refuse_unknown(row.get("alarms"), AlarmSpec, f"{place}, alarms")
        sources = row.get("sources")
        for number, source in enumerate(sources if isinstance(sources, list) else [], start=1):
            _refuse_unknown(source, SourceSpec, f"{place}, source {number}")
    try:
        feed = msgspec.convert(row, FeedSpec)
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{place}: {error}; {DEFAULT_PATH.name} explains and shows every entry"
        ) from None
    for spec in feed.sources:
        venue = find_venue(spec.venue)
        if venue is None:
            raise ValueError(
                f"{place}: unknown venue {spec.venue[:40]!r}; use one of {', '.join(VENUES)}"
            )
        try:
            venue.symbol(spec.base, spec.quote)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    return feed


def _refuse_unknown(
    row: object,
    spec: type[FeedSpec] | type[BreakerSpec] | type[AlarmSpec] | type[SourceSpec],
    place: str,
) -> None:
    """Refuse a misspelt entry, which would otherwise silently leave a default in force."""
    if not isinstance(row, Mapping):
        return
    known = [field.name for field in fields(spec)]
    for name in row:
        if name not in known:
            raise ValueError(
                f"{place}: unknown entry {str(name)[:40]!r}; known: {', '.join(known)}"
            )


def _name(row: object, index: int) -> str:
    """Name a feed as well as its row allows, before the row is known to be sound."""
    if isinstance(row, Mapping):
        base, quote = row.get("base"), row.get("quote")
        if isinstance(base, str) and isinstance(quote, str):
            return f"feed {index} ({base[:12]}/{quote[:12]})"
    return f"feed {index}"
