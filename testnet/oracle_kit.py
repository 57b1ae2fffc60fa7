"""The real Oracle with a committee whose keys a test holds, for tests of protocols in Python.

    kit = OracleKit()                                   # a chain in this process, no node
    kit.push(kit.report({"BTC/USD": 65_000 * 10**8}))
    kit.chain.transact(my_contract, my_calldata)

What a protocol meets is what it meets on a chain: the Oracle is the one that is shipped, and the
reports are really signed. `TestCommittee` alone signs reports and says how to deploy, for whoever
brings a chain of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from blspy import AugSchemeMPL, PopSchemeMPL, PrivateKey

from aggregation.encoding import CONFIDENCE_UNKNOWN, UNAVAILABLE_ANSWER, feed_root, pack_words
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.price import PRICE_MAX
from aggregation.status import Status
from aggregation.table import FeedTable
from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    network_id,
    registration_digest,
)
from consensus.digests import keccak
from consensus.messages import Header
from contracts import client, epochs
from contracts.node_api import CertifiedReport
from contracts.points import decompress_g1, decompress_g2
from testnet.chain.evm import EvmChain, Receipt

MEMBERS: Final = 4
NAME: Final = "test kit"
MAX_FUTURE_MS: Final = 15_000
USUAL_FEEDS: Final = (("BTC/USD", 8), ("ETH/USD", 8), ("SOL/USD", 8), ("USDC/USD", 8))
CONFIDENCE_PPM: Final = 500
_TEN_YEARS_MS: Final = 3_650 * 86_400_000
_DEPLOYMENT_GAS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class TestAnswer:
    """A feed's answer as a test wants it: price in the feed's units, confidence in ppm."""

    __test__ = False

    price: int
    confidence_ppm: int = CONFIDENCE_PPM
    status: Status = Status.LIVE

    @property
    def encoded(self) -> int:
        """The answer's 64 bits; raises `ValueError` for a price that does not fit."""
        if not 0 <= self.price <= PRICE_MAX:
            raise ValueError(f"a price has 48 bits, {self.price} does not fit: use fewer decimals")
        if self.status is Status.UNAVAILABLE or not self.price:
            return UNAVAILABLE_ANSWER
        return self.price << 16 | _confidence(self.confidence_ppm) << 4 | self.status


class TestCommittee:
    """Four members with fixed keys, who sign whatever a test wants. Not for anything else.

    `feeds` are pairs and decimals; `founded_ms` is a Unix time, from which the term is ten years.
    """

    __test__ = False

    def __init__(
        self, feeds: Sequence[tuple[str, int]] = USUAL_FEEDS, *, founded_ms: int = 0
    ) -> None:
        self.feeds = tuple(feeds)
        self.table = FeedTable(tuple(_feed(pair, decimals) for pair, decimals in feeds))
        self._keys = [AugSchemeMPL.key_gen(bytes([i + 1]) * 32) for i in range(MEMBERS)]
        points = [bytes(key.get_g1()) for key in self._keys]
        members = tuple(
            Member(decompress_g1(point), point, bytes([i + 1]) * 32, bytes([i + 1]) * 20)
            for i, point in enumerate(points)
        )
        self.configuration = Configuration(
            members, self.table.digest(), Timing(), founded_ms + _TEN_YEARS_MS
        )
        self.network = network_id(NAME, self.configuration.hash)
        self._view = 0

    @cached_property
    def domain(self) -> bytes:
        """D of its only epoch."""
        return EpochContext(self.network, 0, self.configuration, bytes(32), 0).domain

    @cached_property
    def proofs(self) -> tuple[epochs.MemberProof, ...]:
        """What registers the members."""
        return tuple(
            epochs.MemberProof(
                bytes(PopSchemeMPL.pop_prove(key)),
                _signed(
                    key, registration_digest(self.network, member.operator, member.ed25519_key)
                ),
            )
            for key, member in zip(self._keys, self.configuration.members, strict=True)
        )

    def deployment(self) -> tuple[bytes, list[bytes]]:
        """Return the creation code of its Oracle, and the calldata that open it, in order."""
        creation = epochs.encode_deploy(
            name=NAME, configuration_hash=self.configuration.hash, max_future_ms=MAX_FUTURE_MS
        )
        return creation, [
            *epochs.encode_register(self.configuration.members, self.proofs),
            epochs.encode_open(self.configuration, self.table),
        ]

    def report(
        self,
        answers: Mapping[str, TestAnswer | int],
        observed_at_ms: int,
        *,
        signers: Sequence[int] = range(MEMBERS),
    ) -> CertifiedReport:
        """Return a report on these answers, the other feeds unavailable, signed by `signers`.

        An integer is a live price. Raises `ValueError` for a feed that is not there.
        """
        names = [pair for pair, _ in self.feeds]
        unknown = answers.keys() - set(names)
        if unknown:
            raise ValueError(f"no feed {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        wanted = {
            name: TestAnswer(answer) if isinstance(answer, int) else answer
            for name, answer in answers.items()
        }
        words = pack_words(
            [wanted[name].encoded if name in wanted else UNAVAILABLE_ANSWER for name in names]
        )
        self._view += 1
        link = keccak(b"test kit" + self._view.to_bytes(8, "big"))
        header = Header(self._view, observed_at_ms, feed_root(words), link)
        shares = [PopSchemeMPL.sign(self._keys[i], header.id(self.domain)) for i in signers]
        certificate = client.Certificate(
            0,
            header,
            sum(1 << i for i in signers),
            decompress_g2(bytes(PopSchemeMPL.aggregate(shares))),
        )
        return CertifiedReport(self.network, certificate, words, tuple(names))


