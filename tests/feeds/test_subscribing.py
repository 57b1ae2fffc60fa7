"""What each venue is asked for, and which answers it owes."""

import json

import pytest

from feeds.venues import VENUES

REQUESTS = {
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
    assert [json.loads(subscription.text) for subscription in asked] == REQUESTS[name]
    covered = [s for one in asked for keys in one.acknowledgements.values() for s in keys]
    assert sorted(covered) == sorted(symbols)


def test_application_pings_are_worded_as_the_exchanges_want_them() -> None:
    worded = {name: venue.ping.text(3) for name, venue in VENUES.items() if venue.ping}
    assert worded == {
        "bitstamp": '{"event":"bts:heartbeat"}',
        "gemini": '{"id":1000003,"method":"ping"}',
        "kraken": '{"method":"ping","req_id":1003}',
        "okx": "ping",
    }


def test_a_ping_is_sent_well_before_the_silence_would_count() -> None:
    for venue in VENUES.values():
        if venue.ping is not None and venue.name != "kraken":
            assert 2 * venue.ping.every_s < venue.liveness.any_frame_s
    # Kraken's own heartbeats, one a second, are its sign of life.
    assert VENUES["kraken"].liveness.any_frame_s >= 10


def test_binance_is_left_before_its_24_hours_are_over() -> None:
    assert VENUES["binance"].rotate_after_s is not None
    assert VENUES["binance"].rotate_after_s < 24 * 3600
