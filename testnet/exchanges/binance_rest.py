"""REST tickers of Binance's API v3, which MEXC's is a copy of."""

from collections.abc import Callable

from aiohttp import web

from testnet.exchanges.book import Book
from testnet.exchanges.decimals import ONE, plain
from testnet.exchanges.server import Json, Venue, json_response

_DAY_MS = 86_400_000


def rest_tickers(venue: Venue, request: web.Request, entry: Callable[[Book], Json]) -> web.Response:
    """Answer with the entry of one symbol, or of all if none is named."""
    symbol = request.query.get("symbol")
    if symbol is None:
        return json_response([entry(venue.seen(each)) for each in venue.books])
    book = venue.shown(symbol)
    if book is None:
        return json_response({"code": -1121, "msg": "Invalid symbol."}, 400)
    return json_response(entry(book))


def best_prices(book: Book) -> Json:
    """Return an entry of `/ticker/bookTicker`."""
    pair = book.pair
    return {
        "symbol": pair.symbol,
        "bidPrice": plain(book.bid, pair.places),
        "bidQty": plain(book.bid_size, pair.size_places),
        "askPrice": plain(book.ask, pair.places),
        "askQty": plain(book.ask_size, pair.size_places),
    }


def day_ticker(book: Book) -> Json:
    """Return an entry of `/ticker/24hr`."""
    places = book.pair.places
    time_ms = book.time_ns // 1_000_000
    return {
        **best_prices(book),
        "priceChange": "0",
        "priceChangePercent": "0",
        "weightedAvgPrice": plain((book.high + book.low) // 2, places),
        "prevClosePrice": plain(book.open, places),
        "lastPrice": plain(book.last, places),
        "lastQty": plain(book.last_size, book.pair.size_places),
        "openPrice": plain(book.open, places),
        "highPrice": plain(book.high, places),
        "lowPrice": plain(book.low, places),
        "volume": plain(book.volume, book.pair.size_places),
        "quoteVolume": plain(book.volume * book.last // ONE, 2),
        "openTime": time_ms - _DAY_MS,
        "closeTime": time_ms,
        "count": book.trade_id % 100_000,
    }
