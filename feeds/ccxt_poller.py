"""Polls an exchange that only ccxt knows, through it; needs `didyma[ccxt]`.

What this way cannot promise:

- It is polled, one pair at a time within ccxt's own rate limit, at most once a second each.
- Prices are exact, since JSON numbers are kept as the characters that arrived and ccxt is told not
  to make floats of them; an exchange whose prices ccxt computes itself is only as exact as that.
- The exchange's time is ccxt's `timestamp`, which some exchanges do not tell.
- ccxt reads all markets of an exchange first, and bounds neither that nor any other answer.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp

from feeds.ccxt_venue import PREFIX
from feeds.frames import Price, last_text, scaled_text, told
from feeds.intake import Intake
from feeds.source import Source, SourceState
from feeds.supervision import Supervision

_EVERY_S = 1.0
_ANSWER_S = 10.0
_MARKETS_S = 60.0
_LOG = logging.getLogger(__name__)


class CcxtPoller:
    """Asks one exchange for all its sources through ccxt, in turn, for ever."""

    def __init__(self, rest_url: str | None, intake: Intake, supervision: Supervision) -> None:
        """`rest_url` replaces the host of every address of the exchange."""
        self._rest_url = rest_url
        self._intake = intake
        self._supervision = supervision
        self._name = intake.venue.name

    async def run(self, session: aiohttp.ClientSession) -> NoReturn:
        """Poll until cancelled; nothing an exchange or ccxt does ends this."""
        failures = 0
        while True:
            reason = ""
            try:
                await self._poll(session)
            except ModuleNotFoundError:
                reason = "ccxt is not installed: pip install 'didyma[ccxt]'"
            except Exception as error:
                # ccxt raises what it likes, and its own kinds are many.
                reason = f"ccxt: {type(error).__name__}: {told(error)}"
            failures += 1
            wait_s = self._supervision.limits.poll_backoff.wait_s(failures, self._supervision.rng)
            _LOG.warning("%s: %s", self._name, reason)
            self._intake.traffic.last_loss = reason
            self._tell(SourceState.WAITING, f"{reason}; next try in {wait_s:.1f} s")
            await asyncio.sleep(wait_s)

    async def _poll(self, session: aiohttp.ClientSession) -> NoReturn:
        """Learn the exchange's markets, then ask for its tickers until the exchange fails."""
        self._tell(SourceState.CONNECTING, "ccxt reads the exchange's markets")
        client = self._client(session)
        try:
            await self._poll_with(client)
        finally:
            # Else ccxt complains that nobody closed what is not its own.
            client.session = None
        raise AssertionError("polled until it fails")

    async def _poll_with(self, client: Any) -> NoReturn:
        async with asyncio.timeout(_MARKETS_S):
            await client.load_markets()
        # Only from here on: ccxt compares the numbers of markets with each other.
        client.number = str
        self._tell(SourceState.SUBSCRIBING, "this venue is polled through ccxt")
        sources = [one for one in self._intake.sources.values() if self._is_known(client, one)]
        if not sources:
            raise ValueError("the exchange has none of the pairs")
        every_s = max(_EVERY_S, client.rateLimit / 1000)
        while True:
            failed = 0
            for source in sources:
                failed += not await self._ask(client, source)
                await asyncio.sleep(every_s / len(sources))
            if failed == len(sources):
                reasons = {source.poll_problem for source in sources}
                raise RuntimeError(f"no answer for any pair: {reasons.pop()}")

    def _client(self, session: aiohttp.ClientSession) -> Any:
        ccxt = import_module("ccxt.async_support")
        name = self._name.removeprefix(PREFIX)
        if name not in ccxt.exchanges:
            raise ValueError(f"ccxt knows no exchange {name!r}")
        client = getattr(ccxt, name)({"session": session, "timeout": _ANSWER_S * 1000})
        client.on_json_response = _exact_json
        if self._rest_url is not None:
            client.urls["api"] = _moved(client.urls["api"], self._rest_url)
        return client

    def _is_known(self, client: Any, source: Source) -> bool:
        market = client.markets.get(source.symbol)
        if isinstance(market, Mapping) and market.get("spot"):
            return True
        source.standing = (SourceState.REFUSED, f"no spot market {source.symbol} by ccxt's list")
        return False

    async def _ask(self, client: Any, source: Source) -> bool:
        """Ask for one pair; whether a price came."""
        asked_ns = self._supervision.monotonic_ns()
        try:
            async with asyncio.timeout(_ANSWER_S):
                ticker = await client.fetch_ticker(source.symbol)
            price = _price(source.symbol, ticker)
            self._intake.take_polled(price, asked_ns, 1, self._supervision.monotonic_ns())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._intake.traffic.poll_failures += 1
            source.poll_problem = f"ccxt: {type(error).__name__}: {told(error)}"
            return False
        source.poll_problem = None
        return True

    def _tell(self, state: SourceState, reason: str) -> None:
        for source in self._intake.sources.values():
            source.standing = (state, reason)


def _price(symbol: str, ticker: Mapping[str, Any]) -> Price:
    bid, ask, last, time_ms = (ticker.get(name) for name in ("bid", "ask", "last", "timestamp"))
    if not isinstance(bid, str) or not isinstance(ask, str):
        raise ValueError("its ticker has no bid and ask")
    return Price(
        symbol=symbol,
        bid=scaled_text(bid),
        ask=scaled_text(ask),
        last=last_text(last) if isinstance(last, str) else None,
        exchange_time_ms=time_ms if isinstance(time_ms, int) and time_ms > 0 else None,
    )


def _exact_json(body: str) -> Any:
    # What ccxt does by itself unless another JSON library happens to be installed.
    return json.loads(body, parse_float=str, parse_int=str)


def _moved(addresses: Any, rest_url: str) -> Any:
    if isinstance(addresses, dict):
        return {name: _moved(address, rest_url) for name, address in addresses.items()}
    if not isinstance(addresses, str):
        return addresses
    return rest_url.rstrip("/") + urlsplit(addresses.replace("{hostname}", "host")).path
