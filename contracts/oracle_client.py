"""An Oracle on a chain, for those who build on it: read prices, bring reports, deploy.

    async with HttpRpc("http://127.0.0.1:8545") as rpc:
        oracle = Oracle(rpc, "0x…")
        price = await oracle.read("BTC/USD", max_age_s=60, max_confidence_ppm=5_000)
        print(price.decimal)

To send transactions, give it an account as well: `Oracle(rpc, "0x…", account=…)`. What an Oracle
refuses comes as an exception of `contracts.errors`, before anything is paid.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar

from aggregation.status import Status
from aggregation.table import FeedTable
from consensus.committee import Configuration
from contracts import client, epochs
from contracts.client import FeedDescription, PostedReport, Reason, StoredAnswer, StoredPlace
from contracts.epochs import CommitteeDescription, MemberProof
from contracts.errors import OracleError, ReportRefused
from contracts.node_api import CertifiedReport
from contracts.rpc import Rpc, RpcRefused, RpcUnreachable, checked, octets
from contracts.transactions import LocalAccount, Receipt, Sender, refusal

FEEDS_MAX: Final = 383
"""No Oracle has more."""

_AT_ONCE: Final = 16
_NAME_MAX: Final = 64
_STATUSES: Final = {status.value: status for status in Status}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Price:
    """A price that is fit for use: an integer scaled by 10**`decimals`, and its time (Unix ms)."""

    feed: str
    price: int
    decimals: int
    observed_at_ms: int

    @property
    def decimal(self) -> Decimal:
        """The price as a decimal number, exactly."""
        return Decimal(self.price).scaleb(-self.decimals)


@dataclass(frozen=True, slots=True)
class FeedAnswer:
    """A feed's newest answer as it is: unfit for use without a look at status and age."""

    feed: str
    price: int
    decimals: int
    confidence_ppm: int | None
    status: Status
    observed_at_ms: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """A report that was brought: whether it was stored, and the transaction that brought it.

    `stored` is false if the Oracle holds something as new, which is no fault. If that was so
    before anything was sent, nothing was, and `receipt` is None.
    """

    stored: bool
    receipt: Receipt | None


