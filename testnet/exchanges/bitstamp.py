"""Bitstamp, WebSocket API v2: `order_book_<pair>` with 100 levels a side and `live_trades_<pair>`.

https://www.bitstamp.net/websocket/v2/
"""

from collections.abc import Iterable, Iterator

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import ONE, plain
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import Json, Venue, encode, json_response, number
from testnet.exchanges.session import Session
from testnet.market import Market
from testnet.noise import seeded_random

_LEVELS = 100
_LEVEL_STEP_PPM = 15
_LADDER_SIZES = 512


class Bitstamp(Venue):
    """Sends nothing but acknowledgements, books and trades; a heartbeat only when asked."""

    profile = Profile(
        venue="bitstamp",
        lag_ms=180,
        offset_ppm=70,
        pace=0.5,
        symbol_form="{base}{quote}",
        lower_case=True,
        spread_percent=350,
    )
    channels = ("order_book", "live_trades")
    requests = Limit(400, 1)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        chance = seeded_random("bitstamp ladder", market.seed)
        self._sizes = [
            plain(chance.randrange(ONE // 100, 3 * ONE), 8) for _ in range(_LADDER_SIZES)
        ]

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        event = message.get("event")
        if event == "bts:heartbeat":
            body = {"event": event, "channel": "", "data": {"status": "success"}}
            return (encode(body),)
        if event not in ("bts:subscribe", "bts:unsubscribe"):
            return (_error("Bad event string."),)
        data = message.get("data")
        name = data.get("channel") if isinstance(data, dict) else None
        topic = self._topic(name)
        if topic is None:
            return (_error("Bad subscription string."),)
        if event == "bts:unsubscribe":
            self.unsubscribe(session, topic)
            return (_succeeded("unsubscription", str(name)),)
        fresh = self.subscribe(session, topic)
        frames = [_succeeded("subscription", str(name))]
        if fresh and topic[0] == "order_book":
            frames.append(self._order_book(self.seen(topic[1])))
        return frames

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _error("Incorrect JSON format.")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "order_book":
            return self._order_book(book)
        return self._trade(book) if book.traded else None

    @override
    def farewell(self) -> bytes:
        return encode({"event": "bts:request_reconnect", "channel": "", "data": ""})

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        for path in ("/api/v2/ticker/{pair}/", "/api/v2/ticker/{pair}"):
            router.add_get(path, self._rest_ticker)

    async def _rest_ticker(self, request: web.Request) -> web.Response:
        book = self.shown(request.match_info["pair"])
        if book is None:
            return web.Response(status=404, text="<h1>404 Not Found</h1>", content_type="text/html")
        places = book.pair.places
        return json_response(
            {
                "timestamp": str(book.time_ns // 1_000_000_000),
                "open": plain(book.open, places),
                "high": plain(book.high, places),
                "low": plain(book.low, places),
                "last": plain(book.last, places),
                "volume": plain(book.volume, 8),
                "vwap": plain((book.high + book.low) // 2, places),
                "bid": plain(book.bid, places),
                "ask": plain(book.ask, places),
                "side": "1" if book.buyer_is_maker else "0",
                "open_24": plain(book.open, places),
                "percent_change_24": "0.00",
            }
        )

    def _topic(self, name: object) -> tuple[str, str] | None:
        """Return the topic of a channel's name such as `order_book_btcusd`."""
        if not isinstance(name, str):
            return None
        channel, _, symbol = name.rpartition("_")
        known = channel in self.channels and symbol in self.books
        return (channel, symbol) if known else None

    def _order_book(self, book: Book) -> bytes:
        micros = book.time_ns // 1_000
        return encode(
            {
                "data": {
                    "timestamp": str(micros // 1_000_000),
                    "microtimestamp": str(micros),
                    "bids": list(self._ladder(book, book.bid, book.bid_size, -1)),
                    "asks": list(self._ladder(book, book.ask, book.ask_size, 1)),
                },
                "channel": f"order_book_{book.pair.symbol}",
                "event": "data",
            }
        )

    def _ladder(self, book: Book, best: int, size: int, sign: int) -> Iterator[tuple[str, str]]:
        """Yield the levels of one side, best first."""
        places = book.pair.places
        yield plain(best, places), plain(size, 8)
        unit = 10 ** (12 - places)
        steps = max(best * _LEVEL_STEP_PPM // 1_000_000 // unit, 1)
        # In whole ticks, because a hundred levels are printed for each update.
        best_ticks = best // unit
        scale = 10**places
        for level in range(1, _LEVELS):
            ticks = best_ticks + sign * steps * level
            if ticks <= 0:
                return
            whole, part = divmod(ticks, scale)
            price = f"{whole}.{part:0{places}d}" if places else f"{whole}"
            yield price, self._sizes[(book.sequence + level) % _LADDER_SIZES]

    def _trade(self, book: Book) -> bytes:
        micros = book.trade_time_ns // 1_000
        price, amount = plain(book.last, book.pair.places), plain(book.last_size, 8)
        return encode(
            {
                "data": {
                    "id": book.trade_id,
                    "timestamp": str(micros // 1_000_000),
                    "amount": number(amount),
                    "amount_str": amount,
                    "price": number(price),
                    "price_str": price,
                    "type": 1 if book.buyer_is_maker else 0,
                    "microtimestamp": str(micros),
                    "buy_order_id": book.sequence * 1_000,
                    "sell_order_id": book.sequence * 1_000 + 1,
                },
                "channel": f"live_trades_{book.pair.symbol}",
                "event": "trade",
            }
        )


def _succeeded(what: str, channel: str) -> bytes:
    return encode({"event": f"bts:{what}_succeeded", "channel": channel, "data": {}})


def _error(text: str) -> bytes:
    return encode({"event": "bts:error", "channel": "", "data": {"code": None, "message": text}})
