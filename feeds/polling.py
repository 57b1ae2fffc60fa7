"""Prices by REST for the sources whose WebSocket does not deliver."""

import asyncio
import logging
from typing import NoReturn

import aiohttp

from feeds.frames import told
from feeds.http import Unanswered, fetch
from feeds.intake import Intake
from feeds.rest import Rest
from feeds.source import Source
from feeds.supervision import Supervision

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000
_LOG = logging.getLogger(__name__)


class Poller:
    """Asks one venue by REST for what its connections leave out, within the venue's limit."""

    def __init__(self, rest: Rest, rest_url: str, intake: Intake, supervision: Supervision) -> None:
        self._rest = rest
        self._rest_url = rest_url
        self._intake = intake
        self._supervision = supervision
        self._asked_ns: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._not_before_ns: dict[str, int] = {}

    async def run(self, session: aiohttp.ClientSession) -> NoReturn:
        """Poll what wants it until cancelled; nothing an exchange answers ends this."""
        limits = self._supervision.limits
        await asyncio.sleep(limits.poll_first_s)
        while True:
            batch = self._due(self._supervision.monotonic_ns())
            if not batch:
                await asyncio.sleep(max(self._rest.every_s, limits.check_every_s / 2))
                continue
            leave_s = 0.0
            try:
                await self._ask(session, batch)
            except Unanswered as error:
                self._failed(batch, str(error))
                wait_s = error.wait_s or self._intake.venue.shut_out_s(error.status)
                leave_s = min(wait_s, limits.retry_after_max_s)
                if error.is_of_venue:
                    leave_s = max(leave_s, self._wait_s(batch[0]))
            except (ValueError, ArithmeticError, RecursionError) as error:
                self._failed(batch, f"not understood: {told(error)}")
            except Exception as error:
                _LOG.exception("%s: unexpected fault in polling", self._intake.venue.name)
                self._failed(batch, f"unexpected fault in this node: {told(repr(error))}")
            await asyncio.sleep(max(self._rest.every_s, leave_s))

    def _due(self, now_ns: int) -> list[Source]:
        """Return what to ask for next: the longest unasked first."""
        due = [
            source
            for symbol, source in self._intake.sources.items()
            if source.wants_poll(now_ns)
            and now_ns >= self._not_before_ns.get(symbol, 0)
            and now_ns >= self._asked_ns.get(symbol, 0) + self._pace_ns(source)
        ]
        due.sort(key=lambda source: self._asked_ns.get(source.symbol, 0))
        # One that failed is asked alone, so that it cannot spoil the others' answers.
        if due and self._failures.get(due[0].symbol):
            return due[:1]
        sound = [source for source in due if not self._failures.get(source.symbol)]
        return sound[: self._rest.pairs_max]

    async def _ask(self, session: aiohttp.ClientSession, batch: list[Source]) -> None:
        asked_ns = self._supervision.monotonic_ns()
        symbols = [source.symbol for source in batch]
        for symbol in symbols:
            self._asked_ns[symbol] = asked_ns
        request = self._rest.request(symbols)
        body = await fetch(session, self._rest_url, request, self._supervision.limits)
        now_ns = self._supervision.monotonic_ns()
        missing = set(symbols)
        for price in self._rest.read(body, symbols):
            self._intake.take_polled(price, asked_ns, self._rest.time_step_ms, now_ns)
            missing.discard(price.symbol)
        if missing:
            raise ValueError(f"no price of {', '.join(sorted(missing))}")
        for source in batch:
            self._failures.pop(source.symbol, None)
            source.poll_problem = None

    def _pace_ns(self, source: Source) -> int:
        """Return how long to leave one pair: a quiet book need not be asked for all the time."""
        per_age = self._supervision.limits.polls_per_age
        return source.max_age_ms * _NS_PER_MS // per_age

    def _failed(self, batch: list[Source], reason: str) -> None:
        self._intake.traffic.poll_failures += 1
        for source in batch:
            self._failures[source.symbol] = self._failures.get(source.symbol, 0) + 1
            source.poll_problem = reason
        wait_ns = round(self._wait_s(batch[0]) * _NS_PER_S)
        for source in batch:
            self._not_before_ns[source.symbol] = self._supervision.monotonic_ns() + wait_ns

    def _wait_s(self, source: Source) -> float:
        backoff = self._supervision.limits.poll_backoff
        return backoff.wait_s(self._failures.get(source.symbol, 0), self._supervision.rng)
