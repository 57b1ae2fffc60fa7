"""What each venue is asked for, and which answers it owes."""

import json
import time
from typing import Any

import pytest

from feeds.supervision import Limits
from feeds.venues import VENUES

NOW = "now, in whole seconds or milliseconds"


def timeless(request: dict[str, Any]) -> dict[str, Any]:
    """Put `NOW` for a time that is ours."""
    for field, unit_s in (("time", 1), ("nonce", 0.001)):
        if field in request:
            assert abs(request[field] * unit_s - time.time()) < 60
            request[field] = NOW
    return request


REQUESTS: dict[str, list[dict[str, Any]]] = {
    "coinbase_exchange": [
        {
            "type": "subscribe",
            "product_ids": [product],
            "channels": ["ticker", "heartbeat"],
        }
        for product in ("BTC-USD", "USDT-USD")
    ],
    "kraken": [
        {
            "method": "subscribe",
            "params": {
                "channel": "ticker",
                "symbol": ["BTC/USD", "USDT/USD"],
                "event_trigger": "bbo",
                "snapshot": True,
            },
            "req_id": 1,
        }
    ],
    "bitstamp": [
        {"event": "bts:subscribe", "data": {"channel": f"order_book_{pair}"}}
        for pair in ("btcusd", "usdtusd")
    ],
    "gemini": [
        {"id": 1, "method": "SUBSCRIBE", "params": ["btcusd@bookTicker"]},
        {"id": 2, "method": "SUBSCRIBE", "params": ["usdtusd@bookTicker"]},
    ],
    "binance": [
        {
            "method": "SUBSCRIBE",
            "params": ["btcusd@bookTicker", "usdtusd@bookTicker"],
            "id": 1,
        }
    ],
    "coinbase_advanced": [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "ticker"},
        {"type": "subscribe", "product_ids": ["USDT-USD"], "channel": "ticker"},
    ],
    "bybit": [
        {"op": "subscribe", "req_id": "1", "args": ["orderbook.1.BTCUSD"]},
        {"op": "subscribe", "req_id": "2", "args": ["orderbook.1.USDTUSD"]},
    ],
    "bitfinex": [
        {"event": "subscribe", "channel": "ticker", "symbol": "tBTCUSD"},
        {"event": "subscribe", "channel": "ticker", "symbol": "tUSTUSD"},
    ],
    "kucoin": [
        {
            "id": name,
            "type": "subscribe",
            "topic": f"/market/ticker:{symbol}",
            "privateChannel": False,
            "response": True,
        }
        for name, symbol in (("1", "BTC-USD"), ("2", "USDT-USD"))
    ],
    "gate": [
        {
            "time": NOW,
            "id": number,
            "channel": "spot.book_ticker",
            "event": "subscribe",
            "payload": [symbol],
        }
        for number, symbol in ((1, "BTC_USD"), (2, "USDT_USD"))
    ],
    "cryptocom": [
        {
            "id": number,
            "method": "subscribe",
            "params": {"channels": [f"ticker.{symbol}"]},
            "nonce": NOW,
        }
        for number, symbol in ((1, "BTC_USD"), (2, "USDT_USD"))
    ],
    "htx": [
        {"sub": "market.btcusd.bbo", "id": "1"},
        {"sub": "market.usdtusd.bbo", "id": "2"},
    ],
    "mexc": [
        {
            "method": "SUBSCRIPTION",
            "params": [f"spot@public.aggre.bookTicker.v3.api.pb@10ms@{symbol}"],
        }
        for symbol in ("BTCUSD", "USDTUSD")
    ],
    "okx": [
        {
            "op": "subscribe",
            "args": [
                {"channel": "bbo-tbt", "instId": "BTC-USD"},
                {"channel": "bbo-tbt", "instId": "USDT-USD"},
            ],
        }
    ],
}


@pytest.mark.parametrize("name", sorted(VENUES))
def test_the_requests_are_those_of_the_exchange(name: str) -> None:
    venue = VENUES[name]
    symbols = [venue.symbol("BTC", "USD"), venue.symbol("USDT", "USD")]
    asked = venue.subscribe(symbols)
    assert [timeless(json.loads(subscription.text)) for subscription in asked] == REQUESTS[name]
    covered = [s for one in asked for keys in one.acknowledgements.values() for s in keys]
    assert sorted(covered) == sorted(symbols)


