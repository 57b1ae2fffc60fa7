"""Coinbase Exchange: `ticker`, `heartbeat` and `matches`, one subscription message for all.

https://docs.cdp.coinbase.com/exchange/websocket-feed
"""

from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.clock import rfc3339_micros
from testnet.exchanges.decimals import plain
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import (
    CloseConnection,
    Json,
    Venue,
    encode,
    json_response,
    strings,
)
from testnet.exchanges.session import Session
from testnet.market import Market

_HEARTBEAT_S = 1.0
_NEEDS_KEY = ("full", "level2", "level3")


class CoinbaseExchange(Venue):
    """Tickers come with trades; whoever has not subscribed 5 s after connecting is dropped."""

    profile = Profile(
        venue="coinbase_exchange",
        lag_ms=60,
        offset_ppm=40,
        pace=1.2,
        symbol_form="{base}-{quote}",
        engine="coinbase",
        trade_chance=1.0,
    )
    channels = ("ticker", "matches", "heartbeat")
    connects = Limit(20, 2.5)
    requests = Limit(10, 1)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.subscribe_within_s = 5.0
        self._subscribed_once: set[Session] = set()

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        kind = message.get("type")
        if kind not in ("subscribe", "unsubscribe"):
            return (_error("Failed to parse message", f"{kind} is not a valid type"),)
        wanted = self._wanted(message)
        if isinstance(wanted, str):
            return (_error(f"Failed to {kind}", wanted),)
        frames: list[bytes] = []
        for topic in wanted:
            if kind == "unsubscribe":
                self.unsubscribe(session, topic)
            elif self.subscribe(session, topic) and topic[0] == "ticker":
                frames.append(self._ticker(self.seen(topic[1])))
        if kind == "subscribe":
            self._subscribed_once.add(session)
        return (self._subscriptions(session), *frames)

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _error("Malformed JSON", "")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "ticker":
            return self._ticker(book)
        if channel == "matches":
            return self._match(book)
        return None

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if session not in self._subscribed_once:
            if now_s - session.opened_s > self.subscribe_within_s:
                raise CloseConnection(1008, "subscribe message not received in time")
            return ()
        products = [symbol for channel, symbol in session.topics if channel == "heartbeat"]
        if not products or now_s - session.last_ping_s < _HEARTBEAT_S:
            return ()
        session.last_ping_s = now_s
        return [self._heartbeat(self.seen(symbol)) for symbol in products]

    @override
    def forget(self, session: Session) -> None:
        self._subscribed_once.discard(session)

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/products/{product}/ticker", self._rest_ticker)

    async def _rest_ticker(self, request: web.Request) -> web.Response:
        if "User-Agent" not in request.headers:
            return json_response({"message": "User-Agent header is required."}, 400)
        book = self.shown(request.match_info["product"])
        if book is None:
            return json_response({"message": "NotFound"}, 404)
        pair = book.pair
        return json_response(
            {
                "ask": plain(book.ask, pair.places),
                "bid": plain(book.bid, pair.places),
                "volume": plain(book.volume, 8),
                "trade_id": book.trade_id,
                "price": plain(book.last, pair.places),
                "size": plain(book.last_size, 8),
                "time": rfc3339_micros(book.trade_time_ns),
            }
        )

    def _wanted(self, message: Json) -> list[tuple[str, str]] | str:
        """Return the topics that a message names, or what is wrong with it."""
        products = strings(message.get("product_ids", []))
        channels = message.get("channels")
        if products is None or not isinstance(channels, list) or not channels:
            return "channels and product_ids must be lists"
        topics = []
        for entry in channels[:100]:
            name, named = entry, products
            if isinstance(entry, dict):
                name = entry.get("name")
                named = strings(entry.get("product_ids", products)) or []
            if name in _NEEDS_KEY:
                return f"{name} requires authentication"
            if name not in self.channels:
                return f"{name} is not a valid channel"
            if not named:
                return "product_ids must be provided"
            for product in named:
                if product not in self.books:
                    return f"{product} is not a valid product"
                topics.append((name, product))
        return topics

    def _subscriptions(self, session: Session) -> bytes:
        listed = [
            {
                "name": channel,
                "product_ids": sorted(s for c, s in session.topics if c == channel),
                "account_ids": None,
            }
            for channel in self.channels
        ]
        shown = [entry for entry in listed if entry["product_ids"]]
        return encode({"type": "subscriptions", "channels": shown})

    def _ticker(self, book: Book) -> bytes:
        places = book.pair.places
        return encode(
            {
                "type": "ticker",
                "sequence": book.sequence,
                "product_id": book.pair.symbol,
                "price": plain(book.last, places),
                "open_24h": plain(book.open, places),
                "volume_24h": plain(book.volume, 8),
                "low_24h": plain(book.low, places),
                "high_24h": plain(book.high, places),
                "volume_30d": plain(book.volume * 27, 8),
                "best_bid": plain(book.bid, places),
                "best_bid_size": plain(book.bid_size, 8),
                "best_ask": plain(book.ask, places),
                "best_ask_size": plain(book.ask_size, 8),
                "side": "sell" if book.buyer_is_maker else "buy",
                "time": rfc3339_micros(book.trade_time_ns),
                "trade_id": book.trade_id,
                "last_size": plain(book.last_size, 8),
            }
        )

    def _match(self, book: Book) -> bytes:
        return encode(
            {
                "type": "match",
                "trade_id": book.trade_id,
                "maker_order_id": f"00000000-0000-4000-8000-{book.sequence:012x}",
                "taker_order_id": f"00000000-0000-4000-8000-{book.sequence + 1:012x}",
                # A match tells the maker's side, a ticker the taker's.
                "side": "buy" if book.buyer_is_maker else "sell",
                "size": plain(book.last_size, 8),
                "price": plain(book.last, book.pair.places),
                "product_id": book.pair.symbol,
                "sequence": book.sequence,
                "time": rfc3339_micros(book.trade_time_ns),
            }
        )

    def _heartbeat(self, book: Book) -> bytes:
        return encode(
            {
                "type": "heartbeat",
                "last_trade_id": book.trade_id,
                "product_id": book.pair.symbol,
                "sequence": book.sequence,
                "time": rfc3339_micros(self.now_ns()),
            }
        )


def _error(message: str, reason: str) -> bytes:
    return encode({"type": "error", "message": message, "reason": reason})