class OracleKit:
    """A `TestCommittee` with its Oracle on a chain in this process.

    `oracle` is the contract's address. Answers stay from report to report until they are changed.
    """

    def __init__(
        self, feeds: Sequence[tuple[str, int]] = USUAL_FEEDS, chain: EvmChain | None = None
    ) -> None:
        self.chain = chain or EvmChain()
        self.committee = TestCommittee(feeds, founded_ms=self.now_ms)
        creation, calls = self.committee.deployment()
        self.oracle = self.chain.deploy(creation)
        for call in calls:
            receipt = self.chain.transact(self.oracle, call, gas=_DEPLOYMENT_GAS)
            assert receipt.succeeded, client.describe_error(receipt.output)
        self._answers: dict[str, TestAnswer | int] = {}
        self._observed_at_ms = 0

    @property
    def now_ms(self) -> int:
        """The newest block's time, Unix ms."""
        return self.chain.head.timestamp * 1000

    def report(
        self,
        answers: Mapping[str, TestAnswer | int] | None = None,
        *,
        observed_at_ms: int | None = None,
        signers: Sequence[int] = range(MEMBERS),
    ) -> CertifiedReport:
        """Return a report on what was agreed before and these answers.

        It is observed now, or 1 ms after the newest one, unless a time is given.
        """
        agreed = self._answers | dict(answers or {})
        at_ms = observed_at_ms
        if at_ms is None:
            at_ms = max(self.now_ms, self._observed_at_ms + 1)
        report = self.committee.report(agreed, at_ms, signers=signers)
        self._answers = agreed
        self._observed_at_ms = max(self._observed_at_ms, at_ms)
        return report

    def push(self, report: CertifiedReport) -> Receipt:
        """Push a report, as a transmitter would; the receipt has what the Oracle answered.

        It is refused without an exception, so that a test can look at the reason:
        `assert receipt.succeeded, client.describe_error(receipt.output)`.
        """
        return self.chain.transact(
            self.oracle, client.encode_push(report.certificate, report.words)
        )

    def set_price(self, feed: str, price: int) -> None:
        """Have the committee agree on a live price now, and push it."""
        receipt = self.push(self.report({feed: price}))
        assert receipt.succeeded, client.describe_error(receipt.output)

    def wait(self, seconds: int) -> None:
        """Let the chain's time go on."""
        self.chain.set_timestamp(self.chain.head.timestamp + seconds)
        self.chain.mine()


def _confidence(ppm: int) -> int:
    """Return parts per million as 12 bits, rounded up; unknown if they are beyond."""
    if ppm > 255 << 15:
        return CONFIDENCE_UNKNOWN
    exponent = max(ppm.bit_length() - 8, 0)
    mantissa = -(-ppm >> exponent) if ppm else 0
    if mantissa > 255:
        mantissa, exponent = 128, exponent + 1
    return mantissa << 4 | exponent


def _signed(key: PrivateKey, digest: bytes) -> bytes:
    return bytes(PopSchemeMPL.sign(key, digest))


def _feed(pair: str, decimals: int) -> FeedSpec:
    base, _, quote = pair.partition("/")
    sources = tuple(
        SourceSpec(venue, base, quote, 10, 5_000)
        for venue in ("coinbase_exchange", "kraken", "gemini")
    )
    return FeedSpec(base, quote, decimals, 1, 2, 5_000, 1_000, 60_000, sources)
