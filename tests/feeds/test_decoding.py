"""Every venue's frames, as the exchanges document or send them, and what they mean."""

import gzip

import pytest

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Alive,
    Decoded,
    Gap,
    Greeting,
    Price,
    Reconnect,
    Refused,
    Reply,
    Trading,
    Undecodable,
)
from feeds.venues import VENUES
from testnet.exchanges.protobuf import length_delimited, text, varint

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

ADVANCED_TICKER = (
    '{"channel":"ticker","timestamp":"2026-08-12T19:27:33.829058895Z","sequence_num":2,"events":['
    '{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"63320.73",'
    '"volume_24_h":"6629.927726","best_bid":"63318.86","best_ask":"63318.87",'
    '"best_bid_quantity":"0.2275291","best_ask_quantity":"0.49990114"}]}]}'
)
BYBIT_TOP = (
    '{"topic":"orderbook.1.BTCUSDT","ts":1786613159749,"type":"snapshot","data":{"s":"BTCUSDT",'
    '"b":[["63705.3","2.045546"]],"a":[["63705.4","2.334566"]],"u":72212457,'
    '"seq":112603120278},"cts":1786613159748}'
)
BITFINEX_TICKER = (
    "[104,[2504.1,89.39691507,2504.6,95.67402604,13.5,0.00541864,2504.9,22581.92240769,2533.2,"
    "2461.4,null]]"
)
BITFINEX_SUBSCRIBED = (
    '{"event":"subscribed","channel":"ticker","chanId":104,"symbol":"tETHUSD","pair":"ETHUSD"}'
)
KUCOIN_TICKER = (
    '{"type":"message","topic":"/market/ticker:APE3S-USDT","subject":"trade.ticker","data":{'
    '"bestAsk":"0.9052","bestAskSize":"404.3024","bestBid":"0.9027","bestBidSize":"202.2365",'
    '"price":"0.909","sequence":"1653547330151","size":"53.4976","time":1660608019966}}'
)
GATE_TICKER = (
    '{"time":1682689046,"time_ms":1682689046142,"channel":"spot.book_ticker","event":"update",'
    '"result":{"t":1682689046131,"u":517377894,"s":"ETC_ETH","b":"0.010326","B":"0.001",'
    '"a":"0.010366","A":"10"}}'
)
CRYPTOCOM_TICKER = (
    '{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USD",'
    '"subscription":"ticker.BTC_USD","channel":"ticker","data":[{"h":"64431.41","l":"63243.41",'
    '"a":"63324.19","c":"0.0004","b":"63324.19","bs":"1.16628","k":"63324.20","ks":"0.21790",'
    '"i":"BTC_USD","v":"3238.6727","vv":"206288376.45","oi":"0","t":1786562995777}]}}'
)
HTX_TOP = (
    '{"ch":"market.btcusdt.bbo","ts":1575158404058,"tick":{"seqId":103273695595,"ask":7543.59,'
    '"askSize":2.323241,"bid":7541.16,"bidSize":0.002329,"quoteTime":1575158404057,'
    '"symbol":"btcusdt"}}'
)
MEXC_STREAM = "spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT"

MEXC_BLOCKED = f"Not Subscribed successfully! [{MEXC_STREAM}].  Reason： Blocked! "


def zipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def pushed(
    bid: str = "62383.56",
    ask: str = "62383.57",
    *,
    stream: str = MEXC_STREAM,
    symbol: str = "BTCUSDT",
    version: str = "36913562067",
) -> bytes:
    """Return MEXC's message with a book ticker, as its schema has it."""
    ticker = text(1, bid) + text(2, "0.07956651") + text(3, ask) + text(4, "0.09556")
    ticker += text(5, version) + varint(6, 1782208005089)
    head = text(1, stream) + text(3, symbol) + varint(5, 1782208005080)
    return head + varint(6, 1782208005090) + length_delimited(315, ticker)


