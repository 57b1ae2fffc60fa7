"""`didyma feeds`: what an operator sees of feeds, sources and frames."""

import asyncio
import base64
import gzip
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from feeds.catalogue import load_catalogue
from feeds.frames import gunzipped
from feeds.venue import stateless
from feeds.venues import VENUES
from node.cli import main
from testnet.exchanges.simulator import simulated_exchanges
from testnet.market import Market

BINANCE = (
    '{"u":98494969448,"s":"BTCUSDT","b":"63704.00000000","B":"4.7","a":"63704.01000000","A":"1"}'
)
COINBASE = (
    '{"type":"ticker","sequence":50978628538,"product_id":"BTC-USD","price":"17165.16",'
    '"best_bid":"17165.15","best_ask":"17167.76","time":"2022-12-01T00:00:00.122581Z"}'
)


def invoke(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def decoded(venue: str, *lines: str | bytes) -> list[dict[str, Any]]:
    raw = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    result = invoke("feeds", "decode", venue, stdin=raw)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list_shows_every_source_of_every_feed() -> None:
    table = load_catalogue()
    document = json.loads(invoke("feeds", "list", "--json").stdout)
    assert [feed["feed"] for feed in document["feeds"]] == [feed.pair for feed in table.feeds]
    for feed, shown in zip(table.feeds, document["feeds"], strict=True):
        assert len(shown["sources"]) == len(feed.sources)
        converted = {one["pair"]: one["converted_by"] for one in shown["sources"]}
        assert converted.get(f"{feed.base}/USDT", "USDT/USD") == "USDT/USD"
    text = invoke("feeds", "list").stdout
    assert "converted by USDT/USD" in text
    assert all(feed.pair in text for feed in table.feeds)


def test_list_refuses_a_catalogue_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[feeds]\n")
    result = invoke("feeds", "list", "--catalogue", tmp_path / "bad.toml")
    assert result.exit_code == 3
    assert "no feeds; add at least one" in result.stderr


def test_decode_prints_quotes_exactly_and_the_rest_by_its_kind() -> None:
    assert decoded(
        "binance",
        BINANCE,
        '{"result":null,"id":1}',
        "",
        '{"error":{"code":2,"msg":"Invalid request"},"id":1}',
        BINANCE.replace('"63704.00000000"', '""'),
        BINANCE.replace("BTCUSDT", "NOPAIR"),
        BINANCE.replace('"63704.00000000"', "63704.5"),
        '{"e":"serverShutdown","E":1}',
    ) == [
        {
            "venue": "binance",
            "pair": "BTC/USDT",
            "bid": "63704",
            "ask": "63704.01",
            "last": None,
            "exchange_time_ms": None,
            "sequence": 98494969448,
        },
        {"kind": "acknowledgement", "key": "1"},
        {"kind": "error", "key": "1", "reason": "Invalid request"},
        {
            "venue": "binance",
            "pair": "BTC/USDT",
            "bid": None,
            "ask": "63704.01",
            "last": None,
            "exchange_time_ms": None,
            "sequence": 98494969448,
        },
        {"kind": "undecodable", "reason": "no known quote currency ends 'NOPAIR'"},
        {"kind": "undecodable", "reason": "Expected `str`, got `float` - at `$.b`"},
        {"kind": "reconnect", "reason": "the exchange announces a restart"},
    ]


def test_decode_shows_last_trades_even_where_their_age_is_unknown() -> None:
    (coinbase,) = decoded("coinbase_exchange", COINBASE)
    assert coinbase == {
        "venue": "coinbase_exchange",
        "pair": "BTC/USD",
        "bid": "17165.15",
        "ask": "17167.76",
        "last": "17165.16",
        "exchange_time_ms": 1669852800122,
        "sequence": 50978628538,
    }
    (kraken,) = decoded(
        "kraken",
        '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":63297.7,"ask":'
        '63297.8,"last":63297.8,"timestamp":"2026-08-12T19:29:02.066592Z"}]}',
    )
    assert (kraken["bid"], kraken["last"]) == ("63297.7", "63297.8")


@pytest.mark.parametrize("venue", sorted(VENUES))
@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b"null",
        b"9" * 2_000_000,
        b"\x00",
        "aGVsbG8=",
        "no-base64!",
    ],
)
def test_decode_reports_what_it_cannot_understand(venue: str, line: str | bytes) -> None:
    (first, second) = decoded(venue, line, b"}")
    assert first["kind"] == second["kind"] == "undecodable"
    assert 0 < len(first["reason"]) <= 200


