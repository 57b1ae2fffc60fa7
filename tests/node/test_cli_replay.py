"""`didyma feeds record` and `replay`: a session written, read again, and explained."""

import asyncio
import json
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aggregation.quote import QUOTE_SCALE, RawQuote
from aggregation.table import FeedTable
from feeds.catalogue import load_catalogue
from feeds.venue import VenueEndpoint
from node.cli import main
from node.session_file import Withdrawn, line_of, read_session
from node.session_record import record_session
from testnet.exchanges.simulator import simulated_exchanges
from testnet.injections import SHAPES, Injection
from testnet.market import Market
from testnet.quoted_market import QuotedMarket
from testnet.rehearsal import bitcoin_table

ORIGIN_MS = 1_800_000_000_000


def invoke(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def write_session(path: Path, injection: Injection | None = None, seconds: int = 60) -> None:
    """Write a session of BTC/USD and USDT/USD, with something put in after half of its time."""
    books = QuotedMarket(bitcoin_table(), Market(3, ORIGIN_MS, 8_000))
    wrong = None if injection is None else injection.distortion(ORIGIN_MS + seconds * 500)
    with path.open("xb") as file:
        seen: dict[object, RawQuote] = {}
        for now_ms in range(ORIGIN_MS, ORIGIN_MS + seconds * 1_000, 250):
            if wrong is None:
                books.move(now_ms)
            else:
                books.move(now_ms, wrong)
            for key, quote in books.newest().items():
                if seen.get(key) is not quote:
                    seen[key] = quote
                    file.write(line_of((now_ms, quote)))


def replayed(path: Path, *options: str) -> dict[str, Any]:
    result = invoke("feeds", "replay", path, "--feed", "BTC/USD", "--json", *options)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_usual_session_is_live(tmp_path: Path) -> None:
    path = tmp_path / "usual.jsonl"
    write_session(path)
    document = replayed(path)
    (bitcoin,) = document["feeds"]
    assert bitcoin["rounds"]["live"] > 220
    assert set(bitcoin["rounds"]) <= {"unavailable", "degraded", "live"}
    assert float(bitcoin["low"]) <= float(bitcoin["last"]) <= float(bitcoin["high"])
    assert document["quotes_of_unknown_sources"] == 0


@pytest.mark.parametrize("name", ["step", "burst"])
def test_what_happened_is_told_with_its_cause(tmp_path: Path, name: str) -> None:
    assert name in SHAPES
    path = tmp_path / "session.jsonl"
    write_session(path, Injection(name))
    picture = tmp_path / "picture.svg"
    document = replayed(path, "--plot", str(picture))
    (bitcoin,) = document["feeds"]
    causes = {change["cause"] for change in bitcoin["changes"]}
    assert causes & {"jump", "high_risk"}
    assert "<svg" in picture.read_text()
    text = invoke("feeds", "replay", path, "--feed", "BTC/USD").stdout
    assert "alarm burst" in text
    assert "BTC/USD" in text


def test_a_lying_venue_is_named(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    write_session(path, Injection("step", "kraken"))
    (bitcoin,) = replayed(path)["feeds"]
    assert bitcoin["apart"]["kraken BTC/USD"] > 50
    assert not {"halted", "unavailable"} & {c["status"] for c in bitcoin["changes"][1:]}


def test_events_survive_their_lines(tmp_path: Path) -> None:
    quote = RawQuote("okx", "BTC", "USDT", 10**12, 0, 1, QUOTE_SCALE, 5, None, 7_000_000)
    events = [(7, quote), (7, Withdrawn(("okx", "BTC", "USDT")))]
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\n".join(map(line_of, events)))
    assert list(read_session(path)) == events


QUOTE = {"venue": "kraken", "pair": "BTC/USD", "bid": "1", "ask": "2", "received_ms": 10}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"{"], "line 1: "),
        ([b"[1]"], "line 1: "),
        ([b"\xff"], "line 1: "),
        ([b" " * 5_000], "line 1: longer than"),
        ([QUOTE, {**QUOTE, "received_ms": 9}], "line 2: received before the line above"),
        ([{**QUOTE, "received_ms": None}], "no received_ms"),
        ([{**QUOTE, "received_ms": -1}], "received_ms"),
        ([{**QUOTE, "pair": "BTCUSD"}], "a pair such as BTC/USD"),
        ([{**QUOTE, "bid": "1e99999"}], "not a plain decimal number"),
        ([{**QUOTE, "bid": 1.5}], r"\$.bid"),
        ([], "holds no quotes"),
        ([{"kind": "heartbeat"}], "holds no quotes"),
    ],
)
def test_a_broken_session_is_refused_by_its_line(
    tmp_path: Path, lines: Iterable[object], said: str
) -> None:
    path = tmp_path / "broken.jsonl"
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
    path.write_bytes(b"\n".join(raw))
    result = invoke("feeds", "replay", path)
    assert result.exit_code != 0
    assert re.search(said, result.stderr), result.stderr


def test_files_and_feeds_that_are_not_there_are_told(tmp_path: Path) -> None:
    assert "cannot be read" in invoke("feeds", "replay", tmp_path / "none").stderr
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(QUOTE))
    assert "none of BTC/USD" in invoke("feeds", "replay", path, "--feed", "X/Y").stderr
    assert "ends with" in invoke("feeds", "replay", path, "--plot", tmp_path / "a.txt").stderr
    assert invoke("feeds", "replay", path).exit_code == 0


def test_a_long_silence_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    late = {**QUOTE, "received_ms": 10**15}
    path.write_text(json.dumps(QUOTE) + "\n" + json.dumps(late))
    document = json.loads(invoke("feeds", "replay", path, "--interval-ms", "1000", "--json").stdout)
    assert document["rounds"] < 1_000


def test_what_is_recorded_of_exchanges_can_be_replayed(tmp_path: Path) -> None:
    table = load_catalogue()
    few = FeedTable(table.feeds[:4])
    path = tmp_path / "recorded.jsonl"

    async def recorded() -> int:
        async with simulated_exchanges(Market(1, ORIGIN_MS, 8_000), rate=1_000) as simulation:
            endpoints = {
                name: VenueEndpoint(at.ws_url, at.rest_url)
                for name, at in simulation.endpoints.items()
            }
            return await record_session(few, endpoints, path, 5)

    written: list[int] = []
    thread = threading.Thread(target=lambda: written.append(asyncio.run(recorded())))
    thread.start()
    thread.join()
    events = list(read_session(path))
    quotes = [what for _, what in events if isinstance(what, RawQuote)]
    assert len(quotes) == written[0] > 50
    assert len({quote.venue for quote in quotes}) >= 10
    shown = {feed["feed"]: feed for feed in json.loads(
        invoke("feeds", "replay", path, "--json").stdout
    )["feeds"]}  # fmt: skip
    assert shown["BTC/USD"]["last"] is not None


def test_a_recording_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("kept")
    result = invoke("feeds", "record", path, "--seconds", "0.1")
    assert result.exit_code != 0
    assert path.read_text() == "kept"