TABLE: list[tuple[str, str | bytes, list[Decoded]]] = [
    (
        "coinbase_advanced",
        ADVANCED_TICKER,
        [
            Price(
                "BTC-USD",
                bid=6331886 * UNIT // 100,
                ask=6331887 * UNIT // 100,
                last=6332073 * UNIT // 100,
                exchange_time_ms=1786562853829,
                sequence=2,
            )
        ],
    ),
    (
        "coinbase_advanced",
        '{"channel":"subscriptions","client_id":"","timestamp":"2026-08-12T19:27:33.8Z",'
        '"sequence_num":0,"events":[{"subscriptions":{"ticker":["BTC-USD","ETH-USD"],'
        '"heartbeats":["heartbeats"]}}]}',
        [Acknowledged("BTC-USD"), Acknowledged("ETH-USD")],
    ),
    (
        "coinbase_advanced",
        '{"channel":"heartbeats","client_id":"","timestamp":"2026-08-12T19:27:33.829Z",'
        '"sequence_num":1,"events":[{"current_time":"2026-08-12 19:27:33.829 +0000 UTC",'
        '"heartbeat_counter":"3049"}]}',
        [Alive(1786562853829)],
    ),
    (
        "coinbase_advanced",
        '{"type":"error","message":"failure to subscribe"}',
        [Refused(None, "failure to subscribe")],
    ),
    (
        "bybit",
        BYBIT_TOP,
        [
            Price(
                "BTCUSDT",
                bid=637053 * UNIT // 10,
                ask=637054 * UNIT // 10,
                exchange_time_ms=1786613159748,
                sequence=112603120278,
            )
        ],
    ),
    (
        "bybit",
        BYBIT_TOP.replace('[["63705.3","2.045546"]]', "[]").replace(',"cts":1786613159748', ""),
        [
            Price(
                "BTCUSDT",
                bid=0,
                ask=637054 * UNIT // 10,
                exchange_time_ms=1786613159749,
                sequence=112603120278,
            )
        ],
    ),
    (
        "bybit",
        '{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"1","op":"subscribe"}',
        [Acknowledged("1")],
    ),
    (
        "bybit",
        '{"success":false,"ret_msg":"Invalid symbol :[orderbook.1.XUSDT]","conn_id":"c",'
        '"req_id":"2","op":"subscribe"}',
        [Refused("2", "Invalid symbol :[orderbook.1.XUSDT]")],
    ),
    ("bybit", '{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}', [ALIVE]),
    ("bybit", '{"req_id":"2","op":"pong","args":["1757405570352"],"conn_id":"c"}', [ALIVE]),
    ("bitfinex", BITFINEX_SUBSCRIBED, [Acknowledged("tETHUSD")]),
    (
        "bitfinex",
        '{"event":"info","version":2,"serverId":"x","platform":{"status":1}}',
        [Trading(True, "the exchange tells its platform's status")],
    ),
    (
        "bitfinex",
        '{"event":"info","version":2,"serverId":"x","platform":{"status":0}}',
        [Trading(False, "the exchange tells its platform's status")],
    ),
    (
        "bitfinex",
        '{"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}',
        [Reconnect("Stopping. Please try to reconnect")],
    ),
    ("bitfinex", '{"event":"info","code":20060,"msg":""}', [Trading(False, "maintenance")]),
    ("bitfinex", '{"event":"info","code":20061,"msg":""}', [Trading(True, "maintenance")]),
    (
        "bitfinex",
        '{"event":"error","msg":"symbol: invalid","code":10300,"channel":"ticker",'
        '"symbol":"tXYZUSD"}',
        [Refused("tXYZUSD", "10300 symbol: invalid")],
    ),
    ("bitfinex", '{"event":"pong","ts":1511545528111,"cid":7}', [Alive(1511545528111)]),
    (
        "kucoin",
        KUCOIN_TICKER,
        [
            Price(
                "APE3S-USDT",
                bid=9027 * UNIT // 10**4,
                ask=9052 * UNIT // 10**4,
                last=909 * UNIT // 10**3,
                exchange_time_ms=1660608019966,
                sequence=1653547330151,
            )
        ],
    ),
    ("kucoin", '{"id":"c1","type":"welcome"}', [Greeting()]),
    ("kucoin", '{"id":"1","type":"ack"}', [Acknowledged("1")]),
    ("kucoin", '{"id":"x","type":"pong","timestamp":1660608019966123}', [ALIVE]),
    (
        "kucoin",
        '{"id":"2","type":"error","code":404,"data":"topic /market/x is not found"}',
        [Refused("2", "404 topic /market/x is not found")],
    ),
    (
        "gate",
        '{"time":1786539989,"time_ms":1786539989549,"channel":"spot.tickers","event":"update",'
        '"result":{"currency_pair":"BTC_USDT","last":"64043.9","lowest_ask":"64043.9",'
        '"highest_bid":"64043.8","base_volume":"5291.366688"}}',
        [
            Price(
                "BTC_USDT",
                bid=640438 * UNIT // 10,
                ask=640439 * UNIT // 10,
                last=640439 * UNIT // 10,
                exchange_time_ms=1786539989549,
            )
        ],
    ),
    (
        "gate",
        GATE_TICKER,
        [
            Price(
                "ETC_ETH",
                bid=10326 * UNIT // 10**6,
                ask=10366 * UNIT // 10**6,
                exchange_time_ms=1682689046131,
                sequence=517377894,
            )
        ],
    ),
    (
        "gate",
        GATE_TICKER.replace('"0.010326"', '""'),
        [
            Price(
                "ETC_ETH",
                bid=0,
                ask=10366 * UNIT // 10**6,
                exchange_time_ms=1682689046131,
                sequence=517377894,
            )
        ],
    ),
    (
        "gate",
        '{"time":1,"time_ms":1000,"id":1,"channel":"spot.book_ticker","event":"subscribe",'
        '"payload":["BTC_USDT"],"result":{"status":"success"}}',
        [Acknowledged("1")],
    ),
    (
        "gate",
        '{"time":1,"time_ms":1000,"id":2,"channel":"spot.book_ticker","event":"subscribe",'
        '"error":{"code":2,"message":"unknown currency pair: X_USDT"},"result":{"status":"fail"}}',
        [Refused("2", "unknown currency pair: X_USDT")],
    ),
    (
        "gate",
        '{"time":1682689046,"time_ms":1682689046142,"channel":"spot.pong","event":"",'
        '"result":null}',
        [Alive(1682689046142)],
    ),
    (
        "cryptocom",
        CRYPTOCOM_TICKER,
        [
            # `a` is the last trade, `k` the ask.
            Price(
                "BTC_USD",
                bid=6332419 * UNIT // 100,
                ask=6332420 * UNIT // 100,
                last=6332419 * UNIT // 100,
                exchange_time_ms=1786562995777,
            )
        ],
    ),
    (
        "cryptocom",
        CRYPTOCOM_TICKER.replace('"k":"63324.20"', '"k":null').replace(
            '"a":"63324.19"', '"a":null'
        ),
        [Price("BTC_USD", bid=6332419 * UNIT // 100, ask=0, exchange_time_ms=1786562995777)],
    ),
    ("cryptocom", '{"id":1,"method":"subscribe","code":0}', [Acknowledged("1")]),
    (
        "cryptocom",
        '{"id":2,"code":10004,"method":"subscribe","message":"invalid channel"}',
        [Refused("2", "10004 invalid channel")],
    ),
    (
        "cryptocom",
        '{"id":1587523073344,"method":"public/heartbeat","code":0}',
        [Reply('{"id":1587523073344,"method":"public/respond-heartbeat"}')],
    ),
    (
        "htx",
        zipped(HTX_TOP),
        [
            Price(
                "btcusdt",
                bid=754116 * UNIT // 100,
                ask=754359 * UNIT // 100,
                exchange_time_ms=1575158404057,
                sequence=103273695595,
            )
        ],
    ),
    (
        "htx",
        zipped('{"ping":1575158404057}'),
        [Reply('{"pong":1575158404057}'), Alive(1575158404057)],
    ),
    (
        "htx",
        zipped('{"id":"1","status":"ok","subbed":"market.btcusdt.bbo","ts":1575158404057}'),
        [Acknowledged("1")],
    ),
    (
        "htx",
        zipped(
            '{"status":"error","ts":1575158404057,"id":"2","err-code":"bad-request",'
            '"err-msg":"invalid topic market.x.bbo"}'
        ),
        [Refused("2", "invalid topic market.x.bbo")],
    ),
    (
        "mexc",
        pushed(),
        [
            Price(
                "BTCUSDT",
                bid=6238356 * UNIT // 100,
                ask=6238357 * UNIT // 100,
                exchange_time_ms=1782208005090,
                sequence=36913562067,
            )
        ],
    ),
    (
        "mexc",
        pushed(ask="", version=""),
        [Price("BTCUSDT", bid=6238356 * UNIT // 100, ask=0, exchange_time_ms=1782208005090)],
    ),
    ("mexc", f'{{"id":0,"code":0,"msg":"{MEXC_STREAM}"}}', [Acknowledged(MEXC_STREAM)]),
    (
        "mexc",
        f'{{"id":0,"code":0,"msg":"{MEXC_BLOCKED}"}}',
        [Refused(MEXC_STREAM, f"0 {MEXC_BLOCKED}")],
    ),
    ("mexc", '{"id":0,"code":0,"msg":"PONG"}', [ALIVE]),
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
        [Refused(None, "ErrSlowConsume")],
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
    (
        "okx",
        '{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT","instId":'
        '"BTC-USDT","last":"63707.3","lastSz":"0.00164251","askPx":"63707.3","bidPx":"63707.2",'
        '"ts":"1786613174873"}]}',
        [
            Price(
                "BTC-USDT",
                bid=637072 * UNIT // 10,
                ask=637073 * UNIT // 10,
                last=637073 * UNIT // 10,
                exchange_time_ms=1786613174873,
            )
        ],
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
    venue: str, frame: str | bytes, meaning: list[Decoded]
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
    ("coinbase_advanced", ADVANCED_TICKER.replace('"63318.86"', "63318.86")),
    ("coinbase_advanced", ADVANCED_TICKER.replace('"63318.86"', '"-1"')),
    ("coinbase_advanced", ADVANCED_TICKER.replace('"sequence_num":2', '"sequence_num":-2')),
    ("coinbase_advanced", ADVANCED_TICKER.replace('"sequence_num":2,', "")),
    ("coinbase_advanced", ADVANCED_TICKER.replace("895Z", "895")),
    ("coinbase_advanced", "{}"),
    ("bybit", BYBIT_TOP.replace("snapshot", "delta")),
    ("bybit", BYBIT_TOP.replace('"s":"BTCUSDT"', '"s":"ETHUSDT"')),
    ("bybit", BYBIT_TOP.replace("orderbook.1.", "orderbook.50.")),
    ("bybit", BYBIT_TOP.replace('[["63705.3","2.045546"]]', "[[]]")),
    ("bybit", BYBIT_TOP.replace('"63705.3"', "63705.3")),
    ("bybit", "{}"),
    ("bitfinex", BITFINEX_TICKER),
    ("bitfinex", BITFINEX_SUBSCRIBED.replace('"chanId":104,', "")),
    ("bitfinex", '{"event":"info","version":3}'),
    ("bitfinex", "[]"),
    ("bitfinex", "{}"),
    ("kucoin", KUCOIN_TICKER.replace('"0.9027"', "0.9027")),
    ("kucoin", KUCOIN_TICKER.replace('"1653547330151"', '"a"')),
    ("kucoin", KUCOIN_TICKER.replace("/market/ticker", "/market/snapshot")),
    ("kucoin", "{}"),
    ("gate", GATE_TICKER.replace("spot.book_ticker", "spot.tickers")),
    ("gate", GATE_TICKER.replace('"0.010326"', "null")),
    ("gate", GATE_TICKER.replace('"update"', '"all"')),
    ("gate", "{}"),
    ("cryptocom", CRYPTOCOM_TICKER.replace('"b":"63324.19",', "")),
    ("cryptocom", CRYPTOCOM_TICKER.replace('"b":"63324.19"', '"b":63324.19')),
    ("cryptocom", CRYPTOCOM_TICKER.replace('"channel":"ticker"', '"channel":"book"')),
    ("cryptocom", '{"id":-1,"method":"subscribe","code":0}'),
    ("cryptocom", "{}"),
    ("htx", HTX_TOP),
    ("htx", HTX_TOP.encode()),
    ("htx", zipped(HTX_TOP)[:-9]),
    ("htx", zipped(HTX_TOP) + b"x"),
    ("htx", zipped(HTX_TOP.replace('"bid":7541.16', '"bid":"7541.16"'))),
    ("htx", zipped(HTX_TOP.replace('"bid":7541.16', '"bid":null'))),
    ("htx", zipped(HTX_TOP.replace('"symbol":"btcusdt"', '"symbol":"ethusdt"'))),
    ("htx", zipped(" " * 10_000_000 + HTX_TOP)),
    ("htx", zipped("{}")),
    ("mexc", pushed(bid="1e99")),
    ("mexc", pushed(bid="-1")),
    ("mexc", pushed(version="1.5")),
    ("mexc", pushed(symbol="ETHUSDT")),
    ("mexc", pushed(stream=MEXC_STREAM.replace("bookTicker", "deals"))),
    ("mexc", pushed()[:-3]),
    ("mexc", pushed()[1:]),
    ("mexc", text(1, MEXC_STREAM) + text(3, "BTCUSDT")),
    ("mexc", b""),
    ("mexc", "{}"),
    ("binance", b"{}"),
]


@pytest.mark.parametrize(("venue", "frame"), BROKEN)
def test_a_frame_that_breaks_the_format_is_counted_not_guessed(
    venue: str, frame: str | bytes
) -> None:
    (decoded,) = VENUES[venue].decode(frame)
    assert isinstance(decoded, Undecodable)
    assert decoded.reason


def test_a_channel_of_bitfinex_is_about_the_pair_that_was_announced_for_it() -> None:
    reader = VENUES["bitfinex"].reader()
    (unknown,) = reader.decode(BITFINEX_TICKER)
    assert isinstance(unknown, Undecodable)
    reader.decode(BITFINEX_SUBSCRIBED)
    price = Price(
        "tETHUSD", bid=25041 * UNIT // 10, ask=25046 * UNIT // 10, last=25049 * UNIT // 10
    )
    assert list(reader.decode(BITFINEX_TICKER)) == [price]
    counted = BITFINEX_TICKER.replace("null]]", "null],7,1511545528111]")
    (decoded,) = reader.decode(counted)
    assert isinstance(decoded, Price)
    assert (decoded.sequence, decoded.exchange_time_ms) == (7, 1511545528111)
    assert list(reader.decode('[104,"hb"]')) == [ALIVE]
    assert list(reader.decode('[104,"hb",8,1511545528112]')) == [Alive(1511545528112)]
    # Another connection has other numbers.
    (other,) = VENUES["bitfinex"].reader().decode(BITFINEX_TICKER)
    assert isinstance(other, Undecodable)


@pytest.mark.parametrize(
    "frame",
    [
        BITFINEX_SUBSCRIBED.replace("tETHUSD", "tBTCUSD"),
        BITFINEX_TICKER.replace("104", "105"),
        BITFINEX_TICKER.replace("2504.1,", '"2504.1",'),
        "[104,[2504.1,89.39691507,2504.6]]",
        '[104,"te"]',
        '[104,"hb",1,2,3]',
        "[104]",
        '[104,{"bid":1}]',
    ],
)
def test_a_channel_of_bitfinex_takes_nothing_else(frame: str) -> None:
    reader = VENUES["bitfinex"].reader()
    reader.decode(BITFINEX_SUBSCRIBED)
    (decoded,) = reader.decode(frame)
    assert isinstance(decoded, Undecodable)


def test_an_endless_list_of_channels_is_not_remembered() -> None:
    reader = VENUES["bitfinex"].reader()
    announced = [
        reader.decode(BITFINEX_SUBSCRIBED.replace("104", str(number)))[0] for number in range(40)
    ]
    assert sum(isinstance(one, Acknowledged) for one in announced) == 30
    assert isinstance(announced[-1], Undecodable)


def numbered(number: int) -> str:
    return ADVANCED_TICKER.replace('"sequence_num":2', f'"sequence_num":{number}')


def test_a_gap_in_the_count_of_a_connection_is_told() -> None:
    reader = VENUES["coinbase_advanced"].reader()
    for number in (5, 6, 7):
        (price,) = reader.decode(numbered(number))
        assert isinstance(price, Price)
    gap, price = reader.decode(numbered(9))
    assert gap == Gap("message 9 came where 8 was due")
    assert isinstance(price, Price)
    (price,) = reader.decode(numbered(10))
    assert isinstance(price, Price)


def test_a_book_in_usdc_is_no_second_source_at_coinbase() -> None:
    venue = VENUES["coinbase_advanced"]
    assert venue.symbol("BTC", "USDT") == "BTC-USDT"
    with pytest.raises(ValueError, match="name BTC/USD"):
        venue.symbol("BTC", "USDC")
    assert venue.symbols.pair("BTC-USDC") == ("BTC", "USD")


@pytest.mark.parametrize(
    ("pair", "symbol"),
    [
        (("BTC", "USD"), "tBTCUSD"),
        (("USDT", "USD"), "tUSTUSD"),
        (("BTC", "USDT"), "tBTCUST"),
        (("USDC", "USD"), "tUDCUSD"),
        (("AVAX", "USD"), "tAVAX:USD"),
        (("LINK", "USDT"), "tLINK:UST"),
    ],
)
def test_bitfinex_spells_pairs_in_its_own_way(pair: tuple[str, str], symbol: str) -> None:
    assert VENUES["bitfinex"].symbol(*pair) == symbol
    assert VENUES["bitfinex"].symbols.pair(symbol) == pair


@pytest.mark.parametrize("symbol", ["BTCUSD", "fUSD", "t", "tBTC", "tAVAX:", "t:USD", "tBTC-USD"])
def test_bitfinex_spells_nothing_else(symbol: str) -> None:
    with pytest.raises(ValueError, match="no pair"):
        VENUES["bitfinex"].symbols.pair(symbol)


REST: list[tuple[str, str, str, Price]] = [
    (
        "coinbase_advanced",
        "BTC-USD",
        '{"trades":[{"trade_id":"1","product_id":"BTC-USD","price":"5.5","size":"1",'
        '"time":"2026-08-12T19:27:33.829Z","side":"BUY"}],"best_bid":"5","best_ask":"6"}',
        Price("BTC-USD", 5 * UNIT, 6 * UNIT, 55 * UNIT // 10, 1786562853829),
    ),
    (
        "coinbase_advanced",
        "BTC-USD",
        '{"trades":[],"best_bid":"5","best_ask":"6"}',
        Price("BTC-USD", 5 * UNIT, 6 * UNIT),
    ),
    (
        "bybit",
        "BTCUSDT",
        '{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"symbol":"BTCUSDT",'
        '"bid1Price":"5","ask1Price":"6","lastPrice":"7"}]},"retExtInfo":{},"time":9}',
        Price("BTCUSDT", 5 * UNIT, 6 * UNIT, 7 * UNIT),
    ),
    (
        "bitfinex",
        "tBTCUSD",
        '[["tBTCUSD",5,1,6,1,0,0,7,1,1,1]]',
        Price("tBTCUSD", 5 * UNIT, 6 * UNIT, 7 * UNIT),
    ),
    (
        "kucoin",
        "BTC-USDT",
        '{"code":"200000","data":{"time":9,"sequence":"8","price":"7","size":"1","bestBid":"5",'
        '"bestBidSize":"1","bestAsk":"6","bestAskSize":"1"}}',
        Price("BTC-USDT", 5 * UNIT, 6 * UNIT, 7 * UNIT, 9, 8),
    ),
    (
        "gate",
        "BTC_USDT",
        '[{"currency_pair":"BTC_USDT","last":"7","lowest_ask":"6","highest_bid":"5"}]',
        Price("BTC_USDT", 5 * UNIT, 6 * UNIT, 7 * UNIT),
    ),
    (
        "cryptocom",
        "BTC_USD",
        '{"id":-1,"method":"public/get-tickers","code":0,"result":{"data":[{"i":"BTC_USD",'
        '"a":"7","b":"5","k":"6","t":9}]}}',
        Price("BTC_USD", 5 * UNIT, 6 * UNIT, 7 * UNIT, 9),
    ),
    (
        "htx",
        "btcusdt",
        '{"ch":"market.btcusdt.detail.merged","status":"ok","ts":9,"tick":{"close":7,'
        '"bid":[5,1],"ask":[6,1]}}',
        Price("btcusdt", 5 * UNIT, 6 * UNIT, 7 * UNIT),
    ),
    (
        "mexc",
        "BTCUSDT",
        '{"symbol":"BTCUSDT","bidPrice":"5","bidQty":"","askPrice":"6","askQty":""}',
        Price("BTCUSDT", 5 * UNIT, 6 * UNIT),
    ),
]


@pytest.mark.parametrize(("name", "symbol", "body", "price"), REST)
def test_an_answer_by_rest_means_what_the_exchange_says(
    name: str, symbol: str, body: str, price: Price
) -> None:
    rest = VENUES[name].rest
    assert rest is not None
    assert list(rest.read(body.encode(), [symbol])) == [price]


@pytest.mark.parametrize(
    ("name", "symbol", "body"),
    [
        ("coinbase_advanced", "X-USD", '{"error":"INVALID_ARGUMENT","message":"product_id"}'),
        ("bybit", "XUSDT", '{"retCode":10001,"retMsg":"Not supported symbols","result":{}}'),
        ("bitfinex", "tXUSD", '["error",10020,"symbol: invalid"]'),
        ("kucoin", "X-USDT", '{"code":"200000","data":null}'),
        ("kucoin", "X-USDT", '{"code":"400100","msg":"no such symbol"}'),
        ("gate", "X_USDT", '{"label":"INVALID_CURRENCY_PAIR","message":"invalid"}'),
        ("cryptocom", "X_USD", '{"id":-1,"method":"public/get-tickers","code":40004}'),
        ("htx", "xusdt", '{"ts":9,"status":"error","err-msg":"invalid symbol","data":null}'),
        ("mexc", "XUSDT", '{"code":-1121,"msg":"Invalid symbol."}'),
    ],
)
def test_an_answer_by_rest_that_tells_no_price_is_refused(
    name: str, symbol: str, body: str
) -> None:
    rest = VENUES[name].rest
    assert rest is not None
    with pytest.raises(ValueError, match=r"\w"):
        rest.read(body.encode(), [symbol])