def test_application_pings_are_worded_as_the_exchanges_want_them() -> None:
    worded = {name: venue.ping.text(3) for name, venue in VENUES.items() if venue.ping}
    assert timeless(json.loads(worded.pop("gate"))) == {"time": NOW, "channel": "spot.ping"}
    assert worded == {
        "bitstamp": '{"event":"bts:heartbeat"}',
        "gemini": '{"id":1000003,"method":"ping"}',
        "kraken": '{"method":"ping","req_id":1003}',
        "okx": "ping",
        "bybit": '{"op":"ping","req_id":"ping 3"}',
        "bitfinex": '{"event":"ping","cid":3}',
        "kucoin": '{"id":"ping 3","type":"ping"}',
        "mexc": '{"method":"PING"}',
    }


def test_a_ping_is_sent_well_before_the_silence_would_count() -> None:
    for venue in VENUES.values():
        if venue.ping is not None and venue.name != "kraken":
            assert 2 * venue.ping.every_s < venue.liveness.any_frame_s
    # Kraken's own heartbeats, one a second, are its sign of life.
    assert VENUES["kraken"].liveness.any_frame_s >= 10


@pytest.mark.parametrize("name", ["binance", "mexc", "kucoin"])
def test_an_exchange_is_left_before_its_24_hours_are_over(name: str) -> None:
    rotated_s = VENUES[name].rotate_after_s
    assert rotated_s is not None
    assert rotated_s < 24 * 3600


def test_limits_of_the_exchanges_are_kept() -> None:
    # Thirty subscriptions a connection; eight messages a second, from one address.
    assert VENUES["mexc"].pairs_per_connection <= 30
    assert VENUES["bitfinex"].pairs_per_connection <= 30
    advanced = VENUES["coinbase_advanced"]
    assert advanced.request_pause_s >= 1 / 8
    asking_s = advanced.request_pause_s * advanced.pairs_per_connection
    assert asking_s < Limits().acknowledge_s
    # Before its first second is over a connection has a part of its limit only.
    assert VENUES["cryptocom"].subscribe_after_s >= 1


def bullet(**changed: object) -> bytes:
    server = {
        "endpoint": "wss://ws-api-spot.kucoin.com/",
        "protocol": "websocket",
        "encrypt": True,
        "pingInterval": 18000,
        "pingTimeout": 10000,
    }
    data = {"token": "a=b&c/d", "instanceServers": [{**server, **changed}]}
    return json.dumps({"code": "200000", "data": data}).encode()


def test_kucoin_tells_where_to_connect_and_how_often_to_ping() -> None:
    bootstrap = VENUES["kucoin"].bootstrap
    assert bootstrap is not None
    assert bootstrap.request.method == "POST"
    opening = bootstrap.read(bullet(), "c1")
    assert opening.ws_url == ("wss://ws-api-spot.kucoin.com/?token=a%3Db%26c%2Fd&connectId=c1")
    assert opening.ping_every_s == 12


@pytest.mark.parametrize(
    "body",
    [
        bullet(endpoint="https://ws-api-spot.kucoin.com/"),
        bullet(endpoint="wss://user@elsewhere.example/"),
        bullet(endpoint="wss://ws-api-spot.kucoin.com/?token=mine"),
        bullet(pingInterval=0),
        bullet(pingInterval=10**9),
        bullet(pingInterval="18000"),
        b'{"code":"400100","msg":"maintenance"}',
        b'{"code":"200000","data":null}',
        b'{"code":"200000","data":{"token":"t","instanceServers":[]}}',
        b"<html>",
    ],
)
def test_an_answer_that_does_not_tell_where_to_connect_is_refused(body: bytes) -> None:
    bootstrap = VENUES["kucoin"].bootstrap
    assert bootstrap is not None
    with pytest.raises(ValueError, match=r"\w"):
        bootstrap.read(body, "c1")
