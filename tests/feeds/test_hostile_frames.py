"""Whatever an exchange sends, decoding gives typed results and raises nothing."""

import gzip
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from feeds.frames import (
    Acknowledged,
    Alive,
    Gap,
    Greeting,
    Price,
    Reconnect,
    Refused,
    Reply,
    Trading,
    Undecodable,
    told,
)
from feeds.venues import VENUES
from testnet.exchanges.protobuf import length_delimited, text, varint

TYPES = (
    *(Acknowledged, Alive, Gap, Greeting, Price, Reconnect, Refused, Reply, Trading),
    Undecodable,
)
VENUE_NAMES = sorted(VENUES)

WORDS = [
    "type", "ticker", "channel", "data", "symbol", "bid", "ask", "event", "arg", "instId", "ts",
    "bbo-tbt", "s", "b", "a", "u", "E", "e", "id", "result", "error", "msg", "code", "method",
    "success", "status", "subscribe", "order_book_btcusd", "bids", "asks", "microtimestamp",
    "sequence", "product_id", "price", "best_bid", "best_ask", "time", "timestamp", "stream",
    "topic", "tick", "ch", "ping", "subbed", "events", "tickers", "heartbeats", "chanId", "hb",
    "welcome", "message", "/market/ticker:X", "orderbook.1.X", "spot.book_ticker",
    "public/heartbeat",
    "serverShutdown", "system", "notice", "64008", "channels", "product_ids", "subscriptions",
]  # fmt: skip

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
    st.sampled_from(["1.5", "0", "-1", "1e400", "NaN", "", "2026-08-12T19:29:02.066592Z"]),
    st.text(max_size=20),
)
values: SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    ),
    max_leaves=20,
)


@given(st.sampled_from(VENUE_NAMES), st.text(max_size=200))
def test_any_text_gives_typed_results(venue: str, frame: str) -> None:
    assert all(isinstance(decoded, TYPES) for decoded in VENUES[venue].decode(frame))


@given(st.sampled_from(VENUE_NAMES), values)
def test_any_json_gives_typed_results(venue: str, value: Any) -> None:
    for decoded in VENUES[venue].decode(json.dumps(value)):
        assert isinstance(decoded, TYPES)
        if isinstance(decoded, Price):
            assert decoded.bid >= 0
            assert decoded.ask >= 0


@given(st.sampled_from(VENUE_NAMES), st.binary(max_size=200))
def test_any_bytes_give_typed_results(venue: str, frame: bytes) -> None:
    assert all(isinstance(decoded, TYPES) for decoded in VENUES[venue].decode(frame))


@given(values)
def test_any_json_in_gzip_gives_typed_results(value: Any) -> None:
    frame = gzip.compress(json.dumps(value).encode(), compresslevel=1)
    assert all(isinstance(decoded, TYPES) for decoded in VENUES["htx"].decode(frame))


fields: SearchStrategy[bytes] = st.one_of(
    st.builds(varint, st.sampled_from([1, 3, 6, 315]), st.integers(0, 2**64 - 1)),
    st.builds(text, st.sampled_from([1, 3, 6, 315]), st.text(max_size=20)),
    st.builds(
        lambda inner: length_delimited(315, b"".join(inner)),
        st.lists(
            st.builds(text, st.sampled_from([1, 3, 5]), st.sampled_from(["1.5", "", "-1", "x"])),
            max_size=4,
        ),
    ),
    st.just(text(1, "spot@public.aggre.bookTicker.v3.api.pb@10ms@X") + text(3, "X")),
)


@given(st.lists(fields, max_size=6))
def test_any_fields_in_protocol_buffers_give_typed_results(parts: list[bytes]) -> None:
    for decoded in VENUES["mexc"].decode(b"".join(parts)):
        assert isinstance(decoded, TYPES)
        if isinstance(decoded, Price):
            assert (decoded.bid, decoded.ask) <= (15 * 10**11, 15 * 10**11)


@pytest.mark.parametrize("venue", VENUE_NAMES)
@pytest.mark.parametrize(
    "frame",
    [
        "",
        "null",
        "[" * 100_000,
        '{"data":' * 50_000,
        '{"type":"ticker","x":' + "[" * 100_000,
        "9" * 100_000,
        '{"a":"\ud800"}',
        "\x00",
    ],
)
def test_pathological_text_is_undecodable(venue: str, frame: str) -> None:
    (decoded,) = VENUES[venue].decode(frame)
    assert isinstance(decoded, Undecodable)
    assert len(decoded.reason) <= 200


@given(st.text())
def test_what_is_told_fits_a_log_line(text: str) -> None:
    assert told(text).isprintable()
    assert 0 < len(told(text)) <= 200


prices = st.decimals(min_value=0, max_value=10**9, places=12, allow_nan=False)


@given(prices)
def test_numbers_are_exact_to_the_last_digit(price: Decimal) -> None:
    token = f"{price:f}"
    scaled = int(price.scaleb(12))
    (number,) = VENUES["kraken"].decode(
        '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":'
        f'{token},"ask":{token},"last":1,"timestamp":"2026-08-12T19:29:02.066592Z"}}]}}'
    )
    (string,) = VENUES["binance"].decode(f'{{"u":1,"s":"BTCUSDT","b":"{token}","a":"{token}"}}')
    assert isinstance(number, Price)
    assert isinstance(string, Price)
    assert number.bid == number.ask == string.bid == string.ask == scaled


def test_a_number_that_floats_cannot_hold_is_kept() -> None:
    token = "123456789012345.678901234567"
    (decoded,) = VENUES["kraken"].decode(
        '{"channel":"ticker","data":[{"symbol":"X/USD","bid":' + token + ',"ask":' + token + ","
        '"timestamp":"2026-08-12T19:29:02.066592Z"}]}'
    )
    assert isinstance(decoded, Price)
    assert decoded.bid == 123456789012345678901234567
    assert Decimal(float(token)) != Decimal(token)