class Oracle:
    """One Oracle contract.

    `rpc` is an `HttpRpc`, `web3_rpc(AsyncWeb3(...))`, or any async function of that shape.
    `account` is an `eth_account` account, or the address of one that the server has unlocked.
    """

    def __init__(
        self,
        rpc: Rpc,
        address: str | bytes,
        *,
        account: LocalAccount | str | bytes | None = None,
        timeout_s: float = 120,
    ) -> None:
        self._rpc = rpc
        self.address = _address(address)
        if isinstance(account, str | bytes):
            account = _address(account)
        self._sender = None if account is None else Sender(rpc, account, timeout_s=timeout_s)
        self._described: dict[int, FeedDescription] = {}

    # Reading.

    async def read(
        self, feed: str | int, *, max_age_s: int, max_confidence_ppm: int, block: int | None = None
    ) -> Price:
        """Return a price that is fit for use, or raise the `NoPrice` that says why there is none.

        `max_age_s` is the oldest answer taken, `max_confidence_ppm` the widest, in parts per
        million of the price. `block` asks for the state after an earlier block.
        """
        index, description = await self._feed(feed)
        data = client.encode_read(index, max_age_s, max_confidence_ppm)
        price, at_ms = await self._ask(client.decode_read, data, block)
        return Price(_pair(description), price, description.decimals, at_ms)

    async def try_read(
        self, feed: str | int, *, max_age_s: int, max_confidence_ppm: int, block: int | None = None
    ) -> tuple[Reason, FeedAnswer]:
        """Return the reason why a price is not fit for use (`Reason.NONE` if it is), and it."""
        index, description = await self._feed(feed)
        data = client.encode_try_read(index, max_age_s, max_confidence_ppm)
        reason, answer = await self._ask(client.decode_try_read, data, block)
        return reason, _answer(description, answer)

    async def latest(self, feed: str | int, *, block: int | None = None) -> FeedAnswer:
        """Return a feed's newest answer, whatever its age and status."""
        index, description = await self._feed(feed)
        answer = await self._ask(client.decode_latest, client.encode_latest(index), block)
        return _answer(description, answer)

    async def feeds(self) -> tuple[FeedDescription, ...]:
        """Return what each feed says of itself, with its present status, in table order."""
        count = await self._ask(client.decode_integer, client.encode_getter("feedCount"))
        if count > FEEDS_MAX:
            raise self._no_oracle()
        places = asyncio.Semaphore(_AT_ONCE)

        async def describe(index: int) -> FeedDescription:
            async with places:
                return await self._ask(client.decode_feed, client.encode_feed(index))

        described = await asyncio.gather(*map(describe, range(count)))
        self._described = dict(enumerate(described))
        return tuple(described)

    async def network(self) -> bytes:
        """Return the identity of the network whose reports this Oracle takes (32 bytes).

        Compare it with the one you trust: an address alone proves nothing.
        """
        return await self._ask(client.decode_bytes32, client.encode_getter("network"))

    async def committee(self) -> CommitteeDescription:
        """Return the size of the present committee, its quorum, and when its term ends."""
        return await self._ask(epochs.decode_committee, client.encode_getter("committee"))

    async def stored(self) -> StoredPlace:
        """Return the place of the last report that was pushed."""
        return await self._ask(client.decode_stored, client.encode_getter("stored"))

    async def posted(self, observed_at_ms: int) -> PostedReport | None:
        """Return the report posted of this time (Unix ms), None if none can be proven from."""
        return await self._ask(client.decode_posted_report, client.encode_posted(observed_at_ms))

    # Bringing reports.

    async def push(self, report: CertifiedReport) -> Submitted:
        """Store all answers of a report."""
        return await self._submit(client.encode_push(report.certificate, report.words), report)

    async def post(self, report: CertifiedReport) -> Submitted:
        """Verify a report once, so that its answers can be proven one by one."""
        return await self._submit(client.encode_post(report.certificate), report)

    async def prove(self, report: CertifiedReport, feed: str | int) -> Submitted:
        """Store one feed's answer of a report that was posted."""
        data = client.encode_prove(report.certificate.header.observed_at_ms, report.claim(feed))
        return await self._submit(data, report, emits=False)

    async def update(self, report: CertifiedReport, *feeds: str | int) -> Submitted:
        """Verify a report and store the answers of these feeds, of all if none is named."""
        return await self._submit(client.encode_update([report.update(*feeds)]), report)

    async def use(
        self,
        report: CertifiedReport,
        *feeds: str | int,
        max_age_s: int,
        max_confidence_ppm: int,
    ) -> tuple[Submitted, tuple[Price, ...]]:
        """Update, and return the prices as the Oracle gives them; raise `NoPrice` if one is unfit.

        A contract does this in the transaction that settles; from here it is of use to try it.
        """
        data = await self._use(report, feeds, max_age_s, max_confidence_ppm)
        prices = await self._prices(report, feeds, data)
        return await self._sent(data), prices

    async def peek(
        self,
        report: CertifiedReport,
        *feeds: str | int,
        max_age_s: int,
        max_confidence_ppm: int,
    ) -> tuple[Price, ...]:
        """Return a report's prices as verified by the contract, without a transaction or a fee."""
        data = await self._use(report, feeds, max_age_s, max_confidence_ppm)
        return await self._prices(report, feeds, data)

    # The calls themselves.

    async def call(self, data: bytes, block: int | None = None) -> bytes:
        """Return what the contract answers; raise an `OracleError` if it reverts."""
        request = {"to": "0x" + self.address.hex(), "data": "0x" + data.hex()}
        if self._sender is not None:
            request["from"] = "0x" + self._sender.address.hex()
        at = "latest" if block is None else hex(block)
        try:
            result = checked(octets, await self._rpc("eth_call", [request, at]), "eth_call")
        except RpcRefused as refused:
            raise refusal(refused) from None
        if not result:
            raise self._no_oracle()
        return result

    async def _ask(self, decode: Callable[[bytes], T], data: bytes, block: int | None = None) -> T:
        """Return what the contract answers, decoded."""
        output = await self.call(data, block)
        try:
            return decode(output)
        except ValueError:
            raise self._no_oracle() from None

    def _no_oracle(self) -> OracleError:
        return OracleError(
            f"there is no Oracle at 0x{self.address.hex()} on this chain: look at the address and "
            "at the RPC server's chain"
        )

    @property
    def _transactions(self) -> Sender:
        if self._sender is None:
            raise ValueError("to send transactions, make the Oracle with `account=`")
        return self._sender

    async def _use(
        self, report: CertifiedReport, feeds: Sequence[str | int], age_s: int, confidence_ppm: int
    ) -> bytes:
        await self._check(report)
        indices = [report.index_of(feed) for feed in feeds]
        return client.encode_use([report.update(*feeds)], indices, age_s, confidence_ppm)

    async def _prices(
        self, report: CertifiedReport, feeds: Sequence[str | int], data: bytes
    ) -> tuple[Price, ...]:
        found = await self._ask(client.decode_use, data)
        prices = []
        for feed, (price, at_ms) in zip(feeds, found, strict=True):
            _, description = await self._feed(report.index_of(feed))
            prices.append(Price(_pair(description), price, description.decimals, at_ms))
        return tuple(prices)

    async def _submit(
        self, data: bytes, report: CertifiedReport, *, emits: bool = True
    ) -> Submitted:
        """Send what would change something; what emits nothing is believed to do so."""
        await self._check(report)
        sender = self._transactions
        if not await self._ask(client.decode_integer, data):
            return Submitted(False, None)
        if emits:
            return await self._sent(data)
        return Submitted(True, await sender.send(self.address, data))

    async def _sent(self, data: bytes) -> Submitted:
        receipt = await self._transactions.send(self.address, data)
        return Submitted(any(log.address == self.address for log in receipt.logs), receipt)

    async def _check(self, report: CertifiedReport) -> None:
        if report.network != await self.network():
            raise ReportRefused(
                "the report is of another network than this Oracle: ask a node of its network"
            )

    async def _feed(self, feed: str | int) -> tuple[int, FeedDescription]:
        """Return a feed's position and description; raise `ValueError` for an unknown name.

        Pairs and decimals never change and feeds are only added, so they are asked for once.
        """
        if isinstance(feed, int):
            if feed not in self._described:
                found = await self._ask(client.decode_feed, client.encode_feed(feed))
                self._described[feed] = found
            return feed, self._described[feed]
        for known in (True, False):
            if not known:
                await self.feeds()
            for index, description in self._described.items():
                if _pair(description) == feed:
                    return index, description
        pairs = ", ".join(map(_pair, self._described.values()))
        raise ValueError(f"the Oracle has no feed {feed[:_NAME_MAX]}; it has {pairs}")


