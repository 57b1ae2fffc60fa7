"""Certified reports from a node's public HTTP API, as contracts take them.

Nothing that a node serves needs to be trusted: the Oracle verifies each report by itself. What is
checked here is that a report is whole, so that mistakes show before anything is paid.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp

from aggregation.encoding import decode_answer, feed_root, unpack_words
from aggregation.status import Status
from aggregation.table import FEEDS_PER_WORD
from consensus.messages import Header
from contracts import client
from contracts.rpc import bounded_json, octets

ANSWER_BYTES_MAX: Final = 1 << 22
_FEEDS_PER_PAIR: Final = 2
"""Neighbours are stored together."""


class NodeRefused(Exception):
    """The node does not answer, or has no such report; the text says what to do."""


@dataclass(frozen=True, slots=True)
class CertifiedAnswer:
    """A feed's answer in a report; `price` is an integer scaled by the feed's decimals."""

    feed: str
    price: int
    confidence_ppm: int | None
    status: Status


@dataclass(frozen=True, slots=True)
class CertifiedReport:
    """A report of `network` with all its words; `feeds` are names such as `BTC/USD` in order."""

    network: bytes
    certificate: client.Certificate
    words: tuple[int, ...]
    feeds: tuple[str, ...]

    @property
    def observed_at_ms(self) -> int:
        """When its answers were observed, Unix milliseconds."""
        return self.certificate.header.observed_at_ms

    @property
    def answers(self) -> tuple[CertifiedAnswer, ...]:
        """What it says of each feed."""
        decoded = map(decode_answer, unpack_words(self.words))
        return tuple(
            CertifiedAnswer(feed, answer.price, answer.confidence_ppm, answer.status)
            for feed, answer in zip(self.feeds, decoded, strict=False)
        )

    def index_of(self, feed: str | int) -> int:
        """Return a feed's position, given its name or position; raise `ValueError`."""
        if isinstance(feed, int) and 0 <= feed < len(self.feeds):
            return feed
        if isinstance(feed, str) and feed in self.feeds:
            return self.feeds.index(feed)
        raise ValueError(f"the report has no feed {feed}; it has {', '.join(self.feeds)}")

    def claim(self, feed: str | int) -> client.Claim:
        """Return the proof of one feed's answer."""
        return client.claim_of(self.index_of(feed), self.words)

    def update(self, *feeds: str | int) -> client.Update:
        """Return the report with proofs of these feeds' answers, of all if none is named."""
        wanted = feeds or range(0, len(self.feeds), _FEEDS_PER_PAIR)
        return client.Update(self.certificate, tuple(self.claim(feed) for feed in wanted))


class NodeApi:
    """The public API of one node; use as an async context manager."""

    def __init__(self, url: str, *, timeout_s: float = 20) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close them."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def latest(self) -> CertifiedReport:
        """Return the newest certified report; raise `NodeRefused`."""
        return report_of(await self._get("/v1/reports/latest"))

    async def at_view(self, view: int, *, epoch: int | None = None) -> CertifiedReport:
        """Return the report of a view, of the epoch in office unless one is given."""
        query = {} if epoch is None else {"epoch": str(epoch)}
        return report_of(await self._get(f"/v1/reports/{view}", query))

    async def at_time(self, at_ms: int) -> CertifiedReport:
        """Return the newest report observed at or before a Unix time in milliseconds."""
        return report_of(await self._get("/v1/reports", {"at_ms": str(at_ms)}))

    async def _get(self, path: str, query: dict[str, str] | None = None) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("use NodeApi as an async context manager: `async with NodeApi(url)`")
        try:
            async with self._session.get(self._url + path, params=query) as response:
                body = await bounded_json(response, ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise NodeRefused(
                f"{self._url}{path}: no answer ({type(error).__name__}); is this the address of a "
                "node's public API?"
            ) from None
        if response.status != 200 or not isinstance(body, dict):
            raise NodeRefused(f"{self._url}{path}: {response.status} {_explained(body)}")
        return body


def report_of(document: dict[str, Any]) -> CertifiedReport:
    """Return a report in the JSON form that nodes serve; raise `NodeRefused` if it is not whole."""
    try:
        header = document["header"]
        words = tuple(int(word, 16) for word in document["words"])
        made = Header(
            int(header["view"]),
            int(header["observed_at_ms"]),
            octets(header["feed_root"]),
            octets(header["link"]),
        )
        certificate = client.certificate_of(
            int(document["epoch"]),
            made,
            int(document["bitmap"], 16),
            octets(document["signature"]),
        )
        feeds = tuple(str(answer["feed"]) for answer in document["answers"])
        network = octets(document["network"])
        whole = feed_root(words) == made.feed_root and len(words) == -(
            -len(feeds) // FEEDS_PER_WORD
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NodeRefused(f"the node's report is malformed: {error}") from None
    if not whole:
        raise NodeRefused(
            "the node's report is not whole: its words have another root; ask another"
        )
    return CertifiedReport(network, certificate, words, feeds)


def _explained(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "without an explanation"
    return f"{error.get('message', '')}: {error.get('remedy', '')}"[:300]
