"""OKX, WebSocket API v5: `bbo-tbt`, `tickers` and `trades` on the public path.

https://www.okx.com/docs-v5/en/#overview-websocket
"""

from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import plain, shortest
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import CloseConnection, Json, Venue, encode, json_response
from testnet.exchanges.session import Session
from testnet.market import Market
from testnet.noise import derive_seed

_NO_DATA = 4004


class Okx(Venue):
    """Hangs up on a connection over which nothing was pushed for 30 s; `ping` is bare text."""

    profile = Profile(
        venue="okx",
        lag_ms=80,
        offset_ppm=40,
        pace=1.6,
        symbol_form="{base}-{quote}",
    )
    channels = ("bbo-tbt", "tickers", "trades")
    ws_paths = ("/ws/v5/public", "/")
    connects = Limit(3, 1)
    requests = Limit(20, 2)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.silence_s = 30.0
        self._seed = market.seed
        self._connection_ids: dict[Session, str] = {}

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        number = derive_seed("okx connection", self._seed, self.connections_total)
        self._connection_ids[session] = f"{number % 2**32:08x}"
        return ()

    @override
    def forget(self, session: Session) -> None:
        self._connection_ids.pop(session, None)

    @override
    def on_text(self, session: Session, text: str) -> Iterable[bytes]:
        if text == "ping":
            return (b"pong",)
        return super().on_text(session, text)

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        operation = message.get("op")
        arguments = message.get("args")
        if operation not in ("subscribe", "unsubscribe"):
            return (self._error(session, "60019", f"Invalid op: {str(operation)[:64]}"),)
        if not isinstance(arguments, list) or not arguments:
            return (self._error(session, "60013", "Invalid args"),)
        frames: list[bytes] = []
        for argument in arguments:
            frames += self._one(session, str(operation), argument)
        return frames

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return self._error(session, "60012", f"Invalid request: {text[:200]}")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "bbo-tbt":
            data: Json = self._top(book)
        elif channel == "tickers":
            data = self._ticker(book)
        elif book.traded:
            data = self._trade(book)
        else:
            return None
        return encode({"arg": {"channel": channel, "instId": book.pair.symbol}, "data": [data]})

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if now_s - session.last_sent_s > self.silence_s:
            raise CloseConnection(_NO_DATA, "No data received in 30s.")
        return ()

    @override
    def farewell(self) -> bytes:
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        return encode({"event": "notice", "code": "64008", "msg": text})

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api/v5/market/ticker", self._rest_ticker)

    async def _rest_ticker(self, request: web.Request) -> web.Response:
        book = self.shown(request.query.get("instId"))
        if book is None:
            text = "Instrument ID doesn't exist."
            return json_response({"code": "51001", "msg": text, "data": []})
        return json_response({"code": "0", "msg": "", "data": [self._ticker(book)]})

    def _one(self, session: Session, operation: str, argument: object) -> Iterable[bytes]:
        if not isinstance(argument, dict):
            return (self._error(session, "60013", "Invalid args"),)
        channel, symbol = argument.get("channel"), argument.get("instId")
        if channel not in self.channels or not (isinstance(symbol, str) and symbol in self.books):
            what = f"channel:{str(channel)[:64]},instId:{str(symbol)[:64]}"
            text = (
                f"Wrong URL or {what} doesn't exist. Please use the correct URL, channel and "
                "parameters referring to API document."
            )
            return (self._error(session, "60018", text),)
        answer = encode(
            {
                "event": operation,
                "arg": {"channel": channel, "instId": symbol},
                "connId": self._connection_ids[session],
            }
        )
        if operation == "unsubscribe":
            self.unsubscribe(session, (channel, symbol))
            return (answer,)
        self.subscribe(session, (channel, symbol))
        first = self.first((channel, symbol))
        return (answer,) if first is None else (answer, first)

    def _error(self, session: Session, code: str, text: str) -> bytes:
        connection = self._connection_ids[session]
        return encode({"event": "error", "code": code, "msg": text, "connId": connection})

    def _top(self, book: Book) -> Json:
        places = book.pair.places
        return {
            "asks": [[plain(book.ask, places), shortest(book.ask_size), "0", "3"]],
            "bids": [[plain(book.bid, places), shortest(book.bid_size), "0", "5"]],
            "ts": str(book.time_ns // 1_000_000),
            "seqId": book.sequence,
        }

    def _ticker(self, book: Book) -> Json:
        places = book.pair.places
        return {
            "instType": "SPOT",
            "instId": book.pair.symbol,
            "last": plain(book.last, places),
            "lastSz": shortest(book.last_size),
            "askPx": plain(book.ask, places),
            "askSz": shortest(book.ask_size),
            "bidPx": plain(book.bid, places),
            "bidSz": shortest(book.bid_size),
            "open24h": plain(book.open, places),
            "high24h": plain(book.high, places),
            "low24h": plain(book.low, places),
            "sodUtc0": plain(book.open, places),
            "sodUtc8": plain(book.open, places),
            "volCcy24h": shortest(book.volume * book.last // 10**12),
            "vol24h": shortest(book.volume),
            "ts": str(book.time_ns // 1_000_000),
        }

    def _trade(self, book: Book) -> Json:
        return {
            "instId": book.pair.symbol,
            "tradeId": str(book.trade_id),
            "px": plain(book.last, book.pair.places),
            "sz": shortest(book.last_size),
            "side": "sell" if book.buyer_is_maker else "buy",
            "ts": str(book.trade_time_ns // 1_000_000),
            "count": "1",
        }