async def deploy(
    sender: Sender,
    *,
    name: str,
    configuration: Configuration,
    feed_table: FeedTable,
    proofs: Sequence[MemberProof],
    max_future_ms: int,
    evidence_window_ms: int = epochs.EVIDENCE_WINDOW_MS,
) -> bytes:
    """Deploy a network's Oracle, register its members and open its first epoch.

    `name`, configuration, feeds and proofs are what the network's committee file holds. Returns the
    contract's address. Takes a transaction for the contract, one for each 40 members, and one to
    open. Raises an `OracleError` for what the contract refuses.
    """
    created = await sender.send(
        None,
        epochs.encode_deploy(
            name=name,
            configuration_hash=configuration.hash,
            max_future_ms=max_future_ms,
            evidence_window_ms=evidence_window_ms,
        ),
    )
    if created.contract is None:
        raise RpcUnreachable("the receipt of the deployment names no contract")
    for data in epochs.encode_register(configuration.members, proofs):
        await sender.send(created.contract, data)
    await sender.send(created.contract, epochs.encode_open(configuration, feed_table))
    return created.contract


def _address(address: str | bytes) -> bytes:
    found = octets(address.lower()) if isinstance(address, str) else address
    if len(found) != 20:
        raise ValueError(f"an address has 20 bytes, not {len(found)}")
    return found


def _pair(feed: FeedDescription) -> str:
    return f"{feed.base}/{feed.quote}"


def _answer(feed: FeedDescription, stored: StoredAnswer) -> FeedAnswer:
    return FeedAnswer(
        _pair(feed),
        stored.price,
        feed.decimals,
        stored.confidence_ppm,
        _STATUSES.get(stored.status, Status.UNAVAILABLE),
        stored.observed_at_ms,
    )
