"""Coinbase Advanced Trade: `ticker`, `market_trades` and `heartbeats`, one channel a message.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
"""

from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.clock import rfc3339_micros, rfc3339_nanos
from testnet.exchanges.decimals import plain
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import (
    CloseConnection,
    Json,
    Topic,
    Venue,
    encode,
    json_response,
    strings,
)
from testnet.exchanges.session import Session
from testnet.market import Market

_HEARTBEAT_S = 1.0
_HEARTBEATS = "heartbeats"
_NUMBER = b'"sequence_num":0'
_NEEDS_KEY = ("user", "futures_balance_summary")


class CoinbaseAdvanced(Venue):
    """Counts every message of a connection; products in USDC are those in USD by another name."""

    profile = Profile(
        venue="coinbase_advanced",
        symbol_form="{base}-{quote}",
        lag_ms=75,
        offset_ppm=40,
        pace=1.2,
        engine="coinbase",
        trade_chance=1.0,
    )
    channels = ("ticker", "market_trades")
    connects = Limit(750, 1)
    requests = Limit(10, 1)
    messages_per_s_max = 8

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.subscribe_within_s = 5.0
        self.silence_s = 60.0
        self._sent: dict[Session, int] = {}
        self._subscribed_once: set[Session] = set()
        self._heartbeats: dict[Session, int] = {}

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        kind, channel = message.get("type"), message.get("channel")
        if kind not in ("subscribe", "unsubscribe"):
            return (_error("invalid message type"),)
        if channel in _NEEDS_KEY:
            return (_error("authentication failure"),)
        if channel == _HEARTBEATS:
            self._subscribed_once.add(session)
            if kind == "unsubscribe":
                self._heartbeats.pop(session, None)
            else:
                self._heartbeats.setdefault(session, 0)
            return (self._subscriptions(session),)
        products = strings(message.get("product_ids"))
        if channel not in self.channels or not isinstance(channel, str):
            return (_error("channel field is not supported"),)
        if not products:
            return (_error("product_ids field is required"),)
        symbols = [_canonical(product) for product in products]
        if not all(symbol in self.books for symbol in symbols):
            return (_error("failure to subscribe: invalid product_ids"),)
        return self._subscription(session, str(kind), channel, symbols)

    def _subscription(
        self, session: Session, kind: str, channel: str, symbols: list[str]
    ) -> Iterable[bytes]:
        frames = []
        for symbol in symbols:
            topic = (channel, symbol)
            if kind == "unsubscribe":
                self.unsubscribe(session, topic)
            elif self.subscribe(session, topic):
                first = self._channel(channel, self.seen(symbol), "snapshot")
                frames.append(self.addressed(session, topic, first))
        self._subscribed_once.add(session)
        return [*frames, self._subscriptions(session)]

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _error("failed to parse message")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "market_trades" and not book.traded:
            return None
        return self._channel(channel, book, "update")

    @override
    def addressed(self, session: Session, topic: Topic, frame: bytes) -> bytes:
        return self._numbered(session, frame)

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if session not in self._subscribed_once:
            if now_s - session.opened_s > self.subscribe_within_s:
                raise CloseConnection(1008, "subscribe message not received in time")
            return ()
        if now_s - session.last_sent_s > self.silence_s:
            raise CloseConnection(1000, "no updates")
        if session not in self._heartbeats or now_s - session.last_ping_s < _HEARTBEAT_S:
            return ()
        session.last_ping_s = now_s
        self._heartbeats[session] += 1
        event = {
            "current_time": rfc3339_nanos(self.now_ns()),
            "heartbeat_counter": self._heartbeats[session],
        }
        return (self._numbered(session, self._envelope(_HEARTBEATS, event, self.now_ns())),)

    @override
    def forget(self, session: Session) -> None:
        self._sent.pop(session, None)
        self._heartbeats.pop(session, None)
        self._subscribed_once.discard(session)

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api/v3/brokerage/market/products/{product}/ticker", self._rest_ticker)

    async def _rest_ticker(self, request: web.Request) -> web.Response:
        book = self.shown(_canonical(request.match_info["product"]))
        if book is None:
            text = "valid product_id is required"
            body = {"error": "INVALID_ARGUMENT", "error_details": text, "message": text}
            return json_response(body, 400)
        places = book.pair.places
        return json_response(
            {
                "trades": [self._trade(book)],
                "best_bid": plain(book.bid, places),
                "best_ask": plain(book.ask, places),
            }
        )

    def _numbered(self, session: Session, frame: bytes) -> bytes:
        number = self._sent.get(session, 0)
        self._sent[session] = number + 1
        return frame.replace(_NUMBER, b'"sequence_num":%d' % number, 1)

    def _envelope(self, channel: str, event: Json, time_ns: int) -> bytes:
        return encode(
            {
                "channel": channel,
                "client_id": "",
                "timestamp": rfc3339_nanos(time_ns),
                "sequence_num": 0,
                "events": [event],
            }
        )

    def _subscriptions(self, session: Session) -> bytes:
        listed: dict[str, list[str]] = {
            channel: sorted(symbol for name, symbol in session.topics if name == channel)
            for channel in self.channels
        }
        shown = {channel: symbols for channel, symbols in listed.items() if symbols}
        if session in self._heartbeats:
            shown[_HEARTBEATS] = [_HEARTBEATS]
        frame = self._envelope("subscriptions", {"subscriptions": shown}, self.now_ns())
        return self._numbered(session, frame)

    def _channel(self, channel: str, book: Book, kind: str) -> bytes:
        if channel == "ticker":
            event: Json = {"type": kind, "tickers": [self._ticker(book)]}
        else:
            event = {"type": kind, "trades": [self._trade(book)]}
        return self._envelope(channel, event, book.time_ns)

    def _ticker(self, book: Book) -> Json:
        places = book.pair.places
        return {
            "type": "ticker",
            "product_id": book.pair.symbol,
            "price": plain(book.last, places),
            "volume_24_h": plain(book.volume, 8),
            "low_24_h": plain(book.low, places),
            "high_24_h": plain(book.high, places),
            "low_52_w": plain(book.low // 2, places),
            "high_52_w": plain(book.high * 2, places),
            "price_percent_chg_24_h": "0.00",
            "best_bid": plain(book.bid, places),
            "best_ask": plain(book.ask, places),
            "best_bid_quantity": plain(book.bid_size, 8),
            "best_ask_quantity": plain(book.ask_size, 8),
        }

    def _trade(self, book: Book) -> Json:
        return {
            "trade_id": str(book.trade_id),
            "product_id": book.pair.symbol,
            "price": plain(book.last, book.pair.places),
            "size": plain(book.last_size, 8),
            "time": rfc3339_micros(book.trade_time_ns),
            "side": "BUY" if book.buyer_is_maker else "SELL",
        }


def _canonical(product: str) -> str:
    """Return the product whose book is served under a name: BTC-USD for BTC-USDC."""
    return product.removesuffix("C") if product.endswith("-USDC") else product


def _error(text: str) -> bytes:
    return encode({"type": "error", "message": text})
