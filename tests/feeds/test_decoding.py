"""Every venue's frames, as the exchanges document or send them, and what they mean."""

import pytest

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Alive,
    Decoded,
    Price,
    Reconnect,
    Refused,
    Trading,
    Undecodable,
)
from feeds.venues import VENUES

UNIT = 10**12

COINBASE_TICKER = (
    '{"type":"ticker","sequence":50978628538,"product_id":"BTC-USD","price":"17165.16",'
    '"open_24h":"16869","volume_24h":"42492.05081975","best_bid":"17165.15",'
    '"best_bid_size":"0.61540890","best_ask":"17167.76","best_ask_size":"0.18528568",'
    '"side":"sell","time":"2022-12-01T00:00:00.122581Z","trade_id":463751434,"last_size":"0.1"}'
)
KRAKEN_TICKER = (
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":63297.7,'
    '"bid_qty":5.45673101,"ask":63297.8,"ask_qty":0.36974422,"last":63297.8,'
    '"volume":1020.88391276,"vwap":63685.7,"low":63250,"high":64409.2,"change":0.7,'
    '"change_pct":0,"trades":47536,"timestamp":"2026-08-12T19:29:02.066592Z"}]}'
)
BITSTAMP_BOOK = (
    '{"data":{"timestamp":"1574865238","microtimestamp":"1574865238689641",'
    '"bids":[["819.9","0.922"],["819.8","1"]],"asks":[["821.7","2.89"]]},'
    '"event":"data","channel":"order_book_btcusd"}'
)
GEMINI_TICKER = (
    '{"u":1764549594389752,"E":1783981140076872200,"s":"xrpgusd","b":"1.0614900",'
    '"B":"958.69148000","a":"1.0615000","A":"38.39060000","c":"1.0612500","C":"4.71027100"}'
)
BINANCE_TICKER = (
    '{"u":98494969448,"s":"BTCUSDT","b":"63704.00000000","B":"4.77471000",'
    '"a":"63704.01000000","A":"11.33198000"}'
)
OKX_TOP = (
    '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["8476.98","415","0",'
    '"13"]],"bids":[["8476.97","256","0","12"]],"ts":"1597026383085","seqId":123456}]}'
)

