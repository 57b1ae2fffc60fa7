"""Record what exchanges say, and replay a recorded session through the whole aggregation."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.output import emit, json_option

if TYPE_CHECKING:
    from node.session_replay import FeedRecord, Session

_FILE = click.Path(path_type=Path, dir_okay=False)
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 40
_MOST_TOLD = 5

_catalogue_option = click.option(
    "--catalogue", type=_FILE, help="The feeds, as TOML; by default those shipped."
)


@click.command()
@click.argument("file", type=_FILE, metavar="FILE")
@click.option("--seconds", type=click.FloatRange(0.1, 7 * 86_400), default=60, show_default=True)
@click.option(
    "--config", "-c", "config_file", type=_FILE, help="Reach the exchanges as a node does."
)
@_catalogue_option
@json_option
def record(file: Path, seconds: float, config_file: Path | None, catalogue: Path | None) -> None:
    """Write what every source says into a new FILE, for `didyma feeds replay`."""
    from node.cli.feeds import table_and_endpoints
    from node.errors import CheckFailed
    from node.session_record import record_session

    logging.getLogger("feeds").addHandler(logging.NullHandler())
    table, endpoints = table_and_endpoints(config_file, catalogue)
    quotes = asyncio.run(record_session(table, endpoints, file, seconds))
    emit({"file": str(file), "quotes": quotes}, f"{quotes} quotes in {file}")
    if not quotes:
        raise CheckFailed("no source said anything: `didyma feeds test PAIR` shows why")


@click.command()
@click.argument("file", type=_FILE, metavar="FILE")
@click.option("--feed", "pairs", multiple=True, metavar="PAIR", help="Show this feed only.")
@click.option(
    "--interval-ms", type=click.IntRange(10, 60_000), default=250, show_default=True,
    help="Time between rounds.",
)  # fmt: skip
@click.option("--carry-ms", type=click.IntRange(0, 600_000), default=3_000, show_default=True)
@click.option("--plot", type=_FILE, help="Write a picture: .svg, .png or .pdf.")
@_catalogue_option
@json_option
def replay(
    file: Path,
    pairs: tuple[str, ...],
    interval_ms: int,
    carry_ms: int,
    plot: Path | None,
    catalogue: Path | None,
) -> None:
    """Replay a session, recorded in FILE, through the whole aggregation.

    FILE holds quotes as `didyma feeds decode` prints them, one JSON object a line, each with
    received_ms, the Unix time at which it came; `didyma feeds record` writes one. Shows what a
    network whose members saw just that would have agreed on, round by round: statuses with their
    causes, alarms, and which sources did not count.
    """
    from node.cli.feeds import table_and_endpoints
    from node.errors import CheckFailed
    from node.session_file import read_session
    from node.session_replay import replay_session

    table, _ = table_and_endpoints(None, catalogue)
    wanted = {pair.upper().replace("-", "/") for pair in pairs}
    known = [feed.pair for feed in table.feeds]
    for pair in wanted - set(known):
        raise click.BadParameter(f"{pair!r} is none of {', '.join(known)}", param_hint="--feed")
    if plot is not None:
        from node.plot import check_plot_file

        check_plot_file(plot)
    session = replay_session(table, read_session(file), interval_ms, carry_ms)
    if session is None:
        raise CheckFailed(f"{file} holds no quotes")
    shown = [
        one
        for one in session.feeds
        if (one.feed.pair in wanted if wanted else one.last or one.changes_total > 1)
    ]
    if plot is not None and shown:
        _draw(plot, shown)
    emit(_document(session, shown), "\n".join(_lines(session, shown)))


def _document(session: "Session", shown: list["FeedRecord"]) -> dict[str, Any]:
    return {
        "begun_ms": session.begun_ms,
        "ended_ms": session.ended_ms,
        "quotes": session.quotes,
        "quotes_of_unknown_sources": session.unknown,
        "rounds": session.rounds,
        "feeds": [_feed(record) for record in shown],
    }


def _feed(record: "FeedRecord") -> dict[str, Any]:
    from feeds.normalised import decimal_text

    confidences = sorted(record.confidences_ppm)

    def units(price: int) -> str | None:
        return decimal_text(price, record.feed.decimals) if price else None

    return {
        "feed": record.feed.pair,
        "rounds": {status.name.lower(): count for status, count in sorted(record.rounds.items())},
        "first": units(record.first),
        "last": units(record.last),
        "low": units(record.low),
        "high": units(record.high),
        "confidence_ppm_p50": confidences[len(confidences) // 2] if confidences else None,
        "confidence_ppm_max": confidences[-1] if confidences else None,
        "changes": [
            {"at_s": one.at_s, "status": one.status.name.lower(), "cause": one.cause.name.lower()}
            for one in record.changes
        ],
        "changes_total": record.changes_total,
        "alarms": dict(record.alarms.most_common()),
        "apart": {_name(key): count for key, count in record.apart.most_common()},
        "unused": [
            {"source": _name(key), "reason": reason, "rounds": count}
            for (key, reason), count in record.unused.most_common()
        ],
    }


def _lines(session: "Session", shown: list["FeedRecord"]) -> list[str]:
    seconds = (session.ended_ms - session.begun_ms) / 1_000
    lines = [f"{session.quotes} quotes in {seconds:.1f} s, {session.rounds} rounds"]
    if session.unknown:
        lines[0] += f"; {session.unknown} quotes are of sources that the catalogue does not have"
    for record in shown:
        document = _feed(record)
        rounds = ", ".join(f"{count} {name}" for name, count in document["rounds"].items())
        lines += ["", f"{document['feed']}  {rounds}"]
        if document["last"] is not None:
            lines.append(
                f"  {document['first']} → {document['last']}, from {document['low']} to "
                f"{document['high']}; confidence {document['confidence_ppm_p50']} ppm, at most "
                f"{document['confidence_ppm_max']}"
            )
            lines.append(f"  {_sparks(record)}")
        for change in document["changes"][:_MOST_TOLD]:
            lines.append(f"  {change['at_s']:>9.2f} s  {change['status']}: {change['cause']}")
        if record.changes_total > _MOST_TOLD:
            lines.append(f"  … {record.changes_total - _MOST_TOLD} more changes, see --json")
        for what, counted in (("alarm", document["alarms"]), ("apart", document["apart"])):
            for name, count in list(counted.items())[:_MOST_TOLD]:
                lines.append(f"  {what} {name}: {count} rounds")
        for one in document["unused"][:_MOST_TOLD]:
            lines.append(f"  unused {one['source']}: {one['reason']}, {one['rounds']} rounds")
    return lines


def _name(key: tuple[str, str, str]) -> str:
    venue, base, quote = key
    return f"{venue} {base}/{quote}"


def _sparks(record: "FeedRecord") -> str:
    """Return the path of a price in one line; a blank where it was unavailable."""
    points = record.points
    picked = [points[len(points) * i // _SPARK_WIDTH] for i in range(_SPARK_WIDTH)]
    span = max(record.high - record.low, 1)
    return "".join(
        _SPARKS[(price - record.low) * (len(_SPARKS) - 1) // span] if price else " "
        for _, price, _ in picked
    )


def _draw(path: Path, shown: list["FeedRecord"]) -> None:
    from node.plot import Panel, save_plot

    panels = []
    for record in shown:
        scale = int(10**record.feed.decimals)
        panel = Panel(record.feed.pair)
        panel.points = [
            (at_s, price / scale if price else None, status)
            for at_s, price, status in record.points
        ]
        panel.marks = [(one.at_s, one.cause.name.lower()) for one in record.changes[1:]]
        panels.append(panel)
    save_plot(path, panels)