def test_decode_reads_binary_frames_in_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = VENUES["binance"]
    reader = stateless(venue.reader().text, lambda frame: venue.decode(gunzipped(frame)))
    zipping = replace(venue, reader=reader)
    monkeypatch.setattr("feeds.venues.VENUES", {"binance": zipping})
    frames = [gzip.compress(BINANCE.encode()), b"\x1f\x8bnonsense", gzip.compress(b"x" * 10**7)]
    quote, broken, bomb = decoded("binance", *(base64.b64encode(frame) for frame in frames))
    assert quote["bid"] == "63704"
    assert "not gzip" in broken["reason"]
    assert "of more than 262144 bytes" in bomb["reason"]


def test_decode_refuses_a_venue_that_it_does_not_know() -> None:
    result = invoke("feeds", "decode", "mtgox", stdin="")
    assert result.exit_code == 2
    assert "'mtgox' is none of" in result.stderr


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A node's configuration that reaches simulated exchanges, which run in a thread."""
    ready: list[dict[str, tuple[str, str]]] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        market = Market(seed=3, origin_ms=time.time_ns() // 1_000_000)
        async with simulated_exchanges(market) as simulation:
            ready.append({n: (e.ws_url, e.rest_url) for n, e in simulation.endpoints.items()})
            started.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    directory = tmp_path_factory.mktemp("node")
    try:
        assert started.wait(30)
        assert invoke("init", directory / "alice", "--name", "alice").exit_code == 0
        path = directory / "alice" / "node.toml"
        with path.open("a") as file:
            for name, (ws_url, rest_url) in ready[0].items():
                file.write(f'\n[feeds.endpoints."{name}"]\nws_url = "{ws_url}"\n')
                file.write(f'rest_url = "{rest_url}"\n')
        yield path
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


CATALOGUE = Path(load_catalogue.__code__.co_filename).with_name("catalogue.toml")


def test_test_shows_what_each_source_says_and_the_price_of_them(config: Path) -> None:
    command = ("feeds", "test", "btc-usd", "--config", config, "--catalogue", CATALOGUE)
    result = invoke(*command, "--seconds", "30", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["feed"] == "BTC/USD"
    assert document["sources_used"] == len(document["sources"])
    for source in document["sources"]:
        assert source["used"]
        assert source["state"] in ("live", "polled")
        assert float(source["bid"]) < float(source["ask"])
        assert abs(float(source["price"]) / float(document["price"]) - 1) < 0.01
    assert "USDT/USD" in [one["feed"] for one in document["conversions"]]
    text = invoke(*command).stdout
    assert "for converting:" in text
    assert "used" in text


def test_test_says_why_there_is_no_price(config: Path, tmp_path: Path) -> None:
    dead = tmp_path / "node.toml"
    dead.write_text(config.read_text().replace("ws://127.0.0.1:", "ws://127.0.0.1:1/"))
    for name in ("keys", "passwords"):
        (tmp_path / name).symlink_to(config.parent / name)
    result = invoke(
        *("feeds", "test", "USDT/USD", "--config", dead, "--catalogue", CATALOGUE),
        *("--seconds", "0.3"),
    )
    assert result.exit_code == 1
    assert "no price: fewer sources than the feed's minimum" in result.stdout
    assert "cannot connect to ws://127.0.0.1:1/" in result.stdout
    assert "USDT/USD has no price" in result.stderr


def test_test_refuses_a_feed_that_is_not_in_the_catalogue() -> None:
    result = invoke("feeds", "test", "DOGE/EUR")
    assert result.exit_code == 2
    assert "is none of BTC/USD" in result.stderr