TABLE: list[tuple[str, str, list[Decoded]]] = [
    (
        "coinbase_exchange",
        COINBASE_TICKER,
        [
            Price(
                "BTC-USD",
                bid=1716515 * UNIT // 100,
                ask=1716776 * UNIT // 100,
                last=1716516 * UNIT // 100,
                exchange_time_ms=1669852800122,
                sequence=50978628538,
            )
        ],
    ),
    (
        "coinbase_exchange",
        '{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD","ETH-USD"],'
        '"account_ids":null},{"name":"heartbeat","product_ids":["BTC-USD","ETH-USD"]}]}',
        [Acknowledged("BTC-USD"), Acknowledged("ETH-USD")],
    ),
    ("coinbase_exchange", '{"type":"subscriptions","channels":[]}', [ALIVE]),
    (
        "coinbase_exchange",
        '{"type":"heartbeat","last_trade_id":1,"product_id":"BTC-USD","sequence":2,'
        '"time":"2026-09-30T01:34:19.000000Z"}',
        [Alive(1790732059000)],
    ),
    (
        "coinbase_exchange",
        '{"type":"error","message":"Failed to subscribe",'
        '"reason":"ETH-XYZ is not a valid product"}',
        [Refused("ETH-XYZ", "Failed to subscribe: ETH-XYZ is not a valid product")],
    ),
    (
        "coinbase_exchange",
        '{"type":"error","message":"ErrSlowConsume"}',
        [Refused(None, "ErrSlowConsume: ")],
    ),
    ("coinbase_exchange", '{"type":"a kind of next year"}', [ALIVE]),
    (
        "kraken",
        KRAKEN_TICKER,
        [
            Price(
                "BTC/USD",
                bid=632977 * UNIT // 10,
                ask=632978 * UNIT // 10,
                last=632978 * UNIT // 10,
                exchange_time_ms=1786562942066,
            )
        ],
    ),
    (
        "kraken",
        '{"channel":"status","type":"update","data":[{"system":"online","api_version":"v2",'
        '"connection_id":1,"version":"2.0.9"}]}',
        [Trading(True, "the exchange says 'online'")],
    ),
    (
        "kraken",
        '{"channel":"status","type":"update","data":[{"system":"maintenance"}]}',
        [Trading(False, "the exchange says 'maintenance'")],
    ),
    ("kraken", '{"channel":"heartbeat"}', [ALIVE]),
    (
        "kraken",
        '{"method":"subscribe","req_id":1,"result":{"channel":"ticker","event_trigger":"bbo",'
        '"snapshot":true,"symbol":"BTC/USD"},"success":true,"time_in":"2026-08-12T19:29:02.0Z",'
        '"time_out":"2026-08-12T19:29:02.1Z"}',
        [Acknowledged("BTC/USD")],
    ),
    (
        "kraken",
        '{"error":"Currency pair not supported XXX/USD","method":"subscribe","req_id":1,'
        '"success":false,"symbol":"XXX/USD"}',
        [Refused("XXX/USD", "Currency pair not supported XXX/USD")],
    ),
    (
        "kraken",
        '{"method":"pong","req_id":1001,"time_in":"2026-08-12T19:29:02.0Z",'
        '"time_out":"2026-08-12T19:29:02.1Z"}',
        [Alive(1786562942100)],
    ),
    (
        "bitstamp",
        BITSTAMP_BOOK,
        [
            Price(
                "btcusd",
                bid=8199 * UNIT // 10,
                ask=8217 * UNIT // 10,
                exchange_time_ms=1574865238689,
            )
        ],
    ),
    (
        "bitstamp",
        '{"data":{"microtimestamp":"1574865238689641","bids":[],"asks":[["821.7","2.89"]]},'
        '"event":"data","channel":"order_book_btcusd"}',
        [Price("btcusd", bid=0, ask=8217 * UNIT // 10, exchange_time_ms=1574865238689)],
    ),
    (
        "bitstamp",
        '{"event":"bts:subscription_succeeded","channel":"order_book_btcusd","data":{}}',
        [Acknowledged("order_book_btcusd")],
    ),
    (
        "bitstamp",
        '{"event":"bts:request_reconnect","channel":"","data":""}',
        [Reconnect("the exchange asks for a new connection")],
    ),
    (
        "bitstamp",
        '{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad channel."}}',
        [Refused(None, "Bad channel.")],
    ),
    (
        "bitstamp",
        '{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}',
        [ALIVE],
    ),
    (
        "gemini",
        GEMINI_TICKER,
        [
            Price(
                "xrpgusd",
                bid=10614900 * UNIT // 10**7,
                ask=10615000 * UNIT // 10**7,
                last=10612500 * UNIT // 10**7,
                exchange_time_ms=1783981140076,
                sequence=1764549594389752,
            )
        ],
    ),
    (
        "gemini",
        '{"u":1,"E":1783981140076872200,"s":"solusd","b":"","B":"","a":"5","A":"1"}',
        [Price("solusd", bid=0, ask=5 * UNIT, exchange_time_ms=1783981140076, sequence=1)],
    ),
    ("gemini", '{"id":1,"status":200,"result":null}', [Acknowledged("1")]),
    ("gemini", '{"id":"2","result":null}', [Acknowledged("2")]),
    (
        "gemini",
        '{"id":"1","status":400,"error":{"code":-1013,"msg":"Invalid parameters"}}',
        [Refused("1", "status 400: Invalid parameters")],
    ),
    (
        "binance",
        BINANCE_TICKER,
        [Price("BTCUSDT", bid=63704 * UNIT, ask=6370401 * UNIT // 100, sequence=98494969448)],
    ),
    (
        "binance",
        f'{{"stream":"btcusdt@bookTicker","data":{BINANCE_TICKER}}}',
        [Price("BTCUSDT", bid=63704 * UNIT, ask=6370401 * UNIT // 100, sequence=98494969448)],
    ),
    ("binance", '{"result":null,"id":1}', [Acknowledged("1")]),
    (
        "binance",
        '{"error":{"code":2,"msg":"Invalid request: unknown stream"},"id":1}',
        [Refused("1", "Invalid request: unknown stream")],
    ),
    (
        "binance",
        '{"code":-1121,"msg":"Invalid symbol.","id":1}',
        [Refused("1", "Invalid symbol.")],
    ),
    (
        "binance",
        '{"e":"serverShutdown","E":1770123456789}',
        [Reconnect("the exchange announces a restart")],
    ),
    (
        "binance",
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
        [Reconnect("the exchange announces a restart")],
    ),
    (
        "okx",
        OKX_TOP,
        [
            Price(
                "BTC-USDT",
                bid=847697 * UNIT // 100,
                ask=847698 * UNIT // 100,
                exchange_time_ms=1597026383085,
                sequence=123456,
            )
        ],
    ),
    (
        "okx",
        '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},'
        '"data":[{"asks":[["5","1","0","1"]],"bids":[],"ts":"7","seqId":8}]}',
        [Price("BTC-USDT", bid=0, ask=5 * UNIT, exchange_time_ms=7, sequence=8)],
    ),
    ("okx", "pong", [ALIVE]),
    (
        "okx",
        '{"event":"subscribe","arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"connId":"a4d3ae55"}',
        [Acknowledged("BTC-USDT")],
    ),
    (
        "okx",
        '{"event":"error","code":"60018","msg":"Wrong URL or channel:bbo-tbt,instId:XXX-USDT '
        'doesn\'t exist.","connId":"a4d3ae55"}',
        [Refused("XXX-USDT", "60018 Wrong URL or channel:bbo-tbt,instId:XXX-USDT doesn't exist.")],
    ),
    (
        "okx",
        '{"event":"notice","code":"64008","msg":"The connection will soon be closed.",'
        '"connId":"a4d3ae55"}',
        [Reconnect("The connection will soon be closed.")],
    ),
    ("okx", '{"event":"channel-conn-count","channel":"bbo-tbt","connCount":"2"}', [ALIVE]),
]


@pytest.mark.parametrize(("venue", "frame", "meaning"), TABLE)
def test_a_frame_means_what_the_exchange_says(
    venue: str, frame: str, meaning: list[Decoded]
) -> None:
    assert list(VENUES[venue].decode(frame)) == meaning


BROKEN = [
    ("coinbase_exchange", COINBASE_TICKER.replace('"17165.15"', "17165.15")),
    ("coinbase_exchange", COINBASE_TICKER.replace('"17165.15"', '"-17165.15"')),
    ("coinbase_exchange", COINBASE_TICKER.replace('"17165.15"', '"NaN"')),
    ("coinbase_exchange", COINBASE_TICKER.replace('"17165.15"', '"1e99"')),
    ("coinbase_exchange", COINBASE_TICKER.replace('"17165.15"', '"17165,15"')),
    ("coinbase_exchange", COINBASE_TICKER.replace("50978628538", "-1")),
    ("coinbase_exchange", COINBASE_TICKER.replace("50978628538", "9223372036854775808")),
    ("coinbase_exchange", COINBASE_TICKER.replace("50978628538", "1.5")),
    ("coinbase_exchange", COINBASE_TICKER.replace("00:00:00.122581Z", "00:00:00.122581")),
    ("coinbase_exchange", COINBASE_TICKER.replace("2022-12-01", "2022-13-01")),
    ("coinbase_exchange", '{"type":"ticker"}'),
    ("coinbase_exchange", '{"type":7}'),
    ("kraken", KRAKEN_TICKER.replace('"bid":63297.7', '"bid":"63297.7"')),
    ("kraken", KRAKEN_TICKER.replace('"bid":63297.7', '"bid":null')),
    ("kraken", KRAKEN_TICKER.replace('"bid":63297.7', '"bid":-1')),
    ("kraken", KRAKEN_TICKER.replace('"bid":63297.7', '"bid":1e80')),
    ("kraken", KRAKEN_TICKER.replace('"bid":63297.7', '"bid":0.1234567890123')),
    ("kraken", KRAKEN_TICKER.replace('"bid":63297.7', '"bid":[63297.7]')),
    ("kraken", '{"channel":"ticker"}'),
    ("kraken", "{}"),
    ("bitstamp", BITSTAMP_BOOK.replace('["819.9","0.922"]', "[819.9,0.922]")),
    ("bitstamp", BITSTAMP_BOOK.replace('["819.9","0.922"]', "[]")),
    ("bitstamp", BITSTAMP_BOOK.replace('"1574865238689641"', '"1_574"')),
    ("bitstamp", BITSTAMP_BOOK.replace('"1574865238689641"', '"١٢"')),
    ("bitstamp", '{"event":"data","channel":"order_book_btcusd"}'),
    ("gemini", GEMINI_TICKER.replace('"1.0614900"', "1.0614900")),
    ("gemini", GEMINI_TICKER.replace('"1.0614900"', "null")),
    ("gemini", GEMINI_TICKER.replace("1764549594389752", '"1764549594389752"')),
    ("gemini", "{}"),
    ("binance", BINANCE_TICKER.replace('"63704.00000000"', '[["63704","1"]]')),
    ("binance", BINANCE_TICKER.replace('"s":"BTCUSDT",', "")),
    ("binance", '{"stream":"btcusdt@bookTicker","data":[]}'),
    ("binance", "{}"),
    ("okx", OKX_TOP.replace('[["8476.97","256","0","12"]]', "[[]]")),
    ("okx", OKX_TOP.replace('"1597026383085"', "1597026383085")),
    ("okx", OKX_TOP.replace("bbo-tbt", "tickers")),
    ("okx", "ping pong"),
    ("okx", "{}"),
]


@pytest.mark.parametrize(("venue", "frame"), BROKEN)
def test_a_frame_that_breaks_the_format_is_counted_not_guessed(venue: str, frame: str) -> None:
    (decoded,) = VENUES[venue].decode(frame)
    assert isinstance(decoded, Undecodable)
    assert decoded.reason
