"""A browser, and the real API server before it with a node of which a test decides everything."""

import asyncio
import contextlib
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from aggregation.encoding import encode_answer, encode_confidence_up, pack_words
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.member import MemberPrice
from aggregation.quote import RejectReason
from aggregation.sources import UsedSource
from aggregation.status import Status
from aggregation.table import FeedTable
from consensus.messages import Header
from node.api.server import ApiServer, Listeners
from node.api.view import (
    ChainView,
    CommitteeView,
    FeedView,
    Identity,
    LatencyView,
    MemberView,
    NodeView,
    OffenceView,
    PublishedReport,
    SourceView,
    ViewCell,
)
from node.fairness.view import FairnessAlarm, FairnessView
from node.incidents import Incident
from node.metrics import Metrics
from node.participation import Participation
from node.price_history import PricePoint
from node.report import Answer, Report, encode_report, price_text
from node.store import ArchiveReader, Store

BASES = ["BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "AVAX", "LINK"]
BASES += [f"TKN{number}" for number in range(len(BASES), 30)]
NAMES = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"]
NAMES += [f"operator-{number}" for number in range(len(NAMES), 31)]
VENUES = ("coinbase_exchange", "kraken", "bitstamp", "gemini", "bitfinex", "cryptocom", "binance")
DECIMALS = 8
LIVE_MS = 250


def _spec(base: str) -> FeedSpec:
    sources = tuple(SourceSpec(venue, base, "USD", 10, 5_000) for venue in VENUES)
    return FeedSpec(base, "USD", DECIMALS, 1, 3, 1_000, 1_000, 30_000, sources)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Feed:
    """One feed as the fake node tells it."""

    spec: FeedSpec
    price: int
    confidence: int
    status: Status = Status.LIVE
    cause: str = "none"
    name: str = ""
    agreed_at_ms: int = 0


@dataclass
class Network:
    """A fake node at the API's port: `publish` is a round, `show` what the node says of itself."""

    members: Sequence[str]
    feeds: list[Feed]
    cell: ViewCell = field(default_factory=ViewCell)
    view: int = 1_000
    epoch: int = 0
    silent: Sequence[int] = ()
    """Members that do nothing."""
    incidents: tuple[Incident, ...] = ()
    offences: tuple[OffenceView, ...] = ()
    alarms: tuple[FairnessAlarm, ...] = ()
    chains: tuple[ChainView, ...] = ()
    not_ready: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reason: str = "prices arrive"
    history: list[PricePoint] = field(default_factory=list)
    changed: Callable[[NodeView], NodeView] = lambda view: view
    forge: Callable[[dict[str, Any]], None] | None = None
    """What changes a report's JSON before it goes out."""

    def __post_init__(self) -> None:
        self.chance = random.Random(7)
        self.participation = Participation(self.members)
        self.started_ms = _now_ms() - 3_600_000
        self.latest: PublishedReport | None = None
        self.certified = 0
        self.server: ApiServer | None = None
        self.n = len(self.members)
        self.faulty_max = (self.n - 1) // 3
        self.quorum = self.n - self.faulty_max

    def drift(self) -> None:
        """Move the prices a little, the same way in every run."""
        for one in self.feeds:
            one.price += one.price * self.chance.randint(-9, 9) // 100_000

    def round(self, at_ms: int | None = None) -> None:
        """Let the members certify a report, and tell it."""
        at_ms = at_ms or _now_ms()
        self.view += 1
        self.certified += 1
        awake = [index for index in range(self.n) if index not in self.silent]
        # The quorum is complete before the last ones have signed, other ones each time.
        start = self.view % len(awake)
        signers = sorted((awake[start:] + awake[:start])[: self.quorum])
        self.participation.certified(self.view, at_ms, self.view % self.n, signers, awake)
        for one in self.feeds:
            if one.status in (Status.LIVE, Status.DEGRADED):
                one.agreed_at_ms = at_ms
        if not self.history or at_ms - self.history[-1].observed_at_ms >= 2_000:
            self.history.append(self._point(at_ms))
        report = PublishedReport(
            self.epoch,
            self.view,
            self.view.to_bytes(32, "big"),
            at_ms,
            False,
            self._text(at_ms, signers),
        )
        self.latest = report
        self.show()
        if self.server is not None:
            self.server.publish(report)

    def _point(self, at_ms: int) -> PricePoint:
        agreed = [one.status in (Status.LIVE, Status.DEGRADED) for one in self.feeds]
        return PricePoint(
            at_ms,
            tuple(one.price if live else 0 for one, live in zip(self.feeds, agreed, strict=True)),
            tuple(one.confidence for one in self.feeds),
        )

    def _text(self, at_ms: int, signers: Sequence[int]) -> bytes:
        answers = [
            0xFFF0
            if one.status is Status.UNAVAILABLE
            else encode_answer(one.price, one.confidence, one.status)
            for one in self.feeds
        ]
        report = Report(
            bytes(32),
            self.epoch,
            Header(self.view, at_ms, b"\x01" * 32, b"\x02" * 32),
            self.view.to_bytes(32, "big"),
            tuple(pack_words(answers)),
            sum(1 << index for index in signers),
            bytes(96),
            tuple(
                Answer(
                    one.spec.pair,
                    0 if one.status is Status.UNAVAILABLE else one.price,
                    DECIMALS,
                    None if one.status is Status.UNAVAILABLE else _ppm(one),
                    one.status,
                )
                for one in self.feeds
            ),
            tuple(self.members[index] for index in signers),
        )
        # Nobody has signed it, so no calldata could be made of it.
        text = encode_report(report, b"\x01" * 4)
        if self.forge is None:
            return text
        document = msgspec.json.decode(text)
        self.forge(document)
        return msgspec.json.encode(document)

    def show(self) -> None:
        """Swap the node's view."""
        table = FeedTable(tuple(one.spec for one in self.feeds)) if self.feeds else None
        view = NodeView(
            made_at_ns=time.monotonic_ns(),
            identity=Identity(
                "0.1.0", "mainnet", "0x11", "0x22", self.members[0], 0, "ab" * 16, self.started_ms
            ),
            committee=CommitteeView(
                self.epoch,
                "0x33",
                2**43,
                self.faulty_max,
                self.quorum,
                tuple(self.members),
                tuple(
                    MemberView(name, index, "aa", "bb", "0xcc")
                    for index, name in enumerate(self.members)
                ),
            ),
            view=self.view + 1,
            height=self.view,
            rounds_certified=self.certified,
            rounds_committed=self.certified,
            timeouts=0,
            latest=self.latest,
            feeds=tuple(self._feed_view(index, one) for index, one in enumerate(self.feeds)),
            sources=self._sources(),
            chains=self.chains,
            latencies=(
                LatencyView("tick_to_observation", 900, 6.1, 28.3),
                LatencyView("observation_to_certificate", 900, 44.0, 82.0),
            ),
            offences=self.offences,
            not_ready=self.not_ready,
            warnings=self.warnings,
            fairness=FairnessView(True, (), (), (), (), self.alarms, ()),
            incidents=self.incidents,
            participation=self.participation.view(),
            history=tuple(self.history[-150:]),
            feed_table=table,
            own_prices=tuple(_own_price(one) for one in self.feeds),
        )
        self.cell.swap(self.changed(view))

    def _feed_view(self, index: int, one: Feed) -> FeedView:
        gone = one.status is Status.UNAVAILABLE
        answer = Answer(one.spec.pair, one.price, DECIMALS, None, one.status)
        awake = tuple(name for i, name in enumerate(self.members) if i not in self.silent)
        return FeedView(
            index,
            one.name or one.spec.pair,
            DECIMALS,
            1_000,
            30_000,
            1,
            None if gone else price_text(answer),
            None if gone else _ppm(one),
            one.status.name.lower(),  # type: ignore[arg-type]
            one.cause,
            one.agreed_at_ms or None,
            5,
            len(VENUES),
            () if gone else awake,
        )

    def _sources(self) -> tuple[SourceView, ...]:
        now_ms = _now_ms()
        states = {"bitfinex": "stale", "gemini": "polled"}
        return tuple(
            SourceView(
                source.venue,
                f"{source.base}/{source.quote}",
                source.venue != "bitfinex",
                self.reason,
                100,
                1,
                now_ms - (42_000 if source.venue == "bitfinex" else 180),
                state=states.get(source.venue, "live"),
            )
            for one in self.feeds
            for source in one.spec.sources
        )


def _ppm(one: Feed) -> int | None:
    from aggregation.encoding import decode_confidence_ppm

    return decode_confidence_ppm(encode_confidence_up(one.price, one.confidence))


def _own_price(one: Feed) -> MemberPrice:
    stale = [source for source in one.spec.sources if source.venue == "bitfinex"]
    used = [source for source in one.spec.sources if source.venue != "bitfinex"]
    return MemberPrice(
        one.price,
        one.confidence,
        0,
        len(used),
        tuple(UsedSource(source, one.price, 1, 10) for source in used),
        tuple((source, RejectReason.STALE) for source in stale),
        frozenset({one.spec.sources[-1].key}),
    )


class Served:
    """The fake network behind a listener of its own thread; it can be closed and opened again."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.network = network
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._port = 0
        self._ticking: threading.Event | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._port}/"

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def open(self) -> None:
        """Listen, where it was listened before."""
        server = ApiServer(
            cell=self.network.cell,
            archive=ArchiveReader(self._directory),
            network_file=b"{}",
            metrics=Metrics(process=False),
        )
        at = self._call(server.start(Listeners(("127.0.0.1", self._port))))
        self._port = at.api[1]
        self.network.server = server

    def close(self) -> None:
        """Stop listening, and cut off all who are connected."""
        server, self.network.server = self.network.server, None
        if server is not None:
            self._call(server.stop())

    def run(self) -> None:
        """Certify rounds until `pause`."""
        assert self._ticking is None
        self._ticking = threading.Event()
        threading.Thread(target=self._tick, args=(self._ticking,), daemon=True).start()

    def pause(self) -> None:
        """Certify nothing more."""
        if self._ticking is not None:
            self._ticking.set()
            self._ticking = None

    def _tick(self, ended: threading.Event) -> None:
        while not ended.wait(LIVE_MS / 1_000):
            self.network.drift()
            self.network.round()

    def end(self) -> None:
        """Stop everything."""
        self.pause()
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def feeds(count: int) -> list[Feed]:
    """Return feeds with prices of all sizes."""
    prices = (64_213_45, 3_214_07, 148_62, 61, 45, 17, 27_31, 14_90)
    return [
        Feed(
            _spec(base),
            prices[i % len(prices)] * 10 ** (DECIMALS - 2),
            prices[i % 8] * 10**2 * (1 + i % 5),
        )
        for i, base in enumerate(BASES[:count])
    ]


def filled(network: Network) -> Network:
    """Give a network a past."""
    now_ms = _now_ms()
    for step in range(150, 0, -1):
        network.drift()
        network.history.append(network._point(now_ms - step * 2_000))
    for view in range(64):
        network.round(now_ms - (64 - view) * 250)
    return network


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Make fake nodes, by numbers of members and feeds and what else a test wants of them."""
    with contextlib.ExitStack() as stack:

        def make(members: int = 4, count: int = 4, *, past: bool = True, **parts: Any) -> Served:
            directory = tmp_path / f"data{members}-{count}"
            Store.create(directory).close()
            network = Network(NAMES[:members], feeds(count), **parts)
            if past:
                filled(network)
            served = Served(network, directory)
            stack.callback(served.end)
            served.open()
            return served

        yield make


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give the system's Chromium.

    Not for longer than a module: while Playwright runs, a loop of its own runs in this thread, and
    no test after it could run one.
    """
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        # As root there is no sandbox; the pages are ours.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visit:
    """One visitor's page, and what the browser complained of."""

    context: BrowserContext
    page: Page
    complaints: list[str]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages; at the end nothing may have gone wrong in one, unless a test expects it."""
    opened: list[Visit] = []

    def open_page(
        url: str, *, width: int = 1440, height: int = 900, bears: str = "503", **options: Any
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        complaints: list[str] = []

        def console(message: ConsoleMessage) -> None:
            # That a node does not answer is what some tests are about.
            expected = ("ERR_CONNECTION", "WebSocket connection", "ERR_EMPTY_RESPONSE", bears)
            if message.type in ("error", "warning") and not any(
                text in message.text for text in expected
            ):
                complaints.append(message.text)

        page.on("console", console)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        opened.append(Visit(context, page, complaints))
        page.goto(url)
        return page

    yield open_page
    complaints = [text for one in opened for text in one.complaints]
    for one in opened:
        one.context.close()
    assert complaints == []
